//! Makes choices and texts out of a fuzzer's bytes. When there are no more, every choice is the first and every text empty.

use arbitrary::Unstructured;

/// What is left of an input.
pub(crate) struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end - 1).unwrap_or(0)
    }

    /// Whether something is to be so.
    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        *self.choose(list)
    }

    /// One of these, where it is.
    pub(crate) fn choose<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }

    /// At most so many bytes.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = self.below(most + 1).min(self.0.len());
        self.0.bytes(length).unwrap_or_default()
    }

    /// A text of at most so many bytes, what is no UTF-8 replaced.
    pub(crate) fn text(&mut self, most: usize) -> String {
        String::from_utf8_lossy(self.bytes(most)).into_owned()
    }

    /// Whether nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a stream is cut that has no end: lengths of pieces, none of them 0. The first byte tells how many there are, so that the
    /// stream behind them stays as it is when they change.
    pub(crate) fn cuts(&mut self) -> Vec<usize> {
        (0..self.below(16)).map(|_| self.below(256) + 1).collect()
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}

/// The pieces of a stream that is cut in these lengths again and again; all of it without any.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let whole = [bytes.len().max(1)];
    let mut lengths = if cuts.is_empty() { &whole } else { cuts }.iter().cycle();
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let length = lengths.next().map_or(bytes.len(), |length| (*length).min(bytes.len()));
        let (piece, rest) = bytes.split_at(length);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

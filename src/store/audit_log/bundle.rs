//! Many lines in one row: their texts each once, and of each line its numbers, which of the texts are its own, and its hash.
//!
//! A text is its length and its bytes, numbers are of variable length (LEB128), and what may be missing is one more than it is:
//!
//! ```text
//! 1, how many texts, texts
//! of each line: number less that of the line before, time less that of the line before (zigzag), six texts (actor, action, subject,
//!   address, upstream, client), status, duration in milliseconds, 32 bytes of hash
//! ```

use super::ChainedEvent;
use super::line::AuditLine;
use super::link::{AuditLink, Position};
use crate::clock::Timestamp;
use crate::ids::Digest;
use crate::store::AuditEvent;
use crate::store::listings::{AuditSelection, NumberedEvent};
use std::borrow::Cow;
use std::collections::HashMap;

/// How a bundle begins.
const VERSION: u64 = 1;
/// The columns of a line that are texts.
const TEXTS: usize = 6;
const ACTOR: usize = 0;
const ACTION: usize = 1;
const SUBJECT: usize = 2;
const ADDRESS: usize = 3;
const UPSTREAM: usize = 4;
const CLIENT: usize = 5;
/// About what a line takes.
const LINE: usize = 56;

/// A row of `audit_bundles`.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    pub(super) first_position: Position,
    pub(super) last_position: Position,
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
    pub(super) lines: i64,
    pub(super) hash: Digest,
    pub(super) content: Vec<u8>,
}

/// What is in it.
pub(super) struct Unbundled<'p> {
    first_position: Position,
    texts: Vec<&'p str>,
    lines: Vec<Bundled>,
}

/// A line of a bundle.
pub(super) struct Bundled {
    pub(super) number: i64,
    at: Timestamp,
    /// 0 for none, else one more than the place among the texts.
    texts: [u32; TEXTS],
    status: Option<u16>,
    duration_ms: Option<u32>,
    hash: Digest,
}

impl Bundle {
    /// Lines that follow each other, where they stand; and how many are whose. `None` of no lines.
    pub(super) fn of<'l>(
        lines: &'l [AuditLine<'_>],
        places: &[(i64, AuditLink)],
    ) -> Option<(Self, HashMap<Cow<'l, str>, i64>)> {
        let (first, last) = (places.first()?, places.last()?);
        let times = || lines.iter().map(|line| line.at);
        let (first_at, last_at) = (times().min()?, times().max()?);
        let mut texts = Texts::default();
        let mut actors: HashMap<Cow<'l, str>, i64> = HashMap::new();
        let mut body = Vec::with_capacity(LINE * lines.len());
        let (mut number, mut at) = (first.0, first_at);
        for (line, (own, link)) in lines.iter().zip(places) {
            put(&mut body, own.abs_diff(number));
            put(&mut body, zigzag(line.at.0.wrapping_sub(at.0)));
            for text in texts.places(line) {
                put(&mut body, text.into());
            }
            put(&mut body, line.status.map_or(0, |status| u64::from(status) + 1));
            put(&mut body, line.duration_ms.map_or(0, |duration| u64::from(duration) + 1));
            body.extend_from_slice(&link.hash.0);
            (number, at) = (*own, line.at);
            *actors.entry(kept(line.actor)).or_default() += 1;
        }
        let mut content = texts.written(body.len());
        content.append(&mut body);
        let bundle = Self {
            first_id: first.0,
            last_id: last.0,
            first_position: first.1.position,
            last_position: last.1.position,
            first_at,
            last_at,
            lines: i64::try_from(lines.len()).unwrap_or(i64::MAX),
            hash: last.1.hash,
            content,
        };
        Some((bundle, actors))
    }

    /// What is in it; `None` when we never wrote that.
    pub(super) fn unbundle(&self) -> Option<Unbundled<'_>> {
        let mut rest = &self.content[..];
        if take(&mut rest)? != VERSION {
            return None;
        }
        let mut texts = Vec::new();
        for _ in 0..take(&mut rest)? {
            let length = usize::try_from(take(&mut rest)?).ok()?;
            let (text, behind) = rest.split_at_checked(length)?;
            texts.push(std::str::from_utf8(text).ok()?);
            rest = behind;
        }
        let mut lines = Vec::with_capacity(usize::try_from(self.lines).ok()?.min(rest.len() / 40 + 1));
        let (mut number, mut at) = (self.first_id, self.first_at);
        while !rest.is_empty() {
            let line = Bundled::take(&mut rest, (number, at), texts.len())?;
            (number, at) = (line.number, line.at);
            lines.push(line);
        }
        Some(Unbundled { first_position: self.first_position, texts, lines })
    }

    /// Whether the columns beside the content say what is in it, as far as a line is concerned.
    pub(super) fn is_labelled(&self, unbundled: &Unbundled<'_>) -> bool {
        let (Some(first), Some(last)) = (unbundled.lines.first(), unbundled.lines.last()) else { return false };
        let times = || unbundled.lines.iter().map(|line| line.at);
        let count = i64::try_from(unbundled.lines.len());
        self.first_id == first.number
            && self.last_id == last.number
            && Ok(self.lines) == count
            && Some(self.last_position) == self.first_position.checked_add(self.lines - 1)
            && (Some(self.first_at), Some(self.last_at)) == (times().min(), times().max())
            && self.hash == last.hash
    }
}

impl Unbundled<'_> {
    /// Every line with its place, in their order.
    pub(super) fn events(&self) -> impl Iterator<Item = ChainedEvent> {
        (0..self.lines.len()).filter_map(|place| self.event(place))
    }

    /// The numbers of the lines, of one actor if there is one.
    pub(super) fn numbers(&self, actor: Option<&str>) -> Vec<i64> {
        let wanted = AuditSelection { actor, ..AuditSelection::default() };
        let Some(wanted) = self.wanted(&wanted) else { return Vec::new() };
        self.lines.iter().filter(|line| wanted.fits(line)).map(|line| line.number).collect()
    }

    /// The lines that somebody wants, in their order.
    pub(super) fn fitting(&self, selection: &AuditSelection<'_>) -> Vec<ChainedEvent> {
        let Some(wanted) = self.wanted(selection) else { return Vec::new() };
        let places = self.lines.iter().enumerate().filter(|(_, line)| wanted.fits(line));
        places.filter_map(|(place, _)| self.event(place)).collect()
    }

    /// The last line by time that is from before a moment.
    pub(super) fn number_at(&self, moment: Timestamp) -> Option<(Timestamp, i64)> {
        let before = self.lines.iter().filter(|line| line.at < moment);
        before.map(|line| (line.at, line.number)).max()
    }

    /// How many lines are whose.
    pub(super) fn actors(&self) -> HashMap<&str, i64> {
        let mut actors = HashMap::new();
        for line in &self.lines {
            *actors.entry(self.text(line, ACTOR).unwrap_or_default()).or_default() += 1;
        }
        actors
    }

    /// What to look for in the lines; `None` where a text is wanted that none of them has.
    fn wanted(&self, selection: &AuditSelection<'_>) -> Option<Wanted> {
        let place =
            |text: &str| self.texts.iter().position(|one| *one == text).and_then(|at| u32::try_from(at + 1).ok());
        let mut texts = [None; TEXTS];
        let AuditSelection { actor, action, upstream, client, tool, .. } = *selection;
        for (column, text) in
            [(ACTOR, actor), (ACTION, action), (UPSTREAM, upstream), (CLIENT, client), (SUBJECT, tool)]
        {
            if let Some(text) = text {
                texts[column] = Some(place(text)?);
            }
        }
        let calls = ["tool.called", "tool.refused"].map(|action| tool.and_then(|_| place(action)));
        if tool.is_some() && calls == [None, None] {
            return None;
        }
        let AuditSelection { since, until, first, last, .. } = *selection;
        let numbers = first.unwrap_or(i64::MIN)..=last.unwrap_or(i64::MAX);
        let times = since.unwrap_or(Timestamp(i64::MIN))..until.unwrap_or(Timestamp(i64::MAX));
        Some(Wanted { texts, calls: tool.map(|_| calls), numbers, times })
    }

    fn event(&self, place: usize) -> Option<ChainedEvent> {
        let line = self.lines.get(place)?;
        let text = |column| self.text(line, column).map(str::to_owned);
        let event = AuditEvent {
            at: line.at,
            actor: text(ACTOR)?,
            action: text(ACTION)?,
            subject: text(SUBJECT)?,
            address: text(ADDRESS),
            upstream: text(UPSTREAM),
            client: text(CLIENT),
            status: line.status,
            duration_ms: line.duration_ms,
        };
        let position = self.first_position.checked_add(i64::try_from(place).ok()?)?;
        let link = Some(AuditLink { position, hash: line.hash });
        Some(ChainedEvent { numbered: NumberedEvent { number: line.number, event }, link })
    }

    fn text(&self, line: &Bundled, column: usize) -> Option<&str> {
        let place = usize::try_from(line.texts[column]).ok()?.checked_sub(1)?;
        self.texts.get(place).copied()
    }
}

impl Bundled {
    fn take(rest: &mut &[u8], before: (i64, Timestamp), texts: usize) -> Option<Self> {
        let number = before.0.checked_add_unsigned(take(rest)?)?;
        let at = Timestamp(before.1.0.wrapping_add(unzigzag(take(rest)?)));
        let mut own = [0; TEXTS];
        for (column, place) in own.iter_mut().enumerate() {
            *place = u32::try_from(take(rest)?).ok()?;
            // The first three are always there.
            if usize::try_from(*place).ok()? > texts || (*place == 0 && column <= SUBJECT) {
                return None;
            }
        }
        let status = some(take(rest)?).map(u16::try_from).transpose().ok()?;
        let duration_ms = some(take(rest)?).map(u32::try_from).transpose().ok()?;
        let (hash, behind) = rest.split_at_checked(32)?;
        *rest = behind;
        Some(Self { number, at, texts: own, status, duration_ms, hash: Digest::from_slice(hash)? })
    }
}

/// A selection in the places of one bundle.
struct Wanted {
    texts: [Option<u32>; TEXTS],
    /// Which actions are those of tools, where a tool is wanted.
    calls: Option<[Option<u32>; 2]>,
    numbers: std::ops::RangeInclusive<i64>,
    times: std::ops::Range<Timestamp>,
}

impl Wanted {
    fn fits(&self, line: &Bundled) -> bool {
        self.numbers.contains(&line.number)
            && self.times.contains(&line.at)
            && self.texts.iter().zip(line.texts).all(|(wanted, own)| wanted.is_none_or(|wanted| wanted == own))
            && self.calls.is_none_or(|calls| calls.contains(&Some(line.texts[ACTION])))
    }
}

/// The texts of a bundle, each once.
#[derive(Default)]
struct Texts<'l> {
    known: HashMap<Cow<'l, str>, u32>,
    written: Vec<u8>,
    /// Of the line before: its texts are often the same ones, and then need not be looked up.
    last: [(Option<&'l str>, u32); TEXTS],
}

impl<'l> Texts<'l> {
    fn places(&mut self, line: &'l AuditLine<'_>) -> [u32; TEXTS] {
        let texts = line.texts();
        std::array::from_fn(|column| {
            let text = texts[column];
            let (last, place) = self.last[column];
            if is_same(last, text) {
                return place;
            }
            let place = text.map_or(0, |text| self.place(text));
            self.last[column] = (text, place);
            place
        })
    }

    fn place(&mut self, text: &'l str) -> u32 {
        let next = u32::try_from(self.known.len() + 1).unwrap_or(u32::MAX);
        let text = kept(text);
        if let Some(place) = self.known.get(&text) {
            return *place;
        }
        put(&mut self.written, text.len() as u64);
        self.written.extend_from_slice(text.as_bytes());
        self.known.insert(text, next);
        next
    }

    /// The beginning of a bundle, with room for the rest.
    fn written(self, rest: usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(self.written.len() + rest + 8);
        put(&mut content, VERSION);
        put(&mut content, self.known.len() as u64);
        content.extend_from_slice(&self.written);
        content
    }
}

/// As PostgreSQL keeps it in rows.
fn kept(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Whether it is the same text in the same place: telling without reading it.
fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => std::ptr::eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        // The low seven bits, and that more follow.
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn some(number: u64) -> Option<u64> {
    number.checked_sub(1)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    ((number >> 1) as i64) ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = AuditEvent> {
        let text = || prop_oneof!["[a-c]{0,2}", ".{0,20}"];
        let some = || prop::option::of(text());
        let numbers = (prop::option::of(any::<u16>()), prop::option::of(any::<u32>()), any::<i32>());
        (text(), text(), text(), some(), some(), some(), numbers).prop_map(
            |(actor, action, subject, address, upstream, client, (status, duration_ms, at))| AuditEvent {
                at: Timestamp(at.into()),
                actor,
                action,
                subject,
                address,
                upstream,
                client,
                status,
                duration_ms,
            },
        )
    }

    /// As it is kept.
    fn without_zeros(event: &AuditEvent) -> AuditEvent {
        let text = |text: &String| text.replace('\0', "\u{fffd}");
        AuditEvent {
            actor: text(&event.actor),
            action: text(&event.action),
            subject: text(&event.subject),
            address: event.address.as_ref().map(text),
            upstream: event.upstream.as_ref().map(text),
            client: event.client.as_ref().map(text),
            ..event.clone()
        }
    }

    proptest! {
        #[test]
        fn what_is_bundled_comes_out_again(events in prop::collection::vec(event(), 1..40), gap in 1..1000_i64) {
            let lines: Vec<_> = events.iter().map(AuditEvent::line).collect();
            let places: Vec<_> = (0..events.len() as i64)
                .map(|n| (7 + n * gap, AuditLink { position: 3 + n, hash: Digest::of(n.to_string()) }))
                .collect();
            let (bundle, actors) = Bundle::of(&lines, &places).unwrap();
            let unbundled = bundle.unbundle().unwrap();
            prop_assert!(bundle.is_labelled(&unbundled));
            prop_assert_eq!(actors.values().sum::<i64>(), bundle.lines);
            let found: Vec<_> = unbundled.events().collect();
            prop_assert_eq!(found.len(), events.len());
            for (found, (event, place)) in found.iter().zip(events.iter().zip(&places)) {
                prop_assert_eq!((found.numbered.number, found.link), (place.0, Some(place.1)));
                prop_assert_eq!(format!("{:?}", found.numbered.event), format!("{:?}", without_zeros(event)));
            }
            for length in 0..bundle.content.len() {
                let cut = Bundle { content: bundle.content[..length].to_vec(), ..bundle.clone() };
                prop_assert!(cut.unbundle().is_none_or(|unbundled| !cut.is_labelled(&unbundled)));
            }
        }

        #[test]
        fn nobody_is_put_out_by_what_we_never_wrote(content in prop::collection::vec(any::<u8>(), 0..200), lines: i64) {
            let bundle = Bundle {
                first_id: i64::MAX - 3,
                last_id: 0,
                first_position: i64::MAX,
                last_position: 0,
                first_at: Timestamp(i64::MAX),
                last_at: Timestamp(0),
                lines,
                hash: Digest([0; 32]),
                content: [&[1], &content[..]].concat(),
            };
            if let Some(unbundled) = bundle.unbundle() {
                let _ = (unbundled.events().count(), bundle.is_labelled(&unbundled), unbundled.actors().len());
            }
        }
    }
}

//! The streams that are open, here and at other nodes, and how many there were at most.

use super::recorder::Party;
use super::slices::Rows;
use crate::clock::Timestamp;
use crate::store::{ActivityCounts, ActivitySlice, OpenStreams, Store, StoreError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the others hear that this node is still there when nothing changes.
const BEAT: Duration = Duration::from_secs(10);
/// While more people than this have streams open, it is not kept for each how many: everybody would get a row every minute.
const PEOPLE: usize = 1000;

/// The streams of this process.
pub(super) struct Streams {
    /// How the others know it.
    node: String,
    open: Vec<(Party, Arc<()>)>,
    /// What the others know, and since when.
    written: HashMap<Names, u64>,
    written_at: Option<Instant>,
    /// The most at once since the last flush.
    peaks: HashMap<ActivitySlice, u64>,
    /// What the rows of a minute say already.
    told: HashMap<ActivitySlice, (Timestamp, u64)>,
}

/// Person, upstream, client.
type Names = [String; 3];

impl Streams {
    pub(super) fn new(node: String) -> Self {
        Self {
            node,
            open: Vec::new(),
            written: HashMap::new(),
            written_at: None,
            peaks: HashMap::new(),
            told: HashMap::new(),
        }
    }

    /// Another one, until nobody else has its mark any more.
    pub(super) fn add(&mut self, party: Party, mark: Arc<()>) {
        self.open.push((party, mark));
    }

    /// Whether there is something to look at, or to tell the others.
    pub(super) fn is_busy(&self) -> bool {
        !self.open.is_empty() || self.written_at.is_some()
    }

    /// Looks how many are open, and lets go of those that are not.
    pub(super) fn look(&mut self) {
        self.open.retain(|(_, mark)| Arc::strong_count(mark) > 1);
        if self.open.is_empty() {
            return;
        }
        for (slice, count) in by_slice(&self.counted()) {
            let peak = self.peaks.entry(slice).or_default();
            *peak = count.max(*peak);
        }
    }

    /// Tells the others, and counts what all nodes together had open at most.
    ///
    /// # Errors
    /// Those of the store: everything is told the next time.
    pub(super) async fn flush(&mut self, store: &Store, now: Timestamp, rows: &mut Rows) -> Result<(), StoreError> {
        self.tell(store).await?;
        if self.peaks.is_empty() {
            self.told.clear();
            return Ok(());
        }
        let others = by_slice(&store.open_streams(&self.node).await?);
        for (slice, peak) in std::mem::take(&mut self.peaks) {
            let streams = peak + others.get(&slice).copied().unwrap_or(0);
            let minute = super::slices::step_of(now, super::Range::Hour.resolution());
            let told = self.told.get(&slice).filter(|(of, told)| *of == minute && *told >= streams);
            if told.is_none() {
                rows.count_slice(now, &slice, &ActivityCounts { streams, ..ActivityCounts::default() });
                self.told.insert(slice, (minute, streams));
            }
        }
        Ok(())
    }

    /// The others need not wait until they miss this node.
    pub(super) async fn leave(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.written_at.take().is_some() {
            self.written.clear();
            store.leave_streams(&self.node).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, store: &Store) -> Result<(), StoreError> {
        let counted = self.counted();
        if counted.is_empty() {
            return self.leave(store).await;
        }
        let present: HashMap<Names, u64> = counted.iter().map(|one| (names_of(one), one.streams)).collect();
        let mut changed: Vec<OpenStreams> =
            counted.iter().filter(|one| self.written.get(&names_of(one)) != Some(&one.streams)).cloned().collect();
        let gone = self.written.keys().filter(|names| !present.contains_key(*names));
        changed.extend(gone.map(|[person, upstream, client]| OpenStreams {
            person: person.clone(),
            upstream: upstream.clone(),
            client: client.clone(),
            streams: 0,
        }));
        if changed.is_empty() && self.written_at.is_some_and(|at| at.elapsed() < BEAT) {
            return Ok(());
        }
        let known = store.count_streams(&self.node, &changed).await?;
        if !known && !self.written.is_empty() {
            // Taken for gone, because it did not get through for long.
            store.count_streams(&self.node, &counted).await?;
        }
        (self.written, self.written_at) = (present, Some(Instant::now()));
        Ok(())
    }

    fn counted(&self) -> Vec<OpenStreams> {
        let mut counted: HashMap<[&str; 3], u64> = HashMap::new();
        for (party, _) in &self.open {
            let [person, upstream, client, _] = party.names();
            *counted.entry([person, upstream, client]).or_default() += 1;
        }
        let counted = counted.into_iter().map(|([person, upstream, client], streams)| OpenStreams {
            person: person.to_owned(),
            upstream: upstream.to_owned(),
            client: client.to_owned(),
            streams,
        });
        counted.collect()
    }
}

fn names_of(one: &OpenStreams) -> Names {
    [one.person.clone(), one.upstream.clone(), one.client.clone()]
}

/// Of everything, and of each upstream, client and person.
fn by_slice(open: &[OpenStreams]) -> HashMap<ActivitySlice, u64> {
    let people: HashSet<&str> = open.iter().map(|one| one.person.as_str()).take(PEOPLE + 1).collect();
    let of_people = people.len() <= PEOPLE;
    let mut sums: HashMap<ActivitySlice, u64> = HashMap::new();
    for one in open {
        let mut add = |slice: ActivitySlice| *sums.entry(slice).or_default() += one.streams;
        add(ActivitySlice::default());
        if !one.upstream.is_empty() {
            add(ActivitySlice { upstream: one.upstream.clone(), ..ActivitySlice::default() });
        }
        add(ActivitySlice { client: one.client.clone(), ..ActivitySlice::default() });
        if of_people {
            add(ActivitySlice { person: one.person.clone(), ..ActivitySlice::default() });
        }
    }
    sums
}

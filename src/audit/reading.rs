//! Reading the log: what fits, newest first for a page, oldest first for whoever follows it or takes it all along.

use crate::clock::Timestamp;
use crate::store::{AuditSelection, ChainedEvent, NumberedEvent, Store, StoreError, Stretch};
use std::time::Duration;

/// How many lines a page looks through before somebody has to ask again.
const LOOKED_THROUGH: u32 = 20_000;
/// How many lines are looked through at a time by whoever wants all.
const STEP: u32 = 1000;
/// How far the clocks of nodes may differ.
const SKEW: Duration = Duration::from_secs(60);

/// Which lines somebody wants; all that fit everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// By whom.
    pub actor: Option<String>,
    /// What.
    pub action: Option<String>,
    /// At which upstream: its authority.
    pub upstream: Option<String>,
    /// Through which client: its id.
    pub client: Option<String>,
    /// Calls of this tool.
    pub tool: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// A page of lines.
pub struct Found {
    /// The newest first.
    pub lines: Vec<NumberedEvent>,
    /// Before which number to go on; `None` when there is nothing more.
    pub older: Option<i64>,
}

impl Wanted {
    /// The newest lines with a number below `before`. It looks through 20,000 lines at most (of one actor, if one is wanted), so
    /// a page may be short, or empty, and still not be the last.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest(&self, store: &Store, before: Option<i64>, limit: u32) -> Result<Found, StoreError> {
        let mut before = before.unwrap_or(i64::MAX);
        if let Some(until) = self.until {
            let behind = store.audit_number_at(until.after(SKEW)).await?;
            before = before.min(behind.map_or(0, |number| number.saturating_add(1)));
        }
        let nothing = Found { lines: Vec::new(), older: None };
        let actor = self.actor.as_deref();
        let Some(mut first) = store.audit_stretch(Stretch::Before(before), actor, LOOKED_THROUGH).await? else {
            return Ok(nothing);
        };
        let begin = self.begin(store).await?;
        let mut is_last = begin >= first;
        first = first.max(begin);
        let selection = AuditSelection { first: Some(first), ..self.selection() };
        let mut lines = store.audit_page(selection, Some(before), limit.saturating_add(1)).await?;
        if lines.len() > limit as usize {
            lines.truncate(limit as usize);
            let older = lines.last().map(|last| last.number);
            return Ok(Found { lines, older });
        }
        is_last = is_last || store.audit_stretch(Stretch::Before(first), actor, 1).await?.is_none();
        Ok(Found { lines, older: (!is_last).then_some(first) })
    }

    /// All lines that there are by now, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all(self, store: Store) -> Result<Walk, StoreError> {
        let last = match self.until {
            Some(until) => store.audit_number_at(until.after(SKEW)).await?.unwrap_or(0),
            None => newest_number(&store).await?.unwrap_or(0),
        };
        let after = self.begin(&store).await?.saturating_sub(1).max(0);
        Ok(Walk { store, wanted: self, after, last: Some(last) })
    }

    /// Lines behind number `after`, and those that come; without a number only those that come.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn from_now_on(self, store: Store, after: Option<i64>) -> Result<Walk, StoreError> {
        let newest = newest_number(&store).await?.unwrap_or(0);
        // A number that there is not yet is nobody's; without this its holder would wait for long.
        let after = after.map_or(newest, |after| after.clamp(0, newest));
        Ok(Walk { store, wanted: self, after, last: None })
    }

    /// The lowest number that may be wanted.
    async fn begin(&self, store: &Store) -> Result<i64, StoreError> {
        let Some(since) = self.since else { return Ok(0) };
        Ok(store.audit_number_at(since.before(SKEW)).await?.unwrap_or(0))
    }

    fn selection(&self) -> AuditSelection<'_> {
        AuditSelection {
            actor: self.actor.as_deref(),
            action: self.action.as_deref(),
            upstream: self.upstream.as_deref(),
            client: self.client.as_deref(),
            tool: self.tool.as_deref(),
            since: self.since,
            until: self.until,
            first: None,
            last: None,
        }
    }
}

/// Somebody on the way through the log. It remembers a number and nothing else, so any node may take it up.
pub struct Walk {
    store: Store,
    wanted: Wanted,
    after: i64,
    last: Option<i64>,
}

impl Walk {
    /// What fits of the next lines, which may be nothing; `None` when there are no further ones by now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn step(&mut self) -> Result<Option<Vec<ChainedEvent>>, StoreError> {
        let actor = self.wanted.actor.as_deref();
        let Some(end) = self.store.audit_stretch(Stretch::After(self.after), actor, STEP).await? else {
            return Ok(None);
        };
        let end = end.min(self.last.unwrap_or(i64::MAX));
        if end <= self.after {
            return Ok(None);
        }
        let selection = AuditSelection { last: Some(end), ..self.wanted.selection() };
        let lines = self.store.audit_lines(selection, self.after, STEP).await?;
        self.after = end;
        Ok(Some(lines))
    }

    /// Leaves out what is more than `lines` lines back. Whether there was any such line.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catch_up(&mut self, lines: u32) -> Result<bool, StoreError> {
        let actor = self.wanted.actor.as_deref();
        let first = self.store.audit_stretch(Stretch::Before(i64::MAX), actor, lines).await?;
        let Some(first) = first.filter(|first| first.saturating_sub(1) > self.after) else { return Ok(false) };
        let skipped = self.store.audit_stretch(Stretch::After(self.after), actor, 1).await?;
        self.after = first.saturating_sub(1);
        Ok(skipped.is_some_and(|number| number < first))
    }

    /// The number of the last line that was looked at.
    pub fn position(&self) -> i64 {
        self.after
    }
}

async fn newest_number(store: &Store) -> Result<Option<i64>, StoreError> {
    store.audit_stretch(Stretch::Before(i64::MAX), None, 1).await
}

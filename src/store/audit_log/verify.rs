//! Whether the log still is what was written.

use super::bundle::Bundle;
use super::link::{AuditLink, Position, hash_of};
use super::{Chain, ChainedEvent, bundles};
use crate::ids::Digest;
use crate::store::columns::reading;
use crate::store::database::{Transaction, query_as, query_scalar};
use crate::store::{AuditEvent, Store, StoreError};

/// How many lines are read at a time.
const PAGE: u32 = 1000;

/// What a look at every line of the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// How many lines fit.
    pub lines: u64,
    /// The last line that retention took; position 0 before that.
    pub kept_after: Position,
    /// The newest line that fits: to be kept elsewhere.
    pub head: Option<AuditLink>,
    /// How many lines are from before the chain, and not protected by it.
    pub before_the_chain: u64,
    /// How many lines are not chained yet: an earlier version wrote them, during an upgrade, and the next line takes them in.
    pub not_chained_yet: u64,
    /// The first line that does not fit.
    pub broken: Option<BrokenChain>,
}

/// Where a chain does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenChain {
    /// Which line.
    pub position: Position,
    /// Its number in the table, when there is one.
    pub number: Option<i64>,
    /// What is wrong.
    pub breach: Breach,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// Its hash is another.
    #[error("it was changed, or moved: it does not fit its hash and the line before it")]
    Altered,
    /// It is gone.
    #[error("it is missing")]
    Missing,
    /// It is behind the newest line that the chain knows of, or before the first.
    #[error("it is outside of the chain: somebody put it there, or changed the row in audit_chain")]
    Outside,
    /// The newest line is not the one that the chain knows of.
    #[error("the row in audit_chain has another hash for it")]
    OtherHead,
    /// The row of the chain is gone.
    #[error("the row in audit_chain is missing")]
    NoChain,
    /// It has another hash than the one that was kept.
    #[error("it has another hash than the one that was kept: everything up to it may have been written anew")]
    OtherAnchor,
    /// Retention has taken the line whose hash was kept.
    #[error("retention has taken it: compare with a link that is younger")]
    AnchorGone,
}

impl Store {
    /// Reads every line and compares it with its hash, all as they are at one moment. `anchor`: a link that was kept elsewhere. Without
    /// one, whoever could change this database may have written the whole chain anew.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub async fn verify_audit(&self, anchor: Option<AuditLink>) -> Result<AuditVerdict, StoreError> {
        let mut transaction = self.database.snapshot().await?;
        let chain = Chain::open(&mut transaction).await?;
        let first = query_as("SELECT position, id FROM audit WHERE position IS NOT NULL ORDER BY position LIMIT 1");
        let row: Option<(Position, i64)> = first.fetch_optional(&mut transaction).await?;
        let bundle = bundles::next(&mut transaction, 0).await?.map(|bundle| (bundle.first_position, bundle.first_id));
        let first = row.into_iter().chain(bundle).min();
        let begun_after = chain.as_ref().map_or(i64::MAX, |chain| chain.begun_after);
        let mut count = async |comparison: &'static str| -> Result<u64, StoreError> {
            let count: i64 = query_scalar(comparison).bind(begun_after).fetch_one(&mut transaction).await?;
            Ok(count.unsigned_abs())
        };
        let mut verdict = AuditVerdict {
            lines: 0,
            kept_after: chain.as_ref().map_or(0, |chain| chain.kept.position),
            head: None,
            before_the_chain: count("SELECT COUNT(*) FROM audit WHERE position IS NULL AND id <= ?").await?,
            not_chained_yet: count("SELECT COUNT(*) FROM audit WHERE position IS NULL AND id > ?").await?,
            broken: None,
        };
        let outside = |position, number, breach| Some(BrokenChain { position, number: Some(number), breach });
        verdict.broken = match (&chain, first) {
            (None, None) => return Ok(verdict.empty(anchor)),
            (None, Some((position, number))) => outside(position, number, Breach::NoChain),
            (Some(chain), Some((position, number))) if position <= chain.kept.position => {
                outside(position, number, Breach::Outside)
            }
            (Some(chain), _) => verdict.walk(&mut transaction, chain, anchor).await?,
        };
        Ok(verdict)
    }
}

impl AuditVerdict {
    /// From the checkpoint to the head.
    async fn walk(
        &mut self,
        transaction: &mut Transaction,
        chain: &Chain,
        anchor: Option<AuditLink>,
    ) -> Result<Option<BrokenChain>, StoreError> {
        let (mut last, mut bundle) = (chain.kept, None);
        loop {
            bundle = bundles::next(transaction, bundle.map_or(0, |bundle: Bundle| bundle.first_id)).await?;
            let end = bundle.as_ref().map_or(i64::MAX, |bundle| bundle.first_position);
            if let Some(broken) = self.rows(transaction, &mut last, end, (chain, anchor)).await? {
                return Ok(Some(broken));
            }
            let Some(bundle) = &bundle else { break };
            if let Some(broken) = self.bundle(transaction, &mut last, bundle, (chain, anchor)).await? {
                return Ok(Some(broken));
            }
        }
        self.head = self.head.or(Some(last).filter(|last| last.position > 0));
        let at = |position, breach| Some(BrokenChain { position, number: None, breach });
        Ok(match anchor {
            _ if last.position < chain.head.position => at(last.position + 1, Breach::Missing),
            _ if last.hash != chain.head.hash => at(last.position, Breach::OtherHead),
            Some(anchor) if anchor.position > last.position => at(anchor.position, Breach::Missing),
            Some(anchor) if anchor.position == chain.kept.position && anchor.hash != chain.kept.hash => {
                at(anchor.position, Breach::OtherAnchor)
            }
            Some(anchor) if anchor.position < chain.kept.position => at(anchor.position, Breach::AnchorGone),
            _ => None,
        })
    }

    /// The rows up to a position, which is not among them.
    async fn rows(
        &mut self,
        transaction: &mut Transaction,
        last: &mut AuditLink,
        end: Position,
        (chain, anchor): (&Chain, Option<AuditLink>),
    ) -> Result<Option<BrokenChain>, StoreError> {
        loop {
            let select = "SELECT * FROM audit WHERE position > ? AND position < ? ORDER BY position LIMIT ?";
            let select = query_as(select).bind(last.position).bind(end).bind(PAGE);
            let lines: Vec<ChainedEvent> = select.fetch_all(&mut *transaction).await.map_err(reading::<AuditEvent>)?;
            if lines.is_empty() {
                return Ok(None);
            }
            for line in &lines {
                match fit(last, line, chain, anchor) {
                    Ok(link) => self.fits(last, link),
                    Err(broken) => return Ok(Some(broken)),
                }
            }
        }
    }

    /// A bundle: its lines, what stands beside them, and that no row claims the place of one of them.
    async fn bundle(
        &mut self,
        transaction: &mut Transaction,
        last: &mut AuditLink,
        bundle: &Bundle,
        (chain, anchor): (&Chain, Option<AuditLink>),
    ) -> Result<Option<BrokenChain>, StoreError> {
        let broken = |position, breach| Ok(Some(BrokenChain { position, number: Some(bundle.first_id), breach }));
        let Some(unbundled) = bundle.unbundle() else { return broken(last.position + 1, Breach::Altered) };
        for line in unbundled.events() {
            match fit(last, &line, chain, anchor) {
                Ok(link) => self.fits(last, link),
                Err(broken) => return Ok(Some(broken)),
            }
        }
        let actors = bundles::actors_of(transaction, bundle.first_id).await?;
        let says = unbundled.actors();
        let is_told = actors.len() == says.len() && says.iter().all(|(actor, lines)| actors.get(*actor) == Some(lines));
        if !bundle.is_labelled(&unbundled) || !is_told {
            return broken(bundle.first_position, Breach::Altered);
        }
        let select = "SELECT position, id FROM audit WHERE position >= ? AND position <= ? ORDER BY position LIMIT 1";
        let select = query_as(select).bind(bundle.first_position).bind(bundle.last_position);
        let stranger: Option<(Position, i64)> = select.fetch_optional(transaction).await?;
        Ok(stranger.map(|(position, number)| BrokenChain { position, number: Some(number), breach: Breach::Outside }))
    }

    fn fits(&mut self, last: &mut AuditLink, link: AuditLink) {
        *last = link;
        self.lines += 1;
        self.head = Some(link);
    }

    fn empty(mut self, anchor: Option<AuditLink>) -> Self {
        let missing =
            |anchor: AuditLink| BrokenChain { position: anchor.position, number: None, breach: Breach::Missing };
        self.broken = anchor.map(missing);
        self
    }
}

/// Whether a line follows another.
fn fit(
    last: &AuditLink,
    line: &ChainedEvent,
    chain: &Chain,
    anchor: Option<AuditLink>,
) -> Result<AuditLink, BrokenChain> {
    let number = line.numbered.number;
    let position = last.position + 1;
    let broken = |number, breach| BrokenChain { position, number, breach };
    // A position without a hash is a line that was changed.
    let Some(link) = line.link else { return Err(broken(Some(number), Breach::Altered)) };
    if link.position > chain.head.position {
        let breach = if link.position == position { Breach::Outside } else { Breach::Missing };
        return Err(broken(Some(number).filter(|_| breach == Breach::Outside), breach));
    }
    if link.position != position {
        return Err(broken(None, Breach::Missing));
    }
    let hash: Digest = hash_of(&last.hash, (position, number), &line.numbered.event.line());
    if hash != link.hash {
        return Err(broken(Some(number), Breach::Altered));
    }
    match anchor {
        Some(anchor) if anchor.position == position && anchor.hash != hash => {
            Err(broken(Some(number), Breach::OtherAnchor))
        }
        _ => Ok(link),
    }
}

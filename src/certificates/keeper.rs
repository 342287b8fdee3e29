//! Orders what is missing and renews what is due, a few at a time, and leaves an authority alone that asks for it.

use super::order::{self, Ordered, Trouble};
use super::{Authority, Certificates, Wanted, known, renewal};
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::store::{Issued, StoredCertificate};
use crate::tls::Certificate;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How often it is looked whether something is due; that costs three atomic loads.
const PERIOD: Duration = Duration::from_millis(500);
/// How many orders may be under way.
const AT_ONCE: usize = 3;
/// How long an order may take.
const ORDER: Duration = Duration::from_secs(600);
/// How long others leave a certificate alone that somebody orders.
const LEASE: Duration = Duration::from_secs(660);
/// How soon the same certificate is looked at again here, whatever came of it.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest time for which a limit of one certificate keeps others from being ordered.
const LIMITED: Duration = Duration::from_secs(3600);

impl Certificates {
    /// Runs until `stopping`.
    pub async fn keep(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut work = Work::default();
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! { biased;
                _ = stopping.wait_for(|stopping| *stopping) => break,
                Some(done) = work.orders.join_next() => work.ended(done.ok(), self.parts.clock.now()),
                () = self.wake.notified() => {}
                _ = ticks.tick() => {}
            }
            if let Some(authority) = self.authority() {
                self.look(&authority, &mut work);
            }
        }
        work.orders.shutdown().await;
        for name in work.names {
            // Others need not wait for the lease to run out.
            drop(self.parts.store.release_certificate(&name, &self.holder).await);
        }
    }

    /// Begins what is due.
    fn look(self: &Arc<Self>, authority: &Arc<Authority>, work: &mut Work) {
        let now = self.parts.clock.now();
        let seen = (self.parts.registry.generation(), self.version.load(Ordering::Acquire));
        if work.seen == Some(seen) && work.next.is_some_and(|next| now < next) {
            return;
        }
        work.seen = Some(seen);
        work.again.retain(|_, until| *until > Instant::now());
        let held_back = work.held_back_until.is_some_and(|until| now < until);
        // Names that are looked at again soon are due then.
        let mut next = if work.again.is_empty() { Timestamp(i64::MAX) } else { now };
        let wanted = self.wanted(authority);
        self.forget_old(&wanted, work, now);
        for wanted in wanted {
            let at = self.due_at(authority, &wanted);
            if at > now || held_back {
                next = next.min(at.max(work.held_back_until.unwrap_or(at)));
            } else if work.orders.len() >= AT_ONCE {
                next = now;
                break;
            } else if !work.again.contains_key(&wanted.name) && work.names.insert(wanted.name.clone()) {
                work.orders.spawn(self.clone().attend(authority.clone(), wanted));
            }
        }
        work.next = Some(next);
    }

    /// Removes what nobody wants any more and is good for nothing.
    fn forget_old(self: &Arc<Self>, wanted: &[Wanted], work: &mut Work, now: Timestamp) {
        let known = self.known.load();
        let is_old = |row: &&StoredCertificate| row.not_after.is_none_or(|end| end <= now) && row.renew_at <= now;
        for row in known.rows().filter(is_old).filter(|row| wanted.iter().all(|wanted| wanted.name != row.name)) {
            if work.names.insert(row.name.clone()) {
                work.orders.spawn(self.clone().forget(row.name.clone()));
            }
        }
    }

    async fn forget(self: Arc<Self>, name: String) -> Attended {
        if let Err(error) = self.parts.store.delete_certificate(&name).await {
            tracing::warn!(name, %error, "a certificate that nobody needs stays in the database");
        }
        Attended { name, held_back: None }
    }

    /// When something is to be done about a certificate.
    fn due_at(&self, authority: &Authority, wanted: &Wanted) -> Timestamp {
        match self.known.load().row(&wanted.name) {
            None => Timestamp(0),
            Some(row) if is_other(row, authority, wanted) && row.failures == 0 => Timestamp(0),
            Some(row) => row.ask_at.map_or(row.renew_at, |ask_at| ask_at.min(row.renew_at)),
        }
    }

    async fn attend(self: Arc<Self>, authority: Arc<Authority>, wanted: Wanted) -> Attended {
        let name = wanted.name.clone();
        let held_back = self.try_attend(&authority, &wanted).await.unwrap_or_else(|fault| {
            tracing::error!(name, %fault, "a certificate cannot be looked after: trying again");
            None
        });
        Attended { name, held_back }
    }

    /// Under the lease: orders, or asks the authority when it would have it. How long all orders have to wait.
    async fn try_attend(&self, authority: &Arc<Authority>, wanted: &Wanted) -> Result<Option<Duration>, Fault> {
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        let (names, directory) = (wanted.joined(), authority.config.directory.as_str());
        let lease = store.now().await?;
        let key = (wanted.name.as_str(), names.as_str(), directory);
        let claimed = store.claim_certificate(key, &self.holder, (lease, lease.after(LEASE))).await?;
        let Some(row) = claimed else {
            tracing::debug!(name = wanted.name, "another process orders this certificate");
            return Ok(None);
        };
        // Somebody may have been done just before.
        let other = is_other(&row, authority, wanted) && row.failures == 0;
        if !other && row.renew_at > now {
            let asked = if row.ask_at.is_some_and(|at| at <= now) { self.ask(authority, &row).await } else { Ok(()) };
            store.release_certificate(&row.name, &self.holder).await?;
            asked?;
            self.reload().await?;
            return Ok(None);
        }
        let replaced = self.replaced(&row, authority);
        let ordered = match timeout(ORDER, order::order(&self.parts, authority, wanted, replaced.as_deref())).await {
            Ok(ordered) => ordered,
            Err(_) => Err(Trouble { text: "the order took too long".to_owned(), wait: None, limited: false }),
        };
        let held_back = match ordered {
            Ok(ordered) => {
                self.keep_issued(authority, wanted, &ordered).await?;
                None
            }
            Err(trouble) => self.note(&row, &trouble).await?,
        };
        self.reload().await?;
        Ok(held_back)
    }

    async fn keep_issued(&self, authority: &Authority, wanted: &Wanted, ordered: &Ordered) -> Result<(), Fault> {
        let (parts, name) = (&self.parts, wanted.name.as_str());
        let certificate = Certificate::parse(&ordered.chain, &ordered.key)?;
        let (validity, now) = (certificate.validity(), parts.clock.now());
        let renew_at = renewal::renew_at(validity, authority.config.renew_before, now, &parts.random);
        let issued = Issued {
            names: &wanted.joined(),
            directory: &authority.config.directory,
            chain: &ordered.chain,
            sealed: &parts.vault.seal(&known::place(name), &ordered.key),
            validity,
            renew_at,
            // What it would rather have is known later at the earliest.
            ask_at: certificate.renewal_id().map(|_| now.after(renewal::first_ask(&parts.random))),
        };
        if parts.store.finish_certificate(name, &self.holder, &issued).await? {
            let until = validity.1.to_rfc3339();
            tracing::info!(name, until, renewal = renew_at.to_rfc3339(), "a certificate was issued");
        }
        Ok(())
    }

    async fn note(&self, row: &StoredCertificate, trouble: &Trouble) -> Result<Option<Duration>, Fault> {
        let pause = renewal::pause(row.failures, &self.parts.random).max(trouble.wait.unwrap_or_default());
        let again_at = self.parts.clock.now().after(pause);
        tracing::error!(
            name = row.name,
            reason = trouble.text,
            again = again_at.to_rfc3339(),
            "a certificate could not be ordered"
        );
        let noted = (trouble.text.as_str(), again_at);
        self.parts.store.fail_certificate(&row.name, &self.holder, noted).await?;
        Ok(trouble.limited.then(|| pause.min(LIMITED)))
    }

    /// Asks the authority when it would have a certificate renewed (RFC 9773).
    async fn ask(&self, authority: &Authority, row: &StoredCertificate) -> Result<(), Fault> {
        let now = self.parts.clock.now();
        let id = self.known.load().certificate(&row.name).and_then(|found| found.renewal_id().map(str::to_owned));
        let suggested = match &id {
            Some(id) => renewal::suggested(authority, id, now, &self.parts.random).await,
            None => None,
        };
        // Earlier than planned, never later. Without an answer it is asked again in a day.
        let (renew_at, ask_at) = suggested.unwrap_or((row.renew_at, now.after(renewal::NO_ANSWER)));
        Ok(self.parts.store.reschedule_certificate(row, renew_at.min(row.renew_at), Some(ask_at)).await?)
    }

    /// The renewal id of the certificate that this order replaces, at the same authority.
    fn replaced(&self, row: &StoredCertificate, authority: &Authority) -> Option<String> {
        let known = self.known.load();
        let certificate = known.certificate(&row.name).filter(|_| row.directory == authority.config.directory)?;
        certificate.renewal_id().map(str::to_owned)
    }
}

/// Whether a row is about other names, or of another authority, than it should be.
fn is_other(row: &StoredCertificate, authority: &Authority, wanted: &Wanted) -> bool {
    let names: HashSet<&str> = row.names.split(' ').collect();
    row.directory != authority.config.directory || names != wanted.names.iter().map(String::as_str).collect()
}

/// What is under way.
#[derive(Default)]
struct Work {
    orders: JoinSet<Attended>,
    names: HashSet<String>,
    /// Names that are left alone for a moment.
    again: HashMap<String, Instant>,
    /// What `next` was computed from.
    seen: Option<(u64, u64)>,
    next: Option<Timestamp>,
    held_back_until: Option<Timestamp>,
}

struct Attended {
    name: String,
    held_back: Option<Duration>,
}

impl Work {
    fn ended(&mut self, attended: Option<Attended>, now: Timestamp) {
        // Look again, at those too that had to wait for their turn.
        self.seen = None;
        let Some(Attended { name, held_back }) = attended else { return };
        self.names.remove(&name);
        self.again.insert(name, Instant::now() + AGAIN);
        if let Some(held_back) = held_back {
            self.held_back_until = Some(now.after(held_back));
        }
    }
}

//! Refreshing upstream tokens without losing any (decision 3).
//!
//! 1. The lease of the connection, with a fence, and the intent: durable before the call ([`crate::store::Intent`]).
//! 2. The call, in a task that no caller can cancel (`flights`).
//! 3. The answer, on the disk of this machine before anything else (`spool`), then in the database by one compare-and-swap
//!    of version and fence (`answers`). Only then, or when the database makes it wait, is it used.
//! 4. A refusal is believed only of the row that is still there, under the fence that is still ours.
//!
//! What became of a call that was cut off is not known: the server may have rotated. So the next one presents the same
//! refresh token once more, as FAPI 2.0 expects of clients; servers with a grace answer. A strict one refuses, and the
//! connection ends with a text that says why: the answer was lost between the server and our disk, and no further call can
//! bring it back. The token before the present one is tried in one case only: the present one was refused before it ever
//! worked. OAuth 2.1 §4.3.1 lets a strict server end the authorization for that, but there is nothing left to lose then.

use super::answers::{Answer, Storing};
use super::flights::Outcome;
use super::party::Party;
use super::sealed::{AtServer, Tokens};
use super::token_endpoint::{self, Granted, LONGEST_WAIT, TokenError};
use super::{ConnectionKey, Connections, NoCredential};
use crate::checkpoints::Step;
use crate::clock::Timestamp;
use crate::error::{Culprit, Fault};
use crate::ids::{ConnectionId, Digest};
use crate::oauth::scope::Scopes;
use crate::store::{Begun, Connection, ConnectionState, Failure, Intent, Lease};
use crate::telemetry;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// An upstream that rejects even what it was given in place of rejected tokens within this time wants a person.
const REJECTED_AGAIN: Duration = Duration::from_secs(60);
/// The pauses before the looks at the row that come before a refusal is believed: somebody who was taken for dead may be
/// bringing the answer.
const SECOND_LOOKS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(200)];
/// How often, and how long after each other, the row is looked at while another process refreshes it: a little longer
/// than its call may take. Should its machine have died, its lease ends soon ([`crate::store::REFRESH_LEASE`]).
const LOOKS: u32 = if cfg!(test) { 1200 } else { 60 };
const LOOK_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 200 });
/// How much of the lease may be gone when the call begins: the rest is for the longest call, and for storing its answer.
const LATEST_CALL: Duration = Duration::from_secs(5);
/// How long those who asked wait for the database before they are served from memory.
const PATIENCE: Duration = Duration::from_secs(1);

const ENDED: &str = "the upstream ended the authorization";
const LOST: &str = "an earlier renewal was cut off and its answer may be lost, and the upstream does not accept the \
                    same token again: please sign in there once more";

/// One attempt to refresh.
struct Attempt<'a> {
    key: &'a ConnectionKey,
    row: &'a Connection,
    tokens: &'a Tokens,
    server: &'a AtServer,
    /// The refresh token that is presented.
    presented: &'a str,
    rejected: bool,
    lease: Lease,
    leased_at: Moment,
}

/// By both clocks: the one that no one sets stands still while the machine sleeps.
#[derive(Clone, Copy)]
struct Moment(Instant, Timestamp);

impl Connections {
    /// Refreshes now, as the only one in this process.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        key: &ConnectionKey,
        id: ConnectionId,
        version: i64,
        rejected: bool,
    ) -> Outcome {
        self.adopted.get_or_try_init(|| self.adopt()).await?;
        for _ in 0..LOOKS {
            let epoch = self.memory.epoch();
            let row = self.store.connection_by_id(id).await.map_err(Fault::from)?;
            let row = row.ok_or(NoCredential::NeedsConsent)?;
            // Also where a later holder was refused and took that for the end.
            if let Some(answer) = self.answers.of(id, row.version) {
                if let Some(served) = self.serve(&answer, epoch) {
                    return served;
                }
                // It is being stored, and then there is a newer row to look at.
                tokio::time::sleep(LOOK_PAUSE).await;
                continue;
            }
            match row.state {
                ConnectionState::NeedsConsent => return Err(NoCredential::NeedsConsent),
                ConnectionState::Open => return self.remember(key, &row, epoch),
                ConnectionState::Active => {}
            }
            // Somebody was faster: another process, or a renewed consent.
            if row.version != version && !self.has_expired(&row) {
                return self.remember(key, &row, epoch);
            }
            let tokens = self.open_tokens(&row)?;
            if rejected && self.was_rejected_just_now(&tokens) {
                return self.ended(&row, "the upstream rejects even the tokens that it has just issued").await;
            }
            let (Some(presented), Some(server)) = (&tokens.refresh_token, &tokens.server) else {
                if rejected || self.has_expired(&row) {
                    return self.ended(&row, "the authorization expired and the upstream gave no refresh token").await;
                }
                self.refreshes.unrefreshable.insert(id, row.version);
                self.store.postpone_refresh(id, row.version, row.expires_at).await.map_err(Fault::from)?;
                return self.remember(key, &row, epoch);
            };
            self.checkpoints.reached(Step::Began).await;
            let leased_at = Moment(Instant::now(), self.clock.now());
            let Some(lease) = self.lease(&row, presented).await? else { continue };
            let attempt = Attempt { key, row: &row, tokens: &tokens, server, presented, rejected, lease, leased_at };
            if let Some(outcome) = self.exchange(attempt).await {
                return outcome;
            }
        }
        let text = "the authorization is being renewed elsewhere, and that takes long";
        let fault = Fault { culprit: Culprit::UpstreamTimeout, public: text.into(), private: format!("{id}: {text}") };
        Err(NoCredential::Trouble { retry_after: LONGEST_WAIT, fault })
    }

    /// The lease of a connection, with the intent written down. `None`: the row must be looked at again, where somebody else
    /// has the lease after a while.
    async fn lease(self: &Arc<Self>, row: &Connection, presented: &str) -> Result<Option<Lease>, Fault> {
        let holder = self.spool.holder();
        let intent = Intent { connection: row.id, version: row.version, holder, presented: Digest::of(presented) };
        let now = self.store.now().await?;
        match self.store.begin_refresh(&intent, now).await? {
            Begun::Moved => Ok(None),
            Begun::Busy { holder, fence } if self.spool.has_died(&holder) => {
                tracing::warn!(connection = %row.id, "a process ended in the middle of a refresh: it is taken up");
                self.store.release_refresh(row.id, fence).await?;
                Ok(None)
            }
            Begun::Busy { .. } => {
                self.checkpoints.reached(Step::Waiting).await;
                tokio::time::sleep(LOOK_PAUSE).await;
                Ok(None)
            }
            Begun::Held(lease) => {
                if lease.earlier.is_some() {
                    // Whoever it was may have left the answer on this machine.
                    self.adopt().await?;
                    if self.answers.of(row.id, row.version).is_some() {
                        self.store.release_refresh(row.id, lease.fence).await?;
                        return Ok(None);
                    }
                }
                self.checkpoints.reached(Step::Intended).await;
                Ok(Some(lease))
            }
        }
    }

    /// The call and what follows from its answer. `None`: the row changed meanwhile, look again.
    async fn exchange(self: &Arc<Self>, attempt: Attempt<'_>) -> Option<Outcome> {
        let Some(party) = self.party(&attempt.key.target) else {
            let fault = Fault::gateway(format!("{} is not configured any longer", attempt.key.target));
            return Some(self.keep_in_trouble(&attempt, None, fault, true).await);
        };
        // Paused for so long that somebody else may be about to take over: nothing was sent yet.
        let Moment(instant, time) = attempt.leased_at;
        if instant.elapsed().max(self.clock.now().since(time)) > LATEST_CALL {
            let released = self.store.release_refresh(attempt.row.id, attempt.lease.fence).await;
            return released.err().map(|error| Err(Fault::from(error).into()));
        }
        let server = party.with_current_secret(attempt.server);
        let parameters = [("grant_type", "refresh_token"), ("refresh_token", attempt.presented)];
        let span = self.tracer.root(telemetry::SpanKind::Client, "token refresh");
        let answered = token_endpoint::request(&self.http, &server, &party, &parameters).await;
        self.checkpoints.reached(Step::Answered).await;
        if let Some(mut span) = span {
            span.goes_to_url(&server.token_endpoint);
            span.text("portcullis.upstream", attempt.row.authority.clone());
            match &answered {
                Ok(_) => {}
                Err(TokenError::Trouble { .. }) => span.fail("trouble"),
                Err(TokenError::Refused { .. }) => span.fail("refused"),
            }
        }
        match answered {
            Ok(granted) => self.keep_granted(&attempt, &granted).await,
            Err(TokenError::Trouble { retry_after, fault, certain }) => {
                Some(self.keep_in_trouble(&attempt, retry_after, fault, certain).await)
            }
            Err(TokenError::Refused { code, description }) => {
                tracing::info!(connection = %attempt.row.id, code, description, "the upstream refused to refresh");
                self.refused(attempt, &server, &party, &code).await
            }
        }
    }

    /// What a refusal means: the end, or something that somebody can put right.
    async fn refused(
        self: &Arc<Self>,
        attempt: Attempt<'_>,
        server: &AtServer,
        party: &Party,
        code: &str,
    ) -> Option<Outcome> {
        if party.quirks_at(server).is_the_end(code) {
            return self.refused_for_good(attempt).await;
        }
        // A client that the administrator registered can be put right by the administrator.
        if matches!(code, "invalid_client" | "unauthorized_client") && !party.configured(server) {
            if let Err(fault) = self.drop_client(&server.issuer, &server.client.id).await {
                tracing::error!(%fault, "a registration that is not known any longer cannot be dropped");
            }
            return self.end_if_unchanged(&attempt, "the upstream does not know this gateway any longer").await;
        }
        let public = format!("{} refused to renew the authorization ({code})", party.name);
        Some(self.keep_in_trouble(&attempt, None, Fault::upstream(public.clone(), public), true).await)
    }

    /// The server says that the token is worth nothing. One that never worked gives way to the one before it, once.
    async fn refused_for_good(self: &Arc<Self>, attempt: Attempt<'_>) -> Option<Outcome> {
        // An earlier call may have been its first success; then the one before it is long gone.
        if attempt.lease.earlier.is_some() {
            return self.end_if_unchanged(&attempt, LOST).await;
        }
        let previous = attempt.tokens.previous_refresh_token.as_deref();
        let Some(previous) = previous.filter(|previous| *previous != attempt.presented) else {
            return self.end_if_unchanged(&attempt, ENDED).await;
        };
        tracing::warn!(connection = %attempt.row.id, "the newest refresh token was refused: trying the one before it");
        let leased_at = Moment(Instant::now(), self.clock.now());
        match self.lease(attempt.row, previous).await {
            Ok(Some(lease)) => {
                // What became of the first attempt is known.
                let lease = Lease { earlier: None, ..lease };
                Box::pin(self.exchange(Attempt { presented: previous, lease, leased_at, ..attempt })).await
            }
            Ok(None) => None,
            Err(fault) => Some(Err(fault.into())),
        }
    }

    /// The answer is durable before anybody uses it: what is lost here is lost for good with a server that rotates.
    async fn keep_granted(self: &Arc<Self>, attempt: &Attempt<'_>, granted: &Granted) -> Option<Outcome> {
        let now = self.clock.now();
        let mut tokens = attempt.tokens.clone();
        granted.access_token.as_str().clone_into(&mut tokens.access_token);
        let rotated = granted.refresh_token.as_ref().filter(|rotated| rotated.as_str() != attempt.presented);
        tokens.previous_refresh_token = rotated.map(|_| attempt.presented.to_owned());
        tokens.refresh_token = Some(rotated.map_or(attempt.presented, |rotated| rotated.as_str()).to_owned());
        tokens.replaced_rejected_at = attempt.rejected.then(|| now.seconds());
        let same = || attempt.row.scope.clone();
        let answer = Arc::new(Answer {
            connection: attempt.row.id,
            key: attempt.key.clone(),
            version: attempt.row.version,
            fence: attempt.lease.fence,
            tokens,
            scope: granted.scope.as_ref().map_or_else(same, |scope| Scopes::lenient(scope.split(' ')).to_string()),
            expires_at: granted.expires_in.map(|life| now.after(life)),
            received_at: now,
            spooled: false.into(),
        });
        self.metrics.token_refresh(telemetry::Outcome::Succeeded);
        self.activity.refreshed(now, attempt.row.user, &attempt.row.authority);
        let mut storing = self.take_in(answer.clone()).await;
        let stored = timeout(PATIENCE, storing.wait_for(|storing| *storing != Storing::UnderWay)).await;
        match stored.map(|stored| stored.map(|storing| *storing)) {
            Ok(Ok(Storing::Superseded)) => None,
            _ => self.serve(&answer, self.memory.epoch()),
        }
    }

    async fn keep_in_trouble(
        &self,
        attempt: &Attempt<'_>,
        asked: Option<Duration>,
        fault: Fault,
        certain: bool,
    ) -> Outcome {
        let (id, now) = (attempt.row.id, self.clock.now());
        tracing::warn!(connection = %id, authority = attempt.row.authority, %fault, "refresh failed, the connection stays");
        self.metrics.token_refresh(telemetry::Outcome::Failed);
        let text = fault.public.to_string();
        let trouble = self.refreshes.failed(id, now, asked, fault);
        let again_at = Some(self.refreshes.again_unasked(id, now));
        let failure = Failure { state: ConnectionState::Active, error: &text, certain, again_at };
        if let Err(error) = self.store.fail_refresh(&attempt.lease, &failure).await {
            tracing::error!(connection = %id, %error, "a failed refresh could not be recorded");
        }
        Err(trouble)
    }

    /// Believes that it is over only when the row is still the one that was refused, and stays so for a moment: another
    /// process may have got the new tokens and be writing them.
    async fn end_if_unchanged(&self, attempt: &Attempt<'_>, why: &str) -> Option<Outcome> {
        let row = attempt.row;
        for pause in SECOND_LOOKS {
            tokio::time::sleep(pause).await;
            match self.store.connection_by_id(row.id).await {
                Ok(Some(current)) if current.version != row.version => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(Fault::from(error).into())),
            }
        }
        let failure = Failure { state: ConnectionState::NeedsConsent, error: why, certain: true, again_at: None };
        match self.store.fail_refresh(&attempt.lease, &failure).await {
            Ok(true) => {
                tracing::info!(connection = %row.id, authority = row.authority, why, "connection ended");
                self.metrics.token_refresh(telemetry::Outcome::Failed);
                self.ended_at(row.id, row.version);
                Some(Err(NoCredential::NeedsConsent))
            }
            // Somebody else took over, or the person has consented anew.
            Ok(false) => None,
            Err(error) => Some(Err(Fault::from(error).into())),
        }
    }

    async fn ended(&self, row: &Connection, why: &str) -> Outcome {
        self.metrics.token_refresh(telemetry::Outcome::Failed);
        self.end(row, why).await?;
        Err(NoCredential::NeedsConsent)
    }

    /// The person must consent again.
    pub(super) async fn end(&self, row: &Connection, why: &str) -> Result<(), Fault> {
        tracing::info!(connection = %row.id, authority = row.authority, why, "connection ended");
        match self.store.end_connection(row.id, row.version, why).await? {
            true => self.ended_at(row.id, row.version),
            // The person has consented anew meanwhile: only the credential is old.
            false => self.forget(row.id),
        }
        Ok(())
    }

    fn was_rejected_just_now(&self, tokens: &Tokens) -> bool {
        tokens.replaced_rejected_at.is_some_and(|at| self.clock.now().since(Timestamp(at)) < REJECTED_AGAIN)
    }
}

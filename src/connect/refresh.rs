//! Refreshing upstream tokens without losing any (decision 3): one at a time per connection, the intent written before the
//! call, the answer written before it is used, in a task of its own. Only a confirmed end ends a connection.

use super::flights::Outcome;
use super::party::Party;
use super::sealed::{AtServer, Tokens};
use super::token_endpoint::{self, Granted, LONGEST_WAIT, TokenError};
use super::{ConnectionKey, Connections, NoCredential};
use crate::clock::Timestamp;
use crate::error::{Culprit, Fault};
use crate::ids::ConnectionId;
use crate::oauth::scope::Scopes;
use crate::store::{Connection, ConnectionState, RenewedTokens};
use crate::telemetry;
use std::time::Duration;

/// An upstream that rejects even what it was given in place of rejected tokens within this time wants a person.
const REJECTED_AGAIN: Duration = Duration::from_secs(60);
/// How often an answer is written again when the database fails, waiting twice as long each time, beginning here.
const WRITES: u32 = 10;
const FIRST_WRITE_PAUSE: Duration = Duration::from_millis(50);
/// The pauses before the looks at the row that come before a refusal is believed.
const SECOND_LOOKS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(200)];
/// How often, and how long after each other, the row is looked at while another process refreshes it: a little longer
/// than its call may take. Should it have crashed, its lease ends soon ([`crate::store::REFRESH_LEASE`]).
const LOOKS: u32 = 60;
const LOOK_PAUSE: Duration = Duration::from_millis(200);

impl Connections {
    /// Refreshes now, as the only one in this process.
    pub(super) async fn refresh(&self, key: &ConnectionKey, id: ConnectionId, version: i64, rejected: bool) -> Outcome {
        for _ in 0..LOOKS {
            let epoch = self.memory.epoch();
            let row = self.store.connection_by_id(id).await.map_err(Fault::from)?;
            let row = row.ok_or(NoCredential::NeedsConsent)?;
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
            let (Some(refresh_token), Some(server)) = (&tokens.refresh_token, &tokens.server) else {
                if rejected || self.has_expired(&row) {
                    return self.ended(&row, "the authorization expired and the upstream gave no refresh token").await;
                }
                self.refreshes.unrefreshable.insert(id, row.version);
                return self.remember(key, &row, epoch);
            };
            // A refresh that a crash left behind is taken up with the token that is there, once its lease is over.
            if !self.store.begin_refresh(id, row.version, self.clock.now()).await.map_err(Fault::from)? {
                tokio::time::sleep(LOOK_PAUSE).await;
            } else if let Some(outcome) = self.exchange(key, &row, (&tokens, refresh_token, server), rejected).await {
                return outcome;
            }
        }
        let text = "the authorization is being renewed elsewhere, and that takes long";
        let fault = Fault { culprit: Culprit::UpstreamTimeout, public: text.into(), private: format!("{id}: {text}") };
        Err(NoCredential::Trouble { retry_after: LONGEST_WAIT, fault })
    }

    /// The call and what follows from its answer. `None`: the row changed meanwhile, look again.
    async fn exchange(
        &self,
        key: &ConnectionKey,
        row: &Connection,
        (tokens, refresh_token, server): (&Tokens, &str, &AtServer),
        rejected: bool,
    ) -> Option<Outcome> {
        let Some(party) = self.party(&key.target) else {
            let fault = Fault::gateway(format!("{} is not configured any longer", key.target));
            return Some(self.keep_in_trouble(row, None, fault).await);
        };
        let server = party.with_current_secret(server);
        let parameters = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        match token_endpoint::request(&self.http, &server, &party, &parameters).await {
            Ok(granted) => self.store_renewed(key, row, tokens, &granted, rejected).await,
            Err(TokenError::Trouble { retry_after, fault }) => {
                Some(self.keep_in_trouble(row, retry_after, fault).await)
            }
            Err(TokenError::Refused { code, description }) => {
                tracing::info!(connection = %row.id, code, description, "the upstream refused to refresh");
                self.refused(row, &server, &party, &code).await
            }
        }
    }

    /// What a refusal means: the end, or something that somebody can put right.
    async fn refused(&self, row: &Connection, server: &AtServer, party: &Party, code: &str) -> Option<Outcome> {
        if party.quirks_at(server).is_the_end(code) {
            return self.end_if_unchanged(row, "the upstream ended the authorization").await;
        }
        // A client that the administrator registered can be put right by the administrator.
        if matches!(code, "invalid_client" | "unauthorized_client") && !party.configured(server) {
            if let Err(fault) = self.drop_client(&server.issuer, &server.client.id).await {
                tracing::error!(%fault, "a registration that is not known any longer cannot be dropped");
            }
            return self.end_if_unchanged(row, "the upstream does not know this gateway any longer").await;
        }
        let public = format!("{} refused to renew the authorization ({code})", party.name);
        Some(self.keep_in_trouble(row, None, Fault::upstream(public.clone(), public)).await)
    }

    /// The answer is durable before anybody uses it. What is lost here is lost for good with a server that rotates, so
    /// a database in trouble gets every chance.
    async fn store_renewed(
        &self,
        key: &ConnectionKey,
        row: &Connection,
        old: &Tokens,
        granted: &Granted,
        rejected: bool,
    ) -> Option<Outcome> {
        let now = self.clock.now();
        let mut tokens = old.clone();
        granted.access_token.as_str().clone_into(&mut tokens.access_token);
        if let Some(rotated) = &granted.refresh_token {
            tokens.refresh_token = Some(rotated.to_string());
        }
        tokens.replaced_rejected_at = rejected.then(|| now.seconds());
        let sealed = match self.seal_tokens(key, &tokens) {
            Ok(sealed) => sealed,
            Err(fault) => return Some(Err(fault.into())),
        };
        let scope = granted
            .scope
            .as_ref()
            .map_or_else(|| row.scope.clone(), |scope| Scopes::lenient(scope.split(' ')).to_string());
        let renewed = RenewedTokens { sealed, scope, expires_at: granted.expires_in.map(|life| now.after(life)) };
        match self.write_patiently(row, &renewed, now).await {
            Ok(true) => {
                self.metrics.token_refresh(telemetry::Outcome::Succeeded);
                self.refreshes.recovered(row.id);
                self.forget(row.id);
                let renewed_row = Connection {
                    version: row.version + 1,
                    sealed: renewed.sealed,
                    scope: renewed.scope,
                    expires_at: renewed.expires_at,
                    ..row.clone()
                };
                Some(self.remember(key, &renewed_row, self.memory.epoch()))
            }
            Ok(false) => None,
            Err(fault) => {
                tracing::error!(connection = %row.id, %fault, "renewed tokens could not be stored");
                Some(Err(fault.into()))
            }
        }
    }

    async fn write_patiently(&self, row: &Connection, renewed: &RenewedTokens, now: Timestamp) -> Result<bool, Fault> {
        let mut pause = FIRST_WRITE_PAUSE;
        for _ in 1..WRITES {
            match self.store.finish_refresh(row.id, row.version, renewed, now).await {
                Ok(stored) => return Ok(stored),
                Err(error) => tracing::warn!(connection = %row.id, %error, "writing renewed tokens again"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(self.store.finish_refresh(row.id, row.version, renewed, now).await?)
    }

    async fn keep_in_trouble(&self, row: &Connection, asked: Option<Duration>, fault: Fault) -> Outcome {
        tracing::warn!(connection = %row.id, authority = row.authority, %fault, "refresh failed, the connection stays");
        self.metrics.token_refresh(telemetry::Outcome::Failed);
        let text = fault.public.to_string();
        if let Err(error) = self.store.fail_refresh(row.id, row.version, ConnectionState::Active, &text).await {
            tracing::error!(connection = %row.id, %error, "a failed refresh could not be recorded");
        }
        Err(self.refreshes.failed(row.id, self.clock.now(), asked, fault))
    }

    /// Believes that it is over only when the row is still the one that was refused, and stays so for a moment: another
    /// process may have got the new tokens and be writing them.
    async fn end_if_unchanged(&self, row: &Connection, why: &str) -> Option<Outcome> {
        for pause in SECOND_LOOKS {
            tokio::time::sleep(pause).await;
            match self.store.connection_by_id(row.id).await {
                Ok(Some(current)) if current.version != row.version => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(Fault::from(error).into())),
            }
        }
        Some(self.ended(row, why).await)
    }

    async fn ended(&self, row: &Connection, why: &str) -> Outcome {
        self.metrics.token_refresh(telemetry::Outcome::Failed);
        self.end(row, why).await?;
        Err(NoCredential::NeedsConsent)
    }

    /// The person must consent again.
    pub(super) async fn end(&self, row: &Connection, why: &str) -> Result<(), Fault> {
        tracing::info!(connection = %row.id, authority = row.authority, why, "connection ended");
        match self.store.fail_refresh(row.id, row.version, ConnectionState::NeedsConsent, why).await? {
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

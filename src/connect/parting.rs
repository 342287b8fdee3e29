//! Giving authorizations that ended here back to their providers (RFC 7009, and what single providers have instead). Our
//! side has forgotten them by then and waits for nobody; what a provider refuses is audited.

use super::known::quirks_at;
use super::party::Party;
use super::sealed::{AtServer, Tokens};
use super::token_endpoint::{FORM, JSON, authenticated, json_of, members, printable, start};
use super::{ConnectionKey, Connections};
use crate::audit::Audit;
use crate::error::Fault;
use crate::http::Fetched;
use crate::oauth::basic;
use crate::oauth::quirks::{Quirks, Revocation};
use crate::store::{ConnectionState, Parting};
use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use url::form_urlencoded::Serializer;

/// How often a provider is asked.
const ATTEMPTS: i64 = 2;
/// How long after the first time it is asked again.
const AGAIN: Duration = Duration::from_secs(30);
/// How many are asked at once.
const CONCURRENCY: usize = 8;
/// Errors by which a provider says that there is nothing to end any more: Google's, then Slack's.
const GONE: [&str; 3] = ["invalid_token", "token_revoked", "account_inactive"];

/// What became of one.
enum Farewell {
    /// The provider has ended it.
    Accepted,
    /// There is no way to tell the provider, or no need to.
    Unsaid,
    /// The provider did not take it, in words for the audit log.
    Refused(String),
}

impl Connections {
    /// Gives authorizations back as they end, until `stop` changes. Begins with those that an earlier process left.
    pub async fn part(self: Arc<Self>, audit: Audit, mut stop: watch::Receiver<bool>) {
        loop {
            let unfinished = tokio::select! {
                unfinished = self.give_back(&audit) => unfinished,
                _ = stop.changed() => return,
            };
            tokio::select! {
                () = self.parted.notified() => {}
                () = tokio::time::sleep(AGAIN), if unfinished => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// One round; whether somebody has to be asked again.
    pub async fn give_back(&self, audit: &Audit) -> bool {
        let now = self.clock.now();
        let partings = match self.store.take_partings(now, now.after(AGAIN)).await {
            Ok(partings) => partings,
            Err(error) => {
                tracing::error!(%error, "cannot look for authorizations to give back");
                return true;
            }
        };
        let unfinished = AtomicBool::new(false);
        futures_util::stream::iter(partings)
            .for_each_concurrent(CONCURRENCY, |parting| async {
                if self.give_one_back(parting, audit).await {
                    unfinished.store(true, Ordering::Relaxed);
                }
            })
            .await;
        unfinished.into_inner()
    }

    /// Whether it has to be tried again.
    async fn give_one_back(&self, parting: Parting, audit: &Audit) -> bool {
        let person = match self.store.user(parting.user).await {
            Ok(Some(user)) => user.name,
            _ => parting.user.to_string(),
        };
        let subject = format!("{person} at {}", parting.authority);
        let farewell =
            self.farewell(&parting).await.unwrap_or_else(|fault| Farewell::Refused(fault.public.into_owned()));
        match farewell {
            Farewell::Accepted => audit.record("system", "connection.revoked_at_provider", &subject, None),
            Farewell::Unsaid => {}
            Farewell::Refused(why) if parting.attempts < ATTEMPTS => {
                tracing::warn!(connection = %parting.id, why, "a provider is going to be asked again to end an authorization");
                return true;
            }
            Farewell::Refused(why) => {
                let subject = format!("{subject}: {why}; the person can still end it there");
                audit.record("system", "connection.revocation_failed", &subject, None);
            }
        }
        if let Err(error) = self.store.delete_parting(parting.id).await {
            tracing::error!(connection = %parting.id, %error, "an authorization that was given back cannot be forgotten");
        }
        false
    }

    async fn farewell(&self, parting: &Parting) -> Result<Farewell, Fault> {
        let tokens = self.open_parting(parting)?;
        let key = ConnectionKey::parse(parting.user, &parting.authority, &parting.account);
        let (Some(server), Some(key)) = (&tokens.server, key) else { return Ok(Farewell::Unsaid) };
        let party = self.party(&key.target);
        let server = party.as_ref().map_or_else(|| server.clone(), |party| party.with_current_secret(server));
        let Some(endpoint) = self.endpoint(party.as_ref(), &server).await? else { return Ok(Farewell::Unsaid) };
        let providers = self.providers.current();
        let quirks = party.as_ref().map_or_else(|| quirks_at(&providers, &server), |party| party.quirks_at(&server));
        // The whole grant would end, and with it what the person has connected since.
        if ends_everything(quirks.revocation) && self.is_active(&key).await? {
            return Ok(Farewell::Unsaid);
        }
        let request = request(&endpoint, &server, &tokens, quirks).map_err(Fault::gateway)?;
        let allow_private = party.as_ref().is_some_and(|party| party.allow_private);
        Ok(judge(&self.http.send(request, allow_private).await?, quirks.revocation))
    }

    /// What the configuration says now, else what was recorded, else what the issuer's metadata says.
    async fn endpoint(&self, party: Option<&Party>, server: &AtServer) -> Result<Option<String>, Fault> {
        let configured = party.and_then(|party| party.revocation_endpoint(server));
        if let Some(known) = configured.or(server.revocation_endpoint.as_deref()) {
            return Ok(Some(known.replace("{client_id}", &server.client.id)));
        }
        match party.and_then(|party| Some((party.issuer(server)?, party.allow_private))) {
            Some((issuer, allow_private)) => self.revocation_endpoint_of(issuer, allow_private).await,
            None => Ok(None),
        }
    }

    async fn is_active(&self, key: &ConnectionKey) -> Result<bool, Fault> {
        Ok(self.row(key).await?.is_some_and(|row| row.state == ConnectionState::Active))
    }
}

fn ends_everything(revocation: Revocation) -> bool {
    matches!(revocation, Revocation::GitHub | Revocation::Token)
}

fn request(endpoint: &str, server: &AtServer, tokens: &Tokens, quirks: &Quirks) -> Result<Request<Bytes>, http::Error> {
    let access_token = tokens.access_token.as_str();
    let mut form = Serializer::new(String::new());
    let post = start(Request::post(endpoint), quirks);
    match quirks.revocation {
        Revocation::Rfc7009 | Revocation::Token => {
            // RFC 7009 §2.1: with the refresh token the access tokens end.
            let (token, hint) = match &tokens.refresh_token {
                Some(refresh_token) => (refresh_token.as_str(), "refresh_token"),
                None => (access_token, "access_token"),
            };
            form.append_pair("token", token);
            let mut post = post.header(CONTENT_TYPE, FORM);
            if quirks.revocation == Revocation::Rfc7009 {
                form.append_pair("token_type_hint", hint);
                post = authenticated(post, &server.client, &mut form)?;
            }
            post.body(Bytes::from(form.finish()))
        }
        Revocation::Json => {
            form.append_pair("token", access_token);
            let post = authenticated(post.header(CONTENT_TYPE, JSON), &server.client, &mut form)?;
            post.body(Bytes::from(json_of(&form.finish())))
        }
        Revocation::GitHub => {
            let secret = server.client.secret.as_deref().unwrap_or_default();
            let body = serde_json::json!({ "access_token": access_token }).to_string();
            start(Request::delete(endpoint), quirks)
                .header(CONTENT_TYPE, JSON)
                .header(AUTHORIZATION, basic::credentials(&server.client.id, secret)?)
                .body(Bytes::from(body))
        }
        Revocation::Bearer => post.header(AUTHORIZATION, format!("Bearer {access_token}")).body(Bytes::new()),
    }
}

fn judge(fetched: &Fetched, revocation: Revocation) -> Farewell {
    let members = members(fetched).unwrap_or_default();
    let error = members.get("error").and_then(Value::as_str);
    let gone = error.is_some_and(|code| GONE.contains(&code))
        || (revocation == Revocation::GitHub && fetched.status == StatusCode::NOT_FOUND);
    let refused = members.get("ok").and_then(Value::as_bool) == Some(false);
    match error {
        _ if gone => Farewell::Accepted,
        None if fetched.status.is_success() && !refused => Farewell::Accepted,
        Some(code) => Farewell::Refused(format!("the provider answered {} ({})", fetched.status, printable(code, 60))),
        None => Farewell::Refused(format!("the provider answered {}", fetched.status)),
    }
}

//! The way back from an upstream's consent: state, session, `iss`, and the exchange of the code.

use super::advice;
use super::authorize::flow_id;
use super::party::Party;
use super::sealed::{Pending, Tokens};
use super::token_endpoint::{self, Granted, TokenError, printable};
use super::{CallbackQuery, ConnectError, Connections};
use crate::error::{Culprit, Fault};
use crate::ids::Digest;
use crate::oauth::scope::Scopes;
use crate::store::ConnectionState;
use std::sync::Arc;

/// The error codes that are repeated to the person (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6, RFC 8707 §2).
const KNOWN_ERRORS: [&str; 12] = [
    "invalid_request",
    "unauthorized_client",
    "access_denied",
    "unsupported_response_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "invalid_target",
    "interaction_required",
    "login_required",
    "consent_required",
    "account_selection_required",
];

/// Those of them that say nothing about what was asked for.
const TROUBLE: [&str; 2] = ["server_error", "temporarily_unavailable"];

/// Those that another registration may mend: scopes that are asked for now may be others than those of a client that
/// registered some time ago.
const OF_THE_CLIENT: [&str; 2] = ["invalid_scope", "unauthorized_client"];

impl Connections {
    /// Completes what [`Connections::begin`] began; the path to go on to.
    ///
    /// # Errors
    /// When the answer is not for this browser, is too late, was tampered with, or the upstream refuses.
    pub async fn finish(self: &Arc<Self>, session: &Digest, query: CallbackQuery) -> Result<String, ConnectError> {
        let pending = self.arrive(session, &self.redirect_uri(), &query).await?;
        Ok(pending.return_to.clone())
    }

    /// Takes an answer that came to this redirect URI. What it was the answer to.
    pub(super) async fn arrive(
        &self,
        session: &Digest,
        redirect_uri: &str,
        query: &CallbackQuery,
    ) -> Result<Pending, ConnectError> {
        let pending = self.claim(session, query.state.as_deref()).await?;
        let outcome = self.complete(&pending, redirect_uri, query).await;
        if let Some(key) = pending.key() {
            let trouble = query.error.as_deref().is_none_or(|error| TROUBLE.contains(&error));
            let settled = outcome.as_ref().map_or_else(|error| error.step == "authorization" && !trouble, |()| true);
            self.step_up_answered(&key, settled).await;
        }
        outcome.map_err(|error| error.on_the_way_to(&pending.return_to))?;
        Ok(pending)
    }

    /// The flow of a `state`, for the browser that began it and once only.
    async fn claim(&self, session: &Digest, state: Option<&str>) -> Result<Pending, ConnectError> {
        let step = |fault| ConnectError::at("callback", fault);
        let store_failed = |error| ConnectError::at("store", error);
        let gone = "This sign-in was completed already, or took longer than ten minutes. Please begin again.";
        let gone = || step(Fault::caller(gone));
        let id = flow_id(state.ok_or_else(|| step(Fault::caller("The answer has no state parameter.")))?);
        let now = self.clock.now();
        let flow = self.store.flow(&id, now).await.map_err(store_failed)?.ok_or_else(gone)?;
        // Looked at before it is taken: another browser must not be able to end this one's flow (security case A 4).
        if !flow.session.matches(session) {
            let text =
                "This sign-in was begun in another browser or by another person. Please begin again in this one.";
            return Err(step(Fault::caller(text)));
        }
        let flow = self.store.take_flow(&id, now).await.map_err(store_failed)?.ok_or_else(gone)?;
        self.open_pending(&id, &flow.data).map_err(step)
    }

    async fn complete(&self, pending: &Pending, redirect_uri: &str, query: &CallbackQuery) -> Result<(), ConnectError> {
        let step = |fault| ConnectError::at("callback", fault);
        // Each server answers to an address of its own, so that none can pass for another (RFC 9700 §4.4.2.2).
        if pending.server.redirect_uri != redirect_uri {
            let text = "The answer came to another address than the one that was asked for. Please begin again.";
            return Err(step(Fault::caller(text)));
        }
        let key = pending.key().ok_or_else(|| step(Fault::gateway("a flow is damaged")))?;
        let party = self.party(&key.target);
        let party =
            party.ok_or_else(|| step(Fault::caller("this gateway does not connect to that server any longer")))?;
        check_issuer(pending, query.iss.as_deref(), &party.name).map_err(step)?;
        if let Some(error) = &query.error {
            if OF_THE_CLIENT.contains(&error.as_str()) {
                self.register_anew(pending, &party).await;
            }
            return Err(refused(&party, pending, error, query.error_description.as_deref()));
        }
        let code = query.code.as_deref().filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| {
            let text = format!("{} sent you back without an authorization code. Please try again.", party.name);
            step(Fault::upstream(text.clone(), text))
        })?;
        let mut parameters =
            vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", &pending.server.redirect_uri)];
        if party.quirks_at(&pending.server).pkce {
            parameters.push(("code_verifier", &pending.verifier));
        }
        let answer = token_endpoint::request(&self.http, &pending.server, &party, &parameters).await;
        let granted = match answer {
            Ok(granted) => granted,
            Err(error) => return Err(self.exchange_failed(pending, &party, error).await),
        };
        self.keep(pending, &key, &granted).await.map_err(|fault| ConnectError::at("store", fault))
    }

    async fn keep(&self, pending: &Pending, key: &super::ConnectionKey, granted: &Granted) -> Result<(), Fault> {
        let tokens = Tokens {
            access_token: granted.access_token.to_string(),
            refresh_token: granted.refresh_token.as_ref().map(|token| token.to_string()),
            server: Some(pending.server.clone()),
            asked: pending.scope.clone(),
            replaced_rejected_at: None,
            previous_refresh_token: None,
        };
        let scope = granted.scope.as_deref().unwrap_or(&pending.scope);
        let scope = Scopes::lenient(scope.split(' ')).to_string();
        let mut row = self.new_row(key, ConnectionState::Active, &tokens, scope)?;
        row.expires_at = granted.expires_in.map(|life| row.updated_at.after(life));
        let id = self.store.put_connection(&row).await?;
        self.forget(id);
        self.refreshes.recovered(id);
        self.news.tell(key.user);
        Ok(())
    }

    /// The next flow begins with another client, unless an administrator chose this one.
    async fn register_anew(&self, pending: &Pending, party: &Party) {
        let server = &pending.server;
        if !party.configured(server)
            && let Err(fault) = self.drop_client(&server.issuer, &server.client.id).await
        {
            tracing::error!(%fault, "a registration that is of no use any longer cannot be dropped");
        }
    }

    async fn exchange_failed(&self, pending: &Pending, party: &Party, error: TokenError) -> ConnectError {
        let fault = match error {
            TokenError::Trouble { fault, .. } => fault,
            TokenError::Refused { code, description } => {
                let name = &party.name;
                let unknown = advice::is_about_our_client(&code);
                if unknown {
                    self.register_anew(pending, party).await;
                }
                let public = match advice::on(party, &pending.server, &code) {
                    Some(advice) => advice,
                    None if unknown => format!("{name} does not know this gateway any longer. Please try again."),
                    None => format!("{name} did not accept its own authorization code. Please try again."),
                };
                Fault::upstream(public, format_args!("code exchange at {}: {code}: {description}", pending.authority))
            }
        };
        ConnectError::at("token", fault)
    }
}

/// RFC 9207 §2.4, before anything in the answer is believed: promised means required, present means equal, compared as a
/// plain string.
fn check_issuer(pending: &Pending, iss: Option<&str>, name: &str) -> Result<(), Fault> {
    let why = match (iss, &pending.expected_iss) {
        (None, _) if pending.iss_promised => "iss is missing although it was promised",
        (Some(iss), Some(expected)) if iss != expected => "iss is another issuer",
        _ => return Ok(()),
    };
    Err(Fault {
        culprit: Culprit::Upstream,
        public: format!(
            "The answer does not come from the authorization server of {name} that you were sent to. It was thrown away; \
             please begin again."
        )
        .into(),
        private: format!("callback for {}: {why}", pending.authority),
    })
}

fn refused(party: &Party, pending: &Pending, error: &str, description: Option<&str>) -> ConnectError {
    let name = &party.name;
    let private = format!("{name}: {}: {}", printable(error, 60), printable(description.unwrap_or_default(), 300));
    let denied = error == "access_denied";
    let public = match (advice::on(party, &pending.server, error), KNOWN_ERRORS.iter().find(|known| **known == error)) {
        _ if denied => format!("You did not give Portcullis access to {name}."),
        (Some(advice), _) => advice,
        (None, Some(known)) => format!("{name} refused the authorization ({known})."),
        (None, None) => format!("{name} refused the authorization."),
    };
    ConnectError { denied, ..ConnectError::at("authorization", Fault::upstream(public, private)) }
}

//! Signing in with a passkey.

use super::Dashboard;
use super::failure::{Failure, local_path};
use crate::csrf;
use crate::factors::PasskeyError;
use crate::request::Arrival;
use crate::session::Means;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

const FOR_PASSWORDS: &str = "A passkey belongs to a password, and your account has none here. Sign in another way.";
const REFUSED: &str = "That passkey is not known here, or it took too long. Try again, or sign in another way.";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ChallengeForm {
    pub(super) csrf_token: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PasskeyForm {
    credential: String,
    return_to: String,
    csrf_token: String,
}

/// `POST /login/passkey/challenge`: for the script of the page.
pub(super) async fn challenge(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<ChallengeForm>,
) -> Result<Response, Failure> {
    let visitor = dashboard.sessions.visitor(&headers);
    csrf::check(&dashboard.site, &headers, &visitor.csrf_token, Some(&sent.csrf_token))?;
    // Every challenge is a row of the database.
    dashboard.limits.check_nameless_login(arrival.client)?;
    Ok(json(dashboard.factors.passkey_request(visitor.browser).await?))
}

/// `POST /login/passkey`
pub(super) async fn sign_in(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<PasskeyForm>,
) -> Result<Response, Failure> {
    let visitor = dashboard.sessions.visitor(&headers);
    csrf::check(&dashboard.site, &headers, &visitor.csrf_token, Some(&sent.csrf_token))?;
    dashboard.limits.check_nameless_login(arrival.client)?;
    let return_to = local_path(&sent.return_to);
    match dashboard.factors.check_passkey(visitor.browser, &sent.credential).await {
        // Whoever signs in at a provider is asked there each time whether the rules still let them in.
        Ok(user) if !dashboard.passwords || user.password_hash.is_none() => {
            dashboard.audit.record(&user.name, "login.failed", "passkey: no password", Some(arrival.client));
            Ok(dashboard.login_page(visitor, StatusCode::FORBIDDEN, Some(FOR_PASSWORDS), "", return_to))
        }
        Ok(user) => {
            // A password that was shown before needs no code any more.
            dashboard.take_pending(&visitor).await?;
            dashboard.admit(&arrival, &headers, &user, Means::Passkey, return_to).await
        }
        Err(PasskeyError::Refused(why)) => {
            dashboard.audit.record("", "login.failed", &format!("passkey: {why}"), Some(arrival.client));
            Ok(dashboard.login_page(visitor, StatusCode::UNAUTHORIZED, Some(REFUSED), "", return_to))
        }
        Err(PasskeyError::Failed(fault)) => Err(fault.into()),
    }
}

/// For our own script, and nobody's memory.
pub(super) fn json(value: Value) -> Response {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(value)).into_response()
}

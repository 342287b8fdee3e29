//! The token endpoint (OAuth 2.1 §3.2) and revocation (RFC 7009).

use super::state::{Client, Grant, Shared, State as Tables};
use super::{Misbehaviour, held_back};
use crate::oauth::error::{Code, OauthError};
use crate::oauth::scope::Scopes;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

type Refused = (Code, &'static str);

/// Exchanges a code or a refresh token.
pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Response {
    shared.remember("token", pairs.clone());
    shared.state.lock().counters.token_requests += 1;
    if shared.misbehaves(Misbehaviour::TokenStalls) {
        held_back(&shared, Misbehaviour::TokenStalls, shared.stop.clone()).await;
    }
    if shared.misbehaves(Misbehaviour::TokenServerError) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "something broke").into_response();
    }
    if shared.misbehaves(Misbehaviour::TokenGarbage) {
        return ([(header::CONTENT_TYPE, "application/json")], "<html>not what you wanted").into_response();
    }
    let form: HashMap<String, String> = pairs.into_iter().collect();
    match exchange(&shared, &headers, &form) {
        Ok(answer) => (NO_STORE, axum::Json(answer)).into_response(),
        Err((code, why)) => error(code, why),
    }
}

/// Revokes a token: an access token alone, a refresh token with its family. Unknown ones are fine (RFC 7009 §2.2).
pub(super) async fn revoke(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Response {
    shared.remember("revoke", pairs.clone());
    let form: HashMap<String, String> = pairs.into_iter().collect();
    let mut state = shared.state.lock();
    state.counters.revocations += 1;
    let client_id = match authenticate(&state, &headers, &form) {
        Ok(client_id) => client_id,
        Err((code, why)) => return error(code, why),
    };
    let token = form.get("token").map(String::as_str).unwrap_or_default();
    if state.access.get(token).is_some_and(|access| access.grant.client_id == client_id) {
        state.access.remove(token);
    }
    let family = state.refresh.get(token).filter(|refresh| refresh.grant.client_id == client_id);
    if let Some(family) = family.map(|refresh| refresh.grant.family) {
        state.end_family(family);
    }
    (StatusCode::OK, NO_STORE).into_response()
}

/// An error of the token or registration endpoint (RFC 6749 §5.2).
pub(super) fn error(code: Code, why: &'static str) -> Response {
    let status = if code == Code::InvalidClient { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    (status, NO_STORE, axum::Json(OauthError::new(code, why))).into_response()
}

fn exchange(
    shared: &Shared,
    headers: &HeaderMap,
    form: &HashMap<String, String>,
) -> Result<serde_json::Value, Refused> {
    let mut state = shared.state.lock();
    let client_id = authenticate(&state, headers, form)?;
    let grant = match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => redeem(shared, &mut state, &client_id, form)?,
        Some("refresh_token") => {
            let renewed = renew(shared, &mut state, &client_id, form);
            if matches!(renewed, Err((Code::InvalidGrant, _))) {
                state.counters.refused_refreshes += 1;
            }
            renewed?
        }
        _ => return Err((Code::UnsupportedGrantType, "authorization_code and refresh_token are known")),
    };
    let (access, life) = shared.access_token(&mut state, &grant);
    let mut answer = json!({
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": life.as_secs(),
        "scope": grant.scope,
    });
    if !shared.misbehaves(Misbehaviour::WithoutRefreshTokens) {
        answer["refresh_token"] = json!(shared.refresh_token(&mut state, &grant));
    }
    Ok(answer)
}

/// A code works once, for its client, its redirect URI, its resource and its verifier; a second time ends what the
/// first was exchanged for (OAuth 2.1 §4.1.3).
fn redeem(
    shared: &Shared,
    state: &mut Tables,
    client_id: &str,
    form: &HashMap<String, String>,
) -> Result<Grant, Refused> {
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let unknown = (Code::InvalidGrant, "the code is unknown or has expired");
    let code = state.codes.get(get("code")).cloned().ok_or(unknown)?;
    if let Some(family) = code.used {
        state.counters.replays += 1;
        state.end_family(family);
        return Err((Code::InvalidGrant, "the code was used before"));
    }
    if code.expires <= shared.clock.now() || code.request.client_id != client_id {
        return Err(unknown);
    }
    if code.request.redirect_uri != get("redirect_uri") {
        return Err((Code::InvalidGrant, "redirect_uri is not the one of the authorization request"));
    }
    if !code.request.challenge.is_answered_by(get("code_verifier")) {
        return Err((Code::InvalidGrant, "code_verifier does not fit"));
    }
    if code.request.resource != get("resource") {
        return Err((Code::InvalidTarget, "resource is not the one of the authorization request"));
    }
    let family = state.new_family();
    if let Some(kept) = state.codes.get_mut(get("code")) {
        kept.used = Some(family);
    }
    state.counters.code_exchanges += 1;
    Ok(Grant {
        client_id: client_id.to_owned(),
        user: code.user,
        scope: code.request.scope,
        resource: code.request.resource,
        family,
    })
}

/// The presented refresh token dies at once; a dead one that comes again ends the family.
fn renew(
    shared: &Shared,
    state: &mut Tables,
    client_id: &str,
    form: &HashMap<String, String>,
) -> Result<Grant, Refused> {
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if shared.misbehaves(Misbehaviour::RefreshRefused) {
        return Err((Code::InvalidGrant, "the refresh token is not valid any more"));
    }
    let refresh = state
        .refresh
        .get_mut(get("refresh_token"))
        .filter(|refresh| refresh.grant.client_id == client_id)
        .ok_or((Code::InvalidGrant, "the refresh token is unknown"))?;
    let grant = refresh.grant.clone();
    if refresh.spent {
        state.counters.replays += 1;
        state.end_family(grant.family);
        return Err((Code::InvalidGrant, "the refresh token was used before"));
    }
    if grant.resource != get("resource") {
        return Err((Code::InvalidTarget, "resource is not the one of the grant"));
    }
    let asked = Scopes::lenient([get("scope")]);
    if !asked.is_subset(&Scopes::lenient([grant.scope.as_str()])) {
        return Err((Code::InvalidScope, "more scope than was granted"));
    }
    refresh.spent = true;
    state.counters.refreshes += 1;
    Ok(grant)
}

/// The client by `client_secret_basic`, `client_secret_post` or, when it is a public one, by its id alone.
fn authenticate(state: &Tables, headers: &HeaderMap, form: &HashMap<String, String>) -> Result<String, Refused> {
    let failed = (Code::InvalidClient, "client authentication failed");
    let (id, secret) = match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let (id, secret) = value.to_str().ok().and_then(basic).ok_or(failed)?;
            (id, Some(secret))
        }
        None => (form.get("client_id").cloned().unwrap_or_default(), form.get("client_secret").cloned()),
    };
    let known = match (state.clients.get(&id), &secret) {
        (Some(Client { secret: Some(expected), .. }), Some(given)) => {
            subtle::ConstantTimeEq::ct_eq(expected.as_bytes(), given.as_bytes()).into()
        }
        (Some(Client { secret: None, .. }), None) => true,
        _ => false,
    };
    if known { Ok(id) } else { Err(failed) }
}

/// `client_id:client_secret`, each form-encoded before (RFC 6749 §2.3.1).
fn basic(value: &str) -> Option<(String, String)> {
    let encoded = value.strip_prefix("Basic ")?;
    let text = String::from_utf8(BASE64.decode(encoded.trim().as_bytes()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        url::form_urlencoded::parse(part.replace('=', "%3D").as_bytes()).next().map(|(name, _)| name.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}

//! The authorization endpoint (OAuth 2.1 §4.1.1): the person's page, and the way back to the client.

use super::state::{Pending, Shared};
use super::{Misbehaviour, SCOPES, page};
use crate::oauth::error::Code;
use crate::oauth::pkce::Challenge;
use crate::oauth::scope::Scopes;
use axum::extract::{Form, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::sync::Arc;

/// Shows the consent page, or sends the browser back with an error; without a known client and redirect URI the
/// browser goes nowhere.
pub(super) async fn ask(State(shared): State<Arc<Shared>>, Query(pairs): Query<Vec<(String, String)>>) -> Response {
    shared.remember("authorize", pairs.clone());
    let query: HashMap<String, String> = pairs.into_iter().collect();
    let get = |name: &str| query.get(name).map(String::as_str);
    let client = shared.state.lock().clients.get(get("client_id").unwrap_or_default()).cloned();
    let (Some(client), Some(redirect_uri)) = (client, get("redirect_uri")) else {
        return page::refusal("This program is not registered with Demo Notes.");
    };
    if !client.redirect_uris.iter().any(|uri| uri == redirect_uri) {
        return page::refusal("The program asks to be sent to an address that it has not registered.");
    }
    match check(&shared, &query, redirect_uri) {
        Err((code, why)) => {
            let parameters = [("error", code.as_str()), ("error_description", why)];
            back(&shared, redirect_uri, get("state"), &parameters)
        }
        Ok(request) => {
            let id = shared.random.token().to_string();
            let html = page::consent(&shared, &id, &client.name, &request);
            let mut state = shared.state.lock();
            state.counters.authorizations += 1;
            state.pending.insert(id, request);
            html
        }
    }
}

/// Takes the person's decision.
pub(super) async fn decide(State(shared): State<Arc<Shared>>, Form(form): Form<HashMap<String, String>>) -> Response {
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let request = shared.state.lock().pending.remove(get("request"));
    let Some(request) = request.filter(|request| request.expires > shared.clock.now()) else {
        return page::refusal(
            "This page has been used already, or was open for too long. Start again from the program.",
        );
    };
    let (uri, state) = (request.redirect_uri.clone(), request.state.clone());
    let user = get("user").trim();
    if get("decision") != "approve" || user.is_empty() {
        return back(&shared, &uri, state.as_deref(), &[("error", Code::AccessDenied.as_str())]);
    }
    let code = shared.code_for(request, user.to_owned());
    back(&shared, &uri, state.as_deref(), &[("code", &code)])
}

fn check(
    shared: &Shared,
    query: &HashMap<String, String>,
    redirect_uri: &str,
) -> Result<Pending, (Code, &'static str)> {
    let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    if get("response_type") != "code" {
        return Err((Code::UnsupportedResponseType, "response_type must be code"));
    }
    if get("code_challenge_method") != "S256" {
        return Err((Code::InvalidRequest, "PKCE with code_challenge_method S256 is required"));
    }
    let challenge =
        Challenge::parse(get("code_challenge")).ok_or((Code::InvalidRequest, "code_challenge is not an S256 one"))?;
    if !shared.state.lock().knows_resource(get("resource")) {
        return Err((Code::InvalidTarget, "resource is required, and must be a resource that takes our tokens"));
    }
    let asked = Scopes::parse(get("scope")).map_err(|_| (Code::InvalidScope, "scope has an illegal character"))?;
    if !asked.is_subset(&Scopes::lenient(SCOPES)) {
        return Err((Code::InvalidScope, "a scope is unknown"));
    }
    Ok(Pending {
        client_id: get("client_id").to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        state: query.get("state").cloned(),
        scope: if asked.is_empty() || shared.misbehaves(Misbehaviour::WithheldScope) {
            SCOPES[0].to_owned()
        } else {
            asked.to_string()
        },
        resource: get("resource").to_owned(),
        challenge,
        expires: shared.pending_until(),
    })
}

fn back(shared: &Shared, redirect_uri: &str, state: Option<&str>, parameters: &[(&str, &str)]) -> Response {
    let Ok(mut url) = url::Url::parse(redirect_uri) else {
        return page::refusal("The program's address is not one.");
    };
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(parameters);
        if let Some(state) = state {
            query.append_pair("state", state);
        }
        if shared.misbehaves(Misbehaviour::IssWrong) {
            query.append_pair("iss", "https://issuer.invalid");
        } else if !shared.misbehaves(Misbehaviour::IssMissing) {
            query.append_pair("iss", &shared.issuer());
        }
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, url.to_string()), (header::CACHE_CONTROL, "no-store".to_owned())])
        .into_response()
}

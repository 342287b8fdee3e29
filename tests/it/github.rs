//! A server with the shape of GitHub: the pages and endpoints that a sign-in needs, answering as GitHub's documentation of
//! OAuth apps and of the REST API says, its errors included, and worse when told to.

use crate::upstreams::anywhere;
use axum::extract::{Form, Path, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use portcullis::config::{Allowed, GitHubLogin};
use portcullis::devkit::Running;
use portcullis::oauth::pkce::Challenge;
use portcullis::secret::Secret;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

pub const CLIENT_ID: &str = "Iv1.test";
pub const CLIENT_SECRET: &str = "hunter2-of-the-app";

/// The server; it ends with this value.
pub struct GitHub {
    running: Running,
    state: Shared,
}

type Shared = Arc<Mutex<World>>;
type Answer = Result<Response, Response>;
type Fields = HashMap<String, String>;

/// Everything that it knows.
#[derive(Default)]
pub struct World {
    /// Who sits before the browser.
    pub signed_in: u64,
    pub people: HashMap<u64, Person>,
    pub trouble: Trouble,
    /// The callback URL of the app.
    pub callback: String,
    /// Paths of the API that were asked for.
    pub asked: Vec<String>,
    codes: HashMap<String, (u64, String, String)>,
    tokens: HashMap<String, (u64, String)>,
}

#[derive(Clone, Default)]
pub struct Person {
    pub login: String,
    /// Address, primary, verified.
    pub emails: Vec<(&'static str, bool, bool)>,
    pub organizations: HashMap<&'static str, Membership>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    Active,
    Pending,
    SingleSignOn,
    Restricted,
}

/// What is wrong with it today.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Trouble {
    #[default]
    None,
    /// Every code has expired.
    Codes,
    /// Every token was revoked.
    Tokens,
    /// The primary rate limit is used up.
    RateLimit,
    /// The secondary rate limit.
    TooFast,
    /// 502 with a page.
    Unicorn,
    /// 200 with something that is not JSON.
    Nonsense,
    /// A code is exchanged for nothing.
    NoToken,
}

impl GitHub {
    pub async fn start() -> Self {
        let state = Shared::default();
        let shared = state.clone();
        let running = Running::start(anywhere(), move |_, _| routes(shared)).await.unwrap();
        Self { running, state }
    }

    /// How a gateway is configured for it, with nobody let in yet.
    pub fn settings(&self) -> GitHubLogin {
        GitHubLogin {
            client_id: CLIENT_ID.to_owned(),
            client_secret: Secret::new(CLIENT_SECRET.to_owned()),
            allowed_users: Allowed::These(Vec::new()),
            allowed_orgs: Vec::new(),
            admin_users: Vec::new(),
            url: self.running.origin(),
            api_url: format!("{}/api/v3", self.running.origin()),
            allow_private: true,
        }
    }

    pub fn origin(&self) -> String {
        self.running.origin()
    }

    pub fn change(&self, edit: impl FnOnce(&mut World)) {
        edit(&mut self.state.lock().unwrap());
    }

    /// Adds somebody, who then sits before the browser.
    pub fn person(&self, id: u64, login: &str) {
        self.change(|world| {
            world.people.entry(id).or_default().login = login.to_owned();
            world.signed_in = id;
        });
    }

    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

fn routes(state: Shared) -> Router {
    Router::new()
        .route("/login/oauth/authorize", get(ask_person).post(answer_of_person))
        .route("/login/oauth/access_token", post(access_token))
        .route("/api/v3/user", get(user))
        .route("/api/v3/user/emails", get(emails))
        .route("/api/v3/user/memberships/orgs/{org}", get(membership))
        .with_state(state)
}

async fn ask_person(State(state): State<Shared>, Query(query): Query<Fields>) -> Answer {
    let callback = check_request(&state, &query)?;
    let fields: String =
        query.iter().map(|(name, value)| format!("<input type=hidden name=\"{name}\" value=\"{value}\">")).collect();
    let page = format!(
        "<title>Authorize application</title><form method=post action=\"/login/oauth/authorize\">{fields}
         <button name=decision value=approve>Authorize</button><button name=decision value=deny>Cancel</button></form>
         <p>You will be sent to {callback}</p>"
    );
    Ok(Html(page).into_response())
}

async fn answer_of_person(State(state): State<Shared>, Form(form): Form<Fields>) -> Answer {
    let callback = check_request(&state, &form)?;
    let mut back = url::Url::parse(&callback).unwrap();
    if form["decision"] == "deny" {
        back.query_pairs_mut()
            .append_pair("error", "access_denied")
            .append_pair("error_description", "The user has denied your application access.")
            .append_pair("error_uri", "https://docs.github.com/apps/troubleshooting-authorization-request-errors")
            .append_pair("state", &form["state"]);
        return Ok(Redirect::to(back.as_str()).into_response());
    }
    let mut world = state.lock().unwrap();
    let code = format!("code{}", world.codes.len());
    let departure = (world.signed_in, form["code_challenge"].clone(), form["scope"].clone());
    world.codes.insert(code.clone(), departure);
    back.query_pairs_mut().append_pair("code", &code).append_pair("state", &form["state"]);
    Ok(Redirect::to(back.as_str()).into_response())
}

/// "Redirect URLs": the host, and a path below the registered one; otherwise the registered one gets the error.
#[allow(clippy::result_large_err)] // what a handler answers with
fn check_request(state: &Shared, query: &Fields) -> Result<String, Response> {
    let registered = state.lock().unwrap().callback.clone();
    if query.get("client_id").map(String::as_str) != Some(CLIENT_ID) {
        return Err((StatusCode::NOT_FOUND, "404").into_response());
    }
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(query["code_challenge"].len(), 43);
    let asked = query.get("redirect_uri").cloned().unwrap_or_else(|| registered.clone());
    if asked.starts_with(&registered) {
        return Ok(asked);
    }
    let mut back = url::Url::parse(&registered).unwrap();
    back.query_pairs_mut()
        .append_pair("error", "redirect_uri_mismatch")
        .append_pair(
            "error_description",
            "The redirect_uri MUST match the registered callback URL for this application.",
        )
        .append_pair("state", &query["state"]);
    Err(Redirect::to(back.as_str()).into_response())
}

/// "Users are redirected back to your site": errors come with status 200.
async fn access_token(State(state): State<Shared>, headers: HeaderMap, Form(form): Form<Fields>) -> Response {
    assert_eq!(headers[header::ACCEPT], "application/json", "otherwise the answer is form-encoded");
    let error = |error: &str, description: &str| {
        let uri =
            "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors";
        Json(json!({"error": error, "error_description": description, "error_uri": uri})).into_response()
    };
    let mut world = state.lock().unwrap();
    match world.trouble {
        Trouble::Unicorn => return unicorn(),
        Trouble::Nonsense => return Html("<h1>Hello</h1>").into_response(),
        Trouble::NoToken => return Json(json!({"token_type": "bearer", "scope": ""})).into_response(),
        _ => {}
    }
    if form["client_id"] != CLIENT_ID || form["client_secret"] != CLIENT_SECRET {
        return error("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.");
    }
    let known = world.codes.remove(&form["code"]).filter(|_| world.trouble != Trouble::Codes);
    let known = known.filter(|(_, challenge, _)| Challenge::of(&form["code_verifier"]).as_str() == challenge);
    let Some((person, _, scope)) = known else {
        return error("bad_verification_code", "The code passed is incorrect or expired.");
    };
    let token = format!("gho_{}", world.tokens.len());
    let scope = scope.replace(' ', ",");
    world.tokens.insert(token.clone(), (person, scope.clone()));
    Json(json!({"access_token": token, "scope": scope, "token_type": "bearer"})).into_response()
}

async fn user(State(state): State<Shared>, headers: HeaderMap) -> Answer {
    let (id, person, _) = bearer(&state, &headers, "/user")?;
    Ok(Json(json!({"login": person.login, "id": id, "node_id": "MDQ6VXNlcjE=", "type": "User", "name": null,
        "email": "public@evil.example"}))
    .into_response())
}

async fn emails(State(state): State<Shared>, headers: HeaderMap) -> Answer {
    let (_, person, scope) = bearer(&state, &headers, "/user/emails")?;
    if !scope.split(',').any(|scope| scope == "user:email") {
        return Err(problem(StatusCode::NOT_FOUND, "Not Found"));
    }
    let address = |(email, primary, verified): &(&str, bool, bool)| json!({"email": email, "primary": primary, "verified": verified, "visibility": "private"});
    Ok(Json(person.emails.iter().map(address).collect::<Vec<_>>()).into_response())
}

async fn membership(State(state): State<Shared>, headers: HeaderMap, Path(organization): Path<String>) -> Answer {
    let path = format!("/user/memberships/orgs/{organization}");
    let (_, person, scope) = bearer(&state, &headers, &path)?;
    if !scope.split(',').any(|scope| scope == "read:org") {
        let text = "You need at least read:org scope to get your organization memberships.";
        return Err(problem(StatusCode::FORBIDDEN, text));
    }
    let name = organization.to_ascii_lowercase();
    let state = match person.organizations.get(name.as_str()) {
        Some(Membership::Active) => "active",
        Some(Membership::Pending) => "pending",
        Some(Membership::SingleSignOn) => {
            let mut refused = problem(
                StatusCode::FORBIDDEN,
                "Resource protected by organization SAML enforcement. You must grant your OAuth token access to this organization.",
            );
            let url = format!("required; url=https://github.com/orgs/{name}/sso?authorization_request=A");
            refused.headers_mut().insert("x-github-sso", url.parse().unwrap());
            return Err(refused);
        }
        Some(Membership::Restricted) => {
            let text = "Although you appear to have the correct authorization credentials, the organization has enabled \
                        OAuth App access restrictions.";
            return Err(problem(StatusCode::FORBIDDEN, text));
        }
        None => return Err(problem(StatusCode::NOT_FOUND, "Not Found")),
    };
    let organization = json!({"login": name.to_uppercase(), "id": 7});
    Ok(Json(json!({"state": state, "role": "member", "organization": organization, "user": {"login": person.login}}))
        .into_response())
}

/// Whose token it is and what it may do.
#[allow(clippy::result_large_err)] // what a handler answers with
fn bearer(state: &Shared, headers: &HeaderMap, path: &str) -> Result<(u64, Person, String), Response> {
    let mut world = state.lock().unwrap();
    world.asked.push(path.to_owned());
    assert!(headers.contains_key(header::USER_AGENT), "the API refuses requests without it");
    assert_eq!(headers[header::ACCEPT], "application/vnd.github+json");
    match world.trouble {
        Trouble::Unicorn => return Err(unicorn()),
        Trouble::Nonsense => return Err(Html("<h1>Hello</h1>").into_response()),
        Trouble::RateLimit => {
            let mut limited = problem(StatusCode::FORBIDDEN, "API rate limit exceeded for user ID 1.");
            limited.headers_mut().insert("x-ratelimit-remaining", "0".parse().unwrap());
            limited.headers_mut().insert("x-ratelimit-reset", "1893456000".parse().unwrap());
            return Err(limited);
        }
        Trouble::TooFast => {
            let mut limited = problem(StatusCode::FORBIDDEN, "You have exceeded a secondary rate limit.");
            limited.headers_mut().insert("retry-after", "60".parse().unwrap());
            return Err(limited);
        }
        _ => {}
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let known = token.and_then(|token| world.tokens.get(token)).filter(|_| world.trouble != Trouble::Tokens);
    let (id, scope) = known.cloned().ok_or_else(|| problem(StatusCode::UNAUTHORIZED, "Bad credentials"))?;
    Ok((id, world.people[&id].clone(), scope))
}

fn problem(status: StatusCode, message: &str) -> Response {
    let body: Value = json!({"message": message, "documentation_url": "https://docs.github.com/rest",
        "status": status.as_u16().to_string()});
    (status, Json(body)).into_response()
}

fn unicorn() -> Response {
    (StatusCode::BAD_GATEWAY, Html("<title>Unicorn! \u{b7} GitHub</title>")).into_response()
}

//! Connecting an upstream from the dashboard, and the address to which every upstream's authorization server answers.

use super::Dashboard;
use super::failure::{Failure, local_path, message, see_other};
use super::sent::Deciding;
use super::start::address::{self, label_of};
use crate::connect::{Begin, CallbackQuery, ConnectError, ConnectionKey, Request};
use crate::hostname::{Account, UpstreamAddress};
use crate::oauth::scope::Scopes;
use crate::page::{self, ApprovalPage, MessagePage, Place};
use crate::session::SignedIn;
use crate::store::{Role, UpstreamRequest};
use crate::upstream::{Standing, Upstream};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use std::sync::Arc;

/// The path of our client ID metadata document; with the root's origin it is our `client_id` at upstreams.
const CLIENT_METADATA: &str = "/oauth/client-metadata.json";
/// When a provider in trouble is asked again, in seconds (DESIGN 1.7).
const PROVIDER_RETRY: HeaderValue = HeaderValue::from_static("15");

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct StartQuery {
    server: String,
    account: String,
    renew: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ApprovalForm {
    csrf_token: String,
    decision: String,
}

/// `GET /oauth/start`
pub(super) async fn start(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(query): Query<StartQuery>,
) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, &query.address()).await?;
    let goal = match dashboard.goal(&query.server, &query.account) {
        Ok(goal) => goal,
        Err(answer) => return Ok(answer),
    };
    if goal.upstream.standing == Standing::AwaitingApproval {
        dashboard.remember_wish(&person, &goal, &headers).await?;
        return Ok(approval_page(&person, &goal, &query));
    }
    if !dashboard.registry.permits(person.user.id, &goal.upstream.authority).await? {
        return Ok(not_permitted(&person, &goal));
    }
    dashboard.limits.check_user_upstream(person.user.id, &goal.upstream.authority)?;
    dashboard.connect(&person, goal, query.renew).await
}

/// `POST /oauth/start`: an administrator's answer to the approval page.
pub(super) async fn approve_and_start(
    State(dashboard): State<Arc<Dashboard>>,
    Query(query): Query<StartQuery>,
    Deciding(sent): Deciding<ApprovalForm>,
) -> Result<Response, Failure> {
    let goal = match dashboard.goal(&query.server, &query.account) {
        Ok(goal) => goal,
        Err(answer) => return Ok(answer),
    };
    if sent.form.decision != "approve" {
        return Ok(see_other(Place::Servers.address()));
    }
    dashboard.approve(&sent.actor(), goal.upstream.authority.clone()).await?;
    Ok(see_other(&query.address()))
}

/// `GET /oauth/callback`
pub(super) async fn callback(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    query: Result<Query<CallbackQuery>, QueryRejection>,
) -> Result<Response, Failure> {
    let Ok(Query(query)) = query else {
        let (title, text) = ("That answer cannot be read", "The server's answer is malformed.");
        return Ok(message(StatusCode::BAD_REQUEST, title, text, Some("Begin again from your client.")));
    };
    let Some(person) = dashboard.sessions.find(&headers).await? else {
        let (title, text) = ("Nobody is signed in here", "This answer belongs to a browser that is signed in.");
        let hint = Some("Finish in the browser in which you began, or begin again from your client.");
        return Ok(message(StatusCode::BAD_REQUEST, title, text, hint));
    };
    Ok(match dashboard.connections.finish(&person.session, query).await {
        Ok(return_to) => see_other(local_path(&return_to)),
        Err(error) => failed(&error),
    })
}

/// `GET /oauth/client-metadata.json`: who we are, for authorization servers that read client ID metadata documents.
pub(super) async fn client_metadata(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let root = dashboard.site.root_origin();
    let document = serde_json::json!({
        "client_id": format!("{root}{CLIENT_METADATA}"),
        "client_name": "Portcullis",
        "client_uri": root,
        "redirect_uris": [format!("{root}/oauth/callback")],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "web",
    });
    let headers = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (header::CACHE_CONTROL, "public, max-age=3600")];
    (headers, Json(document)).into_response()
}

impl StartQuery {
    /// The address of this very request.
    fn address(&self) -> String {
        address::start_address(&self.server, &self.account, self.renew)
    }
}

/// What the person wants to be connected with.
pub(super) struct Goal {
    pub(super) upstream: Arc<Upstream>,
    pub(super) account: Option<Account>,
    pub(super) path: Option<String>,
}

impl Dashboard {
    /// Finds the upstream; otherwise the page that says why there is none.
    #[allow(clippy::result_large_err)] // the answer is returned at once
    pub(super) fn goal(&self, server: &str, account: &str) -> Result<Goal, Response> {
        let refuse = |status, text: String| message(status, "That server cannot be connected", &text, None);
        let bad = |error: String| refuse(StatusCode::BAD_REQUEST, format!("The request is not right: {error}."));
        let UpstreamAddress { authority, path } =
            address::parse(server, "", &self.site).map_err(|error| bad(error.to_string()))?;
        let account = Some(account).filter(|account| !account.is_empty());
        let account = account.map(Account::parse).transpose().map_err(|error| bad(error.to_string()))?;
        let upstream = self.upstream(&authority).ok_or_else(|| {
            refuse(StatusCode::NOT_FOUND, "This gateway does not let anybody use that server.".to_owned())
        })?;
        let path = Some(path).filter(|path| path != "/").or_else(|| upstream.path.clone());
        Ok(Goal { upstream, account, path })
    }

    /// Administrators see in their queue who waits for them; they themselves do not wait.
    async fn remember_wish(&self, person: &SignedIn, goal: &Goal, headers: &HeaderMap) -> Result<(), Failure> {
        // A link elsewhere is nobody's wish.
        let by_hand = headers.get_all("sec-fetch-site").iter().all(|it| it == "same-origin" || it == "none");
        if person.user.role == Role::Administrator || !by_hand {
            return Ok(());
        }
        let (authority, asked_at) = (goal.upstream.authority.to_string(), self.clock.now());
        let wish = UpstreamRequest { authority, user: person.user.id, client: String::new(), asked_at };
        Ok(self.store.request_upstream(&wish).await?)
    }

    async fn connect(&self, person: &SignedIn, goal: Goal, renew: bool) -> Result<Response, Failure> {
        let authority = goal.upstream.authority.clone();
        let key = ConnectionKey::upstream(person.user.id, authority, goal.account);
        let request = Request {
            key: &key,
            path: goal.path.as_deref(),
            scopes: &Scopes::default(),
            session: person.session,
            return_to: Place::Connections.address(),
            renew,
        };
        Ok(match self.connections.begin(request).await {
            Ok(Begin::Connected) => self.done(person, Place::Connections.address(), "Connected."),
            Ok(Begin::Redirect(address)) => see_other(&address),
            Err(error) => failed(&error),
        })
    }
}

fn approval_page(person: &SignedIn, goal: &Goal, query: &StartQuery) -> Response {
    let domain = goal.upstream.authority.as_str();
    if person.user.role != Role::Administrator {
        let text = format!("An administrator has to approve {domain} before anybody here can use it.");
        return message(
            StatusCode::FORBIDDEN,
            "This server is not approved yet",
            &text,
            Some("Ask one, then try again."),
        );
    }
    page::approval(&ApprovalPage {
        domain,
        label: &label_of(goal.upstream.authority.clone(), goal.account.clone()).to_string(),
        client_name: "",
        redirect_host: "",
        user: &person.user.name,
        action: &query.address(),
        flow: "",
        csrf_token: &person.csrf_token,
    })
}

pub(super) fn not_permitted(person: &SignedIn, goal: &Goal) -> Response {
    let text =
        format!("You are signed in as {}, and {} is not for everybody here.", person.user.name, goal.upstream.name);
    let hint = Some("Ask an administrator to permit it to you or to one of your groups, then try again.");
    message(StatusCode::FORBIDDEN, "You may not use this server", &text, hint)
}

/// A failed connection, with the way on: a client that waits for the outcome learns it.
fn failed(error: &ConnectError) -> Response {
    tracing::warn!(step = error.step, denied = error.denied, fault = %error.fault, "connecting an upstream failed");
    let authorization = error.return_to.as_deref().filter(|path| path.starts_with("/authorize"));
    if let Some(path) = authorization.filter(|_| error.denied) {
        return see_other(&format!("{path}&cancel=denied"));
    }
    let cancel = authorization.map(|path| format!("{path}&cancel=failed"));
    let title = if error.denied { "You did not give access" } else { "The server could not be connected" };
    let hint = format!("It happened at this step: {}.", error.step);
    let way_on = error.return_to.as_deref().map_or("/", local_path);
    let mut actions = vec![("Go to the start page", "/")];
    if let Some(cancel) = &cancel {
        actions.insert(0, ("Give up and return to the client", cancel));
    }
    if way_on != "/" {
        actions.insert(0, ("Try again", way_on));
    }
    let status = error.fault.status();
    let text = &*error.fault.public;
    let mut response = page::message(&MessagePage { status, title, text, hint: Some(&hint), actions });
    if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) {
        response.headers_mut().insert(header::RETRY_AFTER, PROVIDER_RETRY);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn a_provider_in_trouble_is_told_apart_from_a_bad_answer() {
        let error = |fault, return_to: Option<&str>| {
            let return_to = return_to.map(str::to_owned);
            failed(&ConnectError { fault, step: "token request", return_to, denied: false })
        };
        let trouble = error(Fault::upstream("the server's authorization server failed", "503"), Some("/authorize?x"));
        assert_eq!(trouble.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(trouble.headers()[header::RETRY_AFTER], "15");
        let bad = error(Fault::caller("the answer is too old"), Some("//evil.example"));
        assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
        assert!(!bad.headers().contains_key(header::RETRY_AFTER));
    }

    #[test]
    fn the_address_of_a_start_leads_back_to_it() {
        let query = StartQuery { server: "mcp.example/a&b".to_owned(), account: "work".to_owned(), renew: true };
        assert_eq!(query.address(), "/oauth/start?server=mcp.example%2Fa%26b&account=work&renew=true");
    }
}

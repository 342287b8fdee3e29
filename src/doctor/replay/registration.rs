//! How the client gets a `client_id`: with its metadata document, or by registering (RFC 7591). What was registered for this is
//! deleted again (RFC 7592).

use super::super::answer::{Answer, Trouble, seconds};
use super::super::check::{Check, Verdict};
use super::Walk;
use super::server::Announced;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{Method, Request};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// Who the client is at the authorization server.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: Option<String>,
    /// Where it is deleted, and with which token.
    manage: Option<(String, String)>,
}

/// RFC 7591 §3.2.1, RFC 7592 §3.
#[derive(Deserialize)]
struct Registered {
    client_id: String,
    client_secret: Option<String>,
    registration_client_uri: Option<String>,
    registration_access_token: Option<String>,
}

impl Walk<'_> {
    pub(super) async fn register(&mut self, server: &Announced) -> Option<Client> {
        let documents = server.metadata.client_id_metadata_document_supported;
        let document = self
            .rules
            .registration
            .document
            .as_ref()
            .filter(|document| documents && document.needs.iter().all(|need| server.methods.contains(need)));
        if let Some(document) = document {
            let id = document.url.replace("{gateway}", &self.place.gateway);
            self.found(Check::Registration, Verdict::Holds(format!("none needed: it names its document, {id}")));
            self.found(Check::RegistrationTime, Verdict::Moot("there is nothing to wait for".to_owned()));
            return Some(Client { id, secret: None, manage: None });
        }
        let endpoint = server.metadata.registration_endpoint.as_deref().and_then(|text| Url::parse(text).ok());
        let Some((endpoint, members)) = endpoint.zip(self.rules.registration.dynamic.as_ref()) else {
            self.found(Check::Registration, Verdict::broken("none", "no registration_endpoint"));
            return None;
        };
        if !self.place.is_gateway() && !self.tools.register {
            let seen = format!("not tried at {endpoint}: --register does, and leaves a client there");
            self.found(Check::Registration, Verdict::Moot(seen));
            return None;
        }
        let body = Value::Object(members.clone()).to_string().replace("{gateway}", &self.place.gateway);
        let request = Request::post(endpoint.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, &self.rules.discovery.user_agent)
            .body(Bytes::from(body));
        let outcome = match request {
            Ok(request) => self.ask(request, self.rules.limits.registration()).await,
            Err(error) => Err(Trouble::Failed(error.to_string())),
        };
        self.registered(&endpoint, outcome)
    }

    fn registered(&mut self, endpoint: &Url, outcome: Result<Answer, Trouble>) -> Option<Client> {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(trouble @ Trouble::Slow(_)) => {
                self.found(Check::RegistrationTime, Verdict::broken("", trouble.seen()));
                return None;
            }
            Err(trouble) => {
                self.found(Check::Registration, Verdict::broken("unreachable", trouble.seen()));
                return None;
            }
        };
        let registered = answer.json::<Registered>().filter(|_| answer.status.is_success());
        let Some(registered) = registered else {
            self.found(Check::Registration, refusal(&answer));
            return None;
        };
        let seen = format!(
            "{}, client_id {}",
            answer.status.as_u16(),
            super::super::answer::printable(&registered.client_id, 80)
        );
        self.found(Check::Registration, Verdict::Holds(seen));
        self.found(Check::RegistrationTime, Verdict::Holds(seconds(answer.took)));
        let manage = registered.registration_client_uri.zip(registered.registration_access_token);
        // A stranger does not say where our DELETE goes.
        let own = |uri: &str| Url::parse(uri).is_ok_and(|uri| uri.origin() == endpoint.origin());
        let manage = manage.filter(|(uri, _)| own(uri));
        Some(Client { id: registered.client_id, secret: registered.client_secret, manage })
    }

    /// Nothing stays behind.
    pub(super) async fn unregister(&mut self, client: Client) {
        let Some((uri, token)) = client.manage else { return };
        let request = Request::builder().method(Method::DELETE).uri(uri);
        let request = request.header(AUTHORIZATION, format!("Bearer {token}")).body(Bytes::new());
        if let Ok(request) = request
            && let Err(trouble) = self.tools.ask(request, Duration::from_secs(5)).await
        {
            tracing::warn!(client = client.id, why = trouble.seen(), "the client of this examination was not deleted");
        }
    }
}

/// Which kind of refusal an answer is.
fn refusal(answer: &Answer) -> Verdict {
    let Some((error, description)) = answer.oauth_error() else {
        let cause = match answer.status.as_u16() {
            400 | 422 => "no-json",
            _ => answer.cause(),
        };
        return Verdict::broken(cause, answer.seen());
    };
    let words = description.to_ascii_lowercase();
    let about_redirects = error == "invalid_redirect_uri" || words.contains("redirect");
    let cause = match answer.status.as_u16() {
        _ if about_redirects => "redirect-uri",
        429 => "limited",
        401 | 403 => "forbidden",
        500.. => "server-error",
        _ => "refused",
    };
    Verdict::broken(cause, answer.seen())
}

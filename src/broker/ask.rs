//! What a program asks for, as JSON or as a form; and, where there is no body, in the query.

use super::refusal::Refusal;
use crate::oauth::scope::Scopes;
use crate::store::{Store, User};
use axum::extract::{FromRequest, Query, Request};
use axum::response::IntoResponse;
use axum::{Form, Json};
use http::{Method, StatusCode, header};
use serde::Deserialize;

/// The parameters. `service` and `provider` mean the same, `return_to` and `redirect_uri` as well; an empty one counts as
/// absent, and unknown ones are ignored (RFC 6749 §3.2).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    #[serde(alias = "provider")]
    service: Option<String>,
    user_id: Option<String>,
    user_email: Option<String>,
    scope: Option<String>,
    #[serde(alias = "redirect_uri")]
    return_to: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for Ask {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let read = match kind.as_str() {
            "application/json" => {
                Json::from_request(request, state).await.map(|Json(ask)| ask).map_err(IntoResponse::into_response)
            }
            "application/x-www-form-urlencoded" => {
                Form::from_request(request, state).await.map(|Form(ask)| ask).map_err(IntoResponse::into_response)
            }
            "" if request.method() == Method::DELETE => {
                Query::try_from_uri(request.uri()).map(|Query(ask)| ask).map_err(IntoResponse::into_response)
            }
            _ => {
                let how = "send the parameters as JSON with Content-Type: application/json, or as a form";
                return Err(Refusal::bad_request(how));
            }
        };
        read.map_err(|unread| match unread.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::bad_request("the body is too large"),
            _ => Refusal::bad_request(
                "the parameters cannot be read: each is a text, and given once (service and provider are the same)",
            ),
        })
    }
}

impl Ask {
    /// The service, where the address does not name it.
    pub(super) fn service(&self) -> Result<&str, Refusal> {
        given(&self.service).ok_or_else(|| Refusal::bad_request("the parameter service (or provider) is missing"))
    }

    /// The scopes without which a token is of no use; none for whatever was granted.
    pub(super) fn scopes(&self) -> Result<Scopes, Refusal> {
        let scopes = Scopes::parse(given(&self.scope).unwrap_or_default());
        scopes.map_err(|_| Refusal::bad_request("scope is a list of scopes, separated by spaces"))
    }

    /// Where the person wants to go on afterwards.
    pub(super) fn return_to(&self) -> Option<&str> {
        given(&self.return_to)
    }

    /// The person: the one with this name, or the only one with this address. The inner error says that there is no such
    /// person, which is not everybody's to know.
    pub(super) async fn who(&self, store: &Store) -> Result<Result<User, Refusal>, Refusal> {
        let found = match (given(&self.user_id), given(&self.user_email)) {
            (Some(name), None) => store.user_by_name(name).await?,
            (None, Some(email)) => {
                let mut holders = store.users_with_email(email).await?;
                if holders.len() > 1 {
                    let ambiguous = "more than one person has that e-mail address here: give user_id instead";
                    return Ok(Err(Refusal::bad_request(ambiguous)));
                }
                holders.pop()
            }
            (None, None) => return Err(Refusal::bad_request("the parameter user_id (or user_email) is missing")),
            (Some(_), Some(_)) => return Err(Refusal::bad_request("give user_id or user_email, not both")),
        };
        Ok(found.ok_or_else(Refusal::unknown_user))
    }
}

fn given(parameter: &Option<String>) -> Option<&str> {
    parameter.as_deref().filter(|text| !text.is_empty())
}

//! `/users/{id}/sessions` and `/users/{id}/factors`: what lets a person in.

use super::answer::{Done, Found, Listed};
use super::door::Administrator;
use super::extract::{Path, Query};
use super::problem::Problem;
use crate::administration::records::{FactorsReset, Session, SignOut, SignedOut};

/// List a person's signed-in browsers
#[utoipa::path(get, path = "/users/{id}/sessions", operation_id = "list_sessions", tag = "users")]
pub(super) async fn list(admin: Administrator, Path(id): Path<String>) -> Result<Listed<Session>, Problem> {
    Ok(Listed(admin.may().sessions_of(&id).await?))
}

/// Sign a person out everywhere
#[utoipa::path(delete, path = "/users/{id}/sessions", operation_id = "sign_out_user", tag = "users", params(SignOut))]
pub(super) async fn sign_out(
    admin: Administrator,
    Path(id): Path<String>,
    Query(wanted): Query<SignOut>,
) -> Result<Found<SignedOut>, Problem> {
    Ok(Found(admin.may().sign_out_everywhere(admin.actor(), &id, wanted.clients).await?))
}

/// Sign one browser of a person out
#[utoipa::path(delete, path = "/users/{id}/sessions/{session_id}", operation_id = "end_session", tag = "users")]
pub(super) async fn end(admin: Administrator, Path((id, session_id)): Path<(String, String)>) -> Result<Done, Problem> {
    admin.may().end_session(admin.actor(), &id, &session_id).await?;
    Ok(Done)
}

/// Take a person's second factors away
///
/// Authenticator app, passkeys and recovery codes. The person is signed out.
#[utoipa::path(delete, path = "/users/{id}/factors", operation_id = "reset_factors", tag = "users")]
pub(super) async fn reset_factors(
    admin: Administrator,
    Path(id): Path<String>,
) -> Result<Found<FactorsReset>, Problem> {
    Ok(Found(admin.may().reset_factors(admin.actor(), &id).await?))
}

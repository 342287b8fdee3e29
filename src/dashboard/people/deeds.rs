//! What administrators do to a person without being asked whether they are sure.

use super::address_of;
use crate::administration::Refused;
use crate::administration::records::{Role, User, UserChange};
use crate::dashboard::Dashboard;
use crate::dashboard::failure::Failure;
use crate::dashboard::sent::{Deciding, Sent};
use crate::page::counted;
use crate::secret::Secret;
use crate::session::SignedIn;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

const OWN: &str = "This is your own account: change how you sign in on the page of your account.";

/// Any form about a person; each deed looks at its own field.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct PersonForm {
    id: String,
    group: String,
    email: String,
    password: Secret,
}

impl Default for PersonForm {
    fn default() -> Self {
        let empty = String::new;
        Self { id: empty(), group: empty(), email: empty(), password: Secret::new(empty()) }
    }
}

type Dashboards = State<Arc<Dashboard>>;

/// `POST /people/{id}/enable`
pub(super) async fn enable(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, &address_of(&id))?;
    let change = UserChange { disabled: Some(false), ..UserChange::default() };
    let changed = dashboard.administration.change_user(&sent.actor(), &id, &change).await;
    dashboard.told(&sent.person, &id, changed.map(|user| format!("{} may sign in again.", user.name))).await
}

/// `POST /people/{id}/promote`
pub(super) async fn promote(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, &address_of(&id))?;
    let change = UserChange { role: Some(Role::Administrator), ..UserChange::default() };
    let changed = dashboard.administration.change_user(&sent.actor(), &id, &change).await;
    dashboard.told(&sent.person, &id, changed.map(|user| format!("{} administers this gateway now.", user.name))).await
}

/// `POST /people/{id}/email`
pub(super) async fn email(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    let change = UserChange { email: Some(sent.form.email.trim().to_owned()), ..UserChange::default() };
    let changed = dashboard.administration.change_user(&sent.actor(), &id, &change).await;
    dashboard.told(&sent.person, &id, changed.map(|_| "Saved.".to_owned())).await
}

/// `POST /people/{id}/password`
pub(super) async fn password(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    let Some(user) = dashboard.somebody_else(&sent, &id).await? else {
        return dashboard.refuse_own(&sent.person, &id).await;
    };
    let sessions = dashboard.person_extent(&user).await?.sessions;
    let done = dashboard.administration.set_password(&sent.actor(), &id, &sent.form.password).await;
    let notice = format!("{} has a new password; {} ended.", user.name, counted(sessions, "session"));
    dashboard.told(&sent.person, &id, done.map(|()| notice)).await
}

/// `POST /people/{id}/passkeys/remove`
pub(super) async fn remove_passkey(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    if dashboard.somebody_else(&sent, &id).await?.is_none() {
        return dashboard.refuse_own(&sent.person, &id).await;
    }
    let done = dashboard.administration.remove_passkey(&sent.actor(), &id, &sent.form.id).await;
    dashboard.told(&sent.person, &id, done.map(|name| format!("The passkey {name} is removed."))).await
}

/// `POST /people/{id}/groups/join`
pub(super) async fn join(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    let group = sent.form.group.trim();
    let done = dashboard.administration.join(&sent.actor(), &id, group).await;
    dashboard.told(&sent.person, &id, done.map(|user| format!("{} is in {group} now.", user.name))).await
}

/// `POST /people/{id}/groups/leave`
pub(super) async fn leave(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    let before = dashboard.streams_of(&id).await?;
    let done = dashboard.administration.leave(&sent.actor(), &id, &sent.form.group).await;
    let ended = before.saturating_sub(dashboard.streams_of(&id).await?);
    let notice = |user: User| format!("{} is out of {}; {} ended.", user.name, sent.form.group, streams(ended));
    dashboard.told(&sent.person, &id, done.map(notice)).await
}

/// `POST /people/{id}/sessions/end`
pub(super) async fn end_session(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    let done = dashboard.administration.end_session(&sent.actor(), &id, &sent.form.id).await;
    dashboard.told(&sent.person, &id, done.map(|()| "That browser is signed out.".to_owned())).await
}

/// `POST /people/{id}/connections/disconnect`
pub(super) async fn disconnect(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    let before = dashboard.streams_of(&id).await?;
    let done = dashboard.administration.delete_connection(&sent.actor(), &sent.form.id).await;
    let ended = before.saturating_sub(dashboard.streams_of(&id).await?);
    dashboard.told(&sent.person, &id, done.map(|()| format!("Disconnected; {} ended.", streams(ended)))).await
}

/// `POST /people/{id}/grants/revoke`
pub(super) async fn revoke(
    State(dashboard): Dashboards,
    Path(id): Path<String>,
    Deciding(sent): Deciding<PersonForm>,
) -> Result<Response, Failure> {
    let before = dashboard.streams_of(&id).await?;
    let done = dashboard.administration.revoke_grant(&sent.actor(), &sent.form.id).await;
    let ended = before.saturating_sub(dashboard.streams_of(&id).await?);
    dashboard.told(&sent.person, &id, done.map(|()| format!("Revoked; {} ended.", streams(ended)))).await
}

pub(super) fn streams(ended: u64) -> String {
    counted(i64::try_from(ended).unwrap_or(i64::MAX), "open stream")
}

impl Dashboard {
    /// On to the person's page with what was done, or the page again with why it was not.
    async fn told(&self, person: &SignedIn, id: &str, outcome: Result<String, Refused>) -> Result<Response, Failure> {
        match outcome {
            Ok(notice) => Ok(self.done(person, &address_of(id), &notice)),
            Err(refused) => self.person_refused(person, id, refused).await,
        }
    }

    /// The person whose sign-in is to be changed; nobody when that is who sent it.
    async fn somebody_else(&self, sent: &Sent<PersonForm>, id: &str) -> Result<Option<User>, Failure> {
        self.must_be_recent(&sent.person, &address_of(id))?;
        let user = self.administration.user(id).await?;
        Ok(Some(user).filter(|user| user.id != sent.person.user.id.to_string()))
    }

    /// One's own sign-in is changed where the present password is asked for.
    async fn refuse_own(&self, person: &SignedIn, id: &str) -> Result<Response, Failure> {
        self.person_page(person, id, (StatusCode::CONFLICT, Some(OWN)), &Default::default()).await
    }

    /// How many streams a person has open.
    pub(super) async fn streams_of(&self, id: &str) -> Result<u64, Failure> {
        let user = self.administration.user(id).await?;
        Ok(self.person_extent(&user).await?.streams)
    }
}

//! `/people`: who may sign in, and with what.

mod deeds;
mod one;
mod sure;

use super::failure::{Failure, said};
use super::{Dashboard, rows};
use crate::administration::PageRequest;
use crate::administration::records::{NewUser, Role, User};
use crate::dashboard::sent::Deciding;
use crate::page::{self, Moment, PeoplePage, PersonRow, Place};
use crate::secret::Secret;
use crate::session::SignedIn;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

/// So many rows on one page.
const SHOWN: u32 = 50;
/// So many groups of each person in the list.
const GROUPS: usize = 3;

/// `/people` and below.
pub(super) fn routes() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/people", get(show).post(add))
        .route("/people/{id}", get(one::show))
        .route("/people/{id}/sure/{deed}", get(sure::ask).post(sure::go))
        .route("/people/{id}/enable", post(deeds::enable))
        .route("/people/{id}/promote", post(deeds::promote))
        .route("/people/{id}/email", post(deeds::email))
        .route("/people/{id}/password", post(deeds::password))
        .route("/people/{id}/groups/join", post(deeds::join))
        .route("/people/{id}/groups/leave", post(deeds::leave))
        .route("/people/{id}/passkeys/remove", post(deeds::remove_passkey))
        .route("/people/{id}/sessions/end", post(deeds::end_session))
        .route("/people/{id}/connections/disconnect", post(deeds::disconnect))
        .route("/people/{id}/grants/revoke", post(deeds::revoke))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListQuery {
    name: String,
    after: Option<String>,
}

/// `GET /people`
async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(query): Query<ListQuery>,
) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, Place::People.address()).await?;
    dashboard.people_page(&person, &query, (StatusCode::OK, None, ("", ""))).await
}

#[derive(Deserialize)]
#[serde(default)]
struct NewForm {
    name: String,
    email: String,
    password: Secret,
    role: String,
}

impl Default for NewForm {
    fn default() -> Self {
        let empty = String::new;
        Self { name: empty(), email: empty(), password: Secret::new(empty()), role: empty() }
    }
}

/// `POST /people`
async fn add(State(dashboard): State<Arc<Dashboard>>, Deciding(sent): Deciding<NewForm>) -> Result<Response, Failure> {
    dashboard.must_be_recent(&sent.person, Place::People.address())?;
    let actor = sent.actor();
    let role = if sent.form.role == "administrator" { Role::Administrator } else { Role::Member };
    let new = NewUser {
        name: sent.form.name.trim().to_owned(),
        password: Some(sent.form.password).filter(|password| !password.expose().is_empty()),
        role,
        email: Some(sent.form.email.trim().to_owned()).filter(|email| !email.is_empty()),
    };
    match dashboard.administration.create_user(&actor, new).await {
        Ok(user) => Ok(dashboard.done(&sent.person, &address_of(&user.id), "Added.")),
        Err(refused) => {
            let (status, why) = said(refused)?;
            let told = (status, Some(&*why), (&*sent.form.name, &*sent.form.email));
            dashboard.people_page(&sent.person, &ListQuery::default(), told).await
        }
    }
}

/// The page of a person.
fn address_of(id: &str) -> String {
    format!("{}/{id}", Place::People.address())
}

/// What the list tells besides people: its status, why nobody was added, and what was typed.
type Told<'a> = (StatusCode, Option<&'a str>, (&'a str, &'a str));

impl Dashboard {
    async fn people_page(
        &self,
        person: &SignedIn,
        query: &ListQuery,
        (status, error, typed): Told<'_>,
    ) -> Result<Response, Failure> {
        let searched = query.name.trim();
        let page = PageRequest { limit: Some(SHOWN), after: query.after.clone().filter(|after| !after.is_empty()) };
        let found = self.administration.users(Some(searched).filter(|name| !name.is_empty()), &page).await?;
        Ok(page::people(&PeoplePage {
            status,
            account: rows::account(person),
            error,
            searched,
            typed,
            people: found.items.into_iter().map(|user| self.person_row(user)).collect(),
            more: found.next.map(|next| format!("{}?after={next}", Place::People.address())),
        }))
    }

    fn person_row(&self, user: User) -> PersonRow {
        PersonRow {
            address: address_of(&user.id),
            administrator: user.role == Role::Administrator,
            disabled: user.disabled,
            name: user.name,
            email: user.email,
            groups: user.groups.into_iter().take(GROUPS).collect(),
            since: Moment::new(user.created_at.0, self.clock.now()),
        }
    }
}

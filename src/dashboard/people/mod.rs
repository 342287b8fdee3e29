//! `/people`: who may sign in, and with what.

mod deeds;
mod one;
mod sure;

use super::failure::{Failure, said};
use super::{Dashboard, rows};
use crate::administration::records::{NewUser, Role, User};
use crate::administration::{Actor, PageRequest};
use crate::page::{self, Moment, PeoplePage, PersonRow, Place};
use crate::request::Arrival;
use crate::secret::Secret;
use crate::session::SignedIn;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
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
    csrf_token: String,
}

impl Default for NewForm {
    fn default() -> Self {
        let empty = String::new;
        Self { name: empty(), email: empty(), password: Secret::new(empty()), role: empty(), csrf_token: empty() }
    }
}

/// `POST /people`
async fn add(
    State(dashboard): State<Arc<Dashboard>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    Form(sent): Form<NewForm>,
) -> Result<Response, Failure> {
    let person = dashboard.deciding_lately(&headers, &sent.csrf_token, Place::People.address()).await?;
    let role = if sent.role == "administrator" { Role::Administrator } else { Role::Member };
    let new = NewUser {
        name: sent.name.trim().to_owned(),
        password: Some(sent.password).filter(|password| !password.expose().is_empty()),
        role,
        email: Some(sent.email.trim().to_owned()).filter(|email| !email.is_empty()),
    };
    match dashboard.administration.create_user(&Actor::person(&person.user, arrival.client), new).await {
        Ok(user) => Ok(dashboard.done(&person, &address_of(&user.id), "Added.")),
        Err(refused) => {
            let (status, why) = said(refused)?;
            let told = (status, Some(&*why), (&*sent.name, &*sent.email));
            dashboard.people_page(&person, &ListQuery::default(), told).await
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

    /// The signed-in administrator behind a form of ours, who has proved a short while ago who they are: what changes how
    /// somebody signs in, or lets somebody in, must not be at the mercy of whoever sits at a browser that was left alone.
    /// Afterwards the person goes on at `return_to`.
    async fn deciding_lately(
        &self,
        headers: &HeaderMap,
        csrf_token: &str,
        return_to: &str,
    ) -> Result<SignedIn, Failure> {
        let person = self.deciding(headers, csrf_token).await?;
        if self.sessions.is_recent(&person) { Ok(person) } else { Err(Failure::SignInAgain(return_to.to_owned())) }
    }
}

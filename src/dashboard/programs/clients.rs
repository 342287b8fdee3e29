//! `/programs`: OAuth clients, and machines that an administrator makes.

use super::{address, page_after, told, words};
use crate::administration::records::{Client, CreatedClient, MachineGrant, NewClient};
use crate::clock::Timestamp;
use crate::dashboard::failure::Failure;
use crate::dashboard::sent::Deciding;
use crate::dashboard::{Dashboard, rows};
use crate::page::{self, ClientRow, ClientsPage, Moment, NewClientPage, OncePage, Place};
use crate::session::SignedIn;
use axum::extract::{Query, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;

/// How the root domain's realm is written; no label can be this.
const ROOT: &str = "-";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ClientsQuery {
    after: String,
}

/// `GET /programs`
pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    headers: HeaderMap,
    Query(query): Query<ClientsQuery>,
) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, Place::Programs.address()).await?;
    let found = dashboard.administration.clients(&page_after(&query.after)).await?;
    let now = dashboard.clock.now();
    Ok(page::clients(&ClientsPage {
        account: rows::account(&person),
        rows: found.items.into_iter().map(|client| row(client, dashboard.site.domain(), now)).collect(),
        next: found.next.map(|after| address("/programs", &[("after", &after)])),
    }))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ClientForm {
    realm: String,
    id: String,
}

/// `POST /programs/clients/delete`
pub(super) async fn delete(
    State(dashboard): State<Arc<Dashboard>>,
    Deciding(sent): Deciding<ClientForm>,
) -> Result<Response, Failure> {
    let ended = dashboard.administration.delete_client(&sent.actor(), Some(&sent.form.realm), &sent.form.id).await?;
    let notice = match ended {
        0 => "Deleted. Nobody had granted it anything.".to_owned(),
        1 => "Deleted. One grant has ended, with its tokens and its open streams.".to_owned(),
        ended => format!("Deleted. {ended} grants have ended, with their tokens and their open streams."),
    };
    Ok(dashboard.done(&sent.person, Place::Programs.address(), &notice))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NewClientForm {
    name: String,
    user: String,
    upstream: String,
    scopes: String,
    jwks_uri: String,
    client_credentials: Option<String>,
    token_exchange: Option<String>,
    jwt_bearer: Option<String>,
}

/// `GET /programs/clients/new`
pub(super) async fn form(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.administrator(&headers, "/programs/clients/new").await?;
    let empty = NewClientForm { client_credentials: Some("on".to_owned()), ..NewClientForm::default() };
    Ok(show_form(&person, &empty, None))
}

/// `POST /programs/clients/new`: the answer shows the secret, this once.
pub(super) async fn create(
    State(dashboard): State<Arc<Dashboard>>,
    Deciding(sent): Deciding<NewClientForm>,
) -> Result<Response, Failure> {
    let given = |field: &str| Some(field.trim().to_owned()).filter(|field| !field.is_empty());
    let new = NewClient {
        name: sent.form.name.trim().to_owned(),
        user: sent.form.user.trim().to_owned(),
        upstream: given(&sent.form.upstream),
        scopes: words(&sent.form.scopes),
        grant_types: sent.form.grant_types(),
        jwks: None,
        jwks_uri: given(&sent.form.jwks_uri),
    };
    match dashboard.administration.create_client(&sent.actor(), &new).await {
        Ok(made) => Ok(show_made(&sent.person, &made)),
        Err(refused) => Ok(show_form(&sent.person, &sent.form, Some(&told(refused)?))),
    }
}

impl NewClientForm {
    fn grant_types(&self) -> Vec<MachineGrant> {
        let all = [
            (&self.client_credentials, MachineGrant::ClientCredentials),
            (&self.token_exchange, MachineGrant::TokenExchange),
            (&self.jwt_bearer, MachineGrant::JwtBearer),
        ];
        all.into_iter().filter(|(ticked, _)| ticked.is_some()).map(|(_, grant)| grant).collect()
    }
}

fn show_form(person: &SignedIn, form: &NewClientForm, error: Option<&str>) -> Response {
    page::new_client(&NewClientPage {
        account: rows::account(person),
        error,
        name: &form.name,
        user: &form.user,
        upstream: &form.upstream,
        scopes: &form.scopes,
        jwks_uri: &form.jwks_uri,
        grant_types: [&form.client_credentials, &form.token_exchange, &form.jwt_bearer].map(Option::is_some),
    })
}

fn show_made(person: &SignedIn, made: &CreatedClient) -> Response {
    let id = [("client_id", made.id.as_str())];
    let with_secret = made.secret.as_deref().map(|secret| [id[0], ("client_secret", secret)]);
    page::once(&OncePage {
        account: rows::account(person),
        title: "The machine client",
        text: match with_secret {
            Some(_) => "Copy both now: the secret is not shown again. It goes into the program, as HTTP Basic.",
            None => "It signs its requests with its own keys, so it has no secret.",
        },
        values: with_secret.as_ref().map_or(&id[..], |both| &both[..]),
        go_on: Place::Programs.address(),
    })
}

fn row(client: Client, domain: &str, now: Timestamp) -> ClientRow {
    let kind = match &client {
        Client { owner: Some(_), .. } => "Machine",
        Client { created_at: Some(_), .. } => "Registered",
        Client { id, .. } if id.starts_with("https://") => "Metadata document",
        _ => "Not registered",
    };
    let host = if client.realm == ROOT { domain.to_owned() } else { format!("{}.{domain}", client.realm) };
    ClientRow {
        kind,
        host,
        grants_address: address("/programs/grants", &[("client", &client.id)]),
        realm: client.realm,
        id: client.id,
        name: client.name,
        owner: client.owner,
        grants: client.grants,
        created: client.created_at.map(|at| Moment::new(at.0, now)),
        last_used: client.last_used_at.map(|at| Moment::new(at.0, now)),
    }
}

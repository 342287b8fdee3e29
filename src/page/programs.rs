//! Programs that act for people: clients, what was granted to them, API keys, services.

use super::answer::{Frame, page};
use super::parts::Moment;
use super::place::{Account, Place};
use super::plain;
use askama::Template;
use axum::response::Response;
use http::StatusCode;

/// All clients, a page at a time.
pub struct ClientsPage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// In the order of their hostnames.
    pub rows: Vec<ClientRow>,
    /// The address of the next page.
    pub next: Option<String>,
}

/// A client in words. It chose its name and its id.
pub struct ClientRow {
    /// Where it is known: a label, or `-` for the root domain.
    pub realm: String,
    /// The hostname of that.
    pub host: String,
    /// Its `client_id`.
    pub id: String,
    /// What it calls itself.
    pub name: Option<String>,
    /// How it became known.
    pub kind: &'static str,
    /// For whom it acts, of a machine.
    pub owner: Option<String>,
    /// How many grants of its are in force.
    pub grants: i64,
    /// The address of these.
    pub grants_address: String,
    /// When it registered.
    pub created: Option<Moment>,
    /// When it last got a token.
    pub last_used: Option<Moment>,
}

impl ClientRow {
    fn shown_name(&self) -> String {
        plain::name(self.name.as_deref().unwrap_or(&self.id))
    }

    fn shown_id(&self) -> String {
        plain::name(&self.id)
    }
}

/// The form that makes a machine client, as it was filled in.
pub struct NewClientPage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// Why it was not made.
    pub error: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// For whom it acts.
    pub user: &'a str,
    /// Where; empty for the root domain.
    pub upstream: &'a str,
    /// What it may ask for.
    pub scopes: &'a str,
    /// Where its keys are; empty for one with a secret.
    pub jwks_uri: &'a str,
    /// Its own credentials, tokens that it was sent, assertions of an identity provider.
    pub grant_types: [bool; 3],
}

/// Something that was made and is shown this once.
pub struct OncePage<'a> {
    /// Who made it.
    pub account: Account<'a>,
    /// What it is.
    pub title: &'a str,
    /// What to do with it.
    pub text: &'a str,
    /// What is to be copied: its name, and the text.
    pub values: &'a [(&'static str, &'a str)],
    /// Where to go on.
    pub go_on: &'static str,
}

/// What people granted to clients.
pub struct GrantsPage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// Only of this person, by name.
    pub user: &'a str,
    /// Only to this client.
    pub client: &'a str,
    /// Why nothing is found.
    pub error: Option<&'a str>,
    /// The newest first.
    pub rows: Vec<PersonsGrantRow>,
    /// The address of the next page.
    pub next: Option<String>,
}

/// Somebody's grant in words.
pub struct PersonsGrantRow {
    /// Its id.
    pub id: String,
    /// Whose.
    pub user: String,
    /// The client's name as it was shown.
    pub client: String,
    /// For what.
    pub resource: String,
    /// How much.
    pub scopes: Vec<String>,
    /// Since when.
    pub since: Moment,
}

impl PersonsGrantRow {
    fn shown_client(&self) -> String {
        plain::name(&self.client)
    }

    fn shown_scopes(&self) -> impl Iterator<Item = String> {
        self.scopes.iter().map(|scope| plain::name(scope))
    }
}

/// API keys, and the form that makes one as it was filled in.
pub struct KeysPage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// All of them.
    pub rows: Vec<ApiKeyRow>,
    /// Why none was made.
    pub error: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// The broker, introspection, this API.
    pub scopes: [bool; 3],
    /// Whose tokens it may see.
    pub resources: &'a str,
    /// Services of the broker.
    pub services: &'a str,
    /// People at the broker.
    pub users: &'a str,
    /// How long it lives.
    pub expires: &'a str,
}

/// An API key in words.
pub struct ApiKeyRow {
    /// The part before the dot.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub scopes: Vec<&'static str>,
    /// Where that ends: resources, services, people.
    pub bounds: Vec<(&'static str, String)>,
    /// When it was made.
    pub created: Moment,
    /// When it ends.
    pub expires: Option<Moment>,
    /// Whether it has.
    pub expired: bool,
    /// When it was used.
    pub last_used: Option<Moment>,
}

/// Services of the broker.
pub struct ServicesPage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// All of the configuration.
    pub rows: Vec<BrokerServiceRow>,
}

/// A service in words.
pub struct BrokerServiceRow {
    /// In addresses.
    pub name: String,
    /// For people.
    pub label: String,
    /// As it knows us; none for one of personal access tokens alone.
    pub client_id: Option<String>,
    /// What is always asked for.
    pub scopes: Vec<String>,
    /// Whether the configuration has a token for everybody.
    pub has_pat: bool,
}

/// Who has connected a service.
pub struct ServicePage<'a> {
    /// Who looks.
    pub account: Account<'a>,
    /// Why something was not done.
    pub error: Option<&'a str>,
    /// Which.
    pub service: BrokerServiceRow,
    /// Connections.
    pub connections: Vec<ServiceHolderRow>,
    /// The address of the next page of them.
    pub next: Option<String>,
    /// Personal access tokens.
    pub pats: Vec<ServiceHolderRow>,
    /// The address of the next page of them.
    pub next_pats: Option<String>,
}

/// What somebody has at a service.
pub struct ServiceHolderRow {
    /// Whose: the id.
    pub user_id: String,
    /// Whose: the name.
    pub user: String,
    /// `good` or `bad`, and the state; none for a token.
    pub state: Option<(&'static str, &'static str)>,
    /// What was granted.
    pub scopes: Vec<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Since when.
    pub since: Moment,
}

/// Clients.
pub fn clients(page: &ClientsPage<'_>) -> Response {
    self::page(StatusCode::OK, &Clients { frame: Frame::at(Place::Programs, &page.account), page })
}

/// The form that makes a machine client.
pub fn new_client(page: &NewClientPage<'_>) -> Response {
    self::page(status(page.error), &NewClient { frame: Frame::at(Place::Programs, &page.account), page })
}

/// Something that is shown this once.
pub fn once(page: &OncePage<'_>) -> Response {
    self::page(StatusCode::OK, &Once { frame: Frame::at(Place::Programs, &page.account), page })
}

/// Grants.
pub fn grants(page: &GrantsPage<'_>) -> Response {
    self::page(StatusCode::OK, &Grants { frame: Frame::at(Place::Programs, &page.account), page })
}

/// API keys.
pub fn keys(page: &KeysPage<'_>) -> Response {
    self::page(status(page.error), &Keys { frame: Frame::at(Place::Programs, &page.account), page })
}

/// Services.
pub fn services(page: &ServicesPage<'_>) -> Response {
    self::page(StatusCode::OK, &Services { frame: Frame::at(Place::Programs, &page.account), page })
}

/// One service.
pub fn service(page: &ServicePage<'_>) -> Response {
    self::page(status(page.error), &Service { frame: Frame::at(Place::Programs, &page.account), page })
}

fn status(error: Option<&str>) -> StatusCode {
    if error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK }
}

/// The parts of the room: name and address.
const PARTS: [(&str, &str); 4] = [
    ("Clients", "/programs"),
    ("Grants", "/programs/grants"),
    ("API keys", "/programs/keys"),
    ("Services", "/programs/services"),
];

#[derive(Template)]
#[template(path = "programs/clients.html")]
struct Clients<'a> {
    frame: Frame<'a>,
    page: &'a ClientsPage<'a>,
}

#[derive(Template)]
#[template(path = "programs/new_client.html")]
struct NewClient<'a> {
    frame: Frame<'a>,
    page: &'a NewClientPage<'a>,
}

#[derive(Template)]
#[template(path = "programs/once.html")]
struct Once<'a> {
    frame: Frame<'a>,
    page: &'a OncePage<'a>,
}

#[derive(Template)]
#[template(path = "programs/grants.html")]
struct Grants<'a> {
    frame: Frame<'a>,
    page: &'a GrantsPage<'a>,
}

#[derive(Template)]
#[template(path = "programs/keys.html")]
struct Keys<'a> {
    frame: Frame<'a>,
    page: &'a KeysPage<'a>,
}

#[derive(Template)]
#[template(path = "programs/services.html")]
struct Services<'a> {
    frame: Frame<'a>,
    page: &'a ServicesPage<'a>,
}

#[derive(Template)]
#[template(path = "programs/service.html")]
struct Service<'a> {
    frame: Frame<'a>,
    page: &'a ServicePage<'a>,
}

//! `[[service]]`: OAuth providers whose tokens are handed out through the broker. What the administrator does not say, the
//! preset says: it is a table of the same keys.

use super::document::Place;
use super::presets;
use super::quirks;
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use super::service_name::ServiceName;
use super::upstream::{endpoint, printable, scopes};
use crate::oauth::quirks::Quirks;
use crate::oauth::scope::Scopes;
use crate::secret::Secret;
use std::collections::BTreeMap;

/// `[[service]]`
pub struct Service {
    /// In addresses.
    pub name: ServiceName,
    /// For people.
    pub label: String,
    /// Our client there; `None`: personal access tokens are all there is.
    pub client: Option<ServiceClient>,
    /// A personal access token for everybody who has none.
    pub pat: Option<Secret>,
    /// Whether it may be on this machine or in a private network.
    pub allow_private: bool,
}

/// Our client at a service.
pub struct ServiceClient {
    /// What `iss` of an answer must be (RFC 9207), where it is known.
    pub issuer: Option<String>,
    /// Where people consent.
    pub authorization_endpoint: String,
    /// Where codes and refresh tokens go.
    pub token_endpoint: String,
    /// Where authorizations are given back; `None`: nowhere.
    pub revocation_endpoint: Option<String>,
    /// As the provider knows us.
    pub client_id: String,
    /// Its secret; `None`: a public client, which has PKCE alone.
    pub client_secret: Option<Secret>,
    /// What is always asked for.
    pub scopes: Scopes,
    /// What the provider does otherwise.
    pub quirks: Quirks,
}

impl Service {
    /// Whether everything is the same, secrets included.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { name, label, client, pat, allow_private } = self;
        let clients = match (client, &other.client) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        (name, label, allow_private) == (&other.name, &other.label, &other.allow_private)
            && clients
            && super::change::same(pat.as_ref(), other.pat.as_ref())
    }
}

impl ServiceClient {
    fn is_same(&self, other: &Self) -> bool {
        let endpoints = |one: &Self| {
            [Some(&one.authorization_endpoint), Some(&one.token_endpoint), one.revocation_endpoint.as_ref()]
                .map(|endpoint| endpoint.cloned())
        };
        endpoints(self) == endpoints(other)
            && (&self.issuer, &self.client_id, &self.scopes) == (&other.issuer, &other.client_id, &other.scopes)
            && self.quirks == other.quirks
            && super::change::same(self.client_secret.as_ref(), other.client_secret.as_ref())
    }
}

/// Every `[[service]]`, no name twice.
pub(super) fn all(readers: Vec<Reader<'_>>, allow_private: bool, directories: &Directories) -> Vec<Service> {
    let mut seen: BTreeMap<ServiceName, Place> = BTreeMap::new();
    let mut all = Vec::new();
    for reader in readers {
        let (errors, place, key) = (reader.errors, reader.place.clone(), reader.name("name"));
        let Some(service) = read(reader, allow_private, directories) else { continue };
        if let Some(earlier) = seen.insert(service.name.clone(), place.clone()) {
            let why =
                format!("{:?} is the name of the service at {earlier} already: choose another", service.name.as_str());
            errors.add(&place, &key, why);
        }
        all.push(service);
    }
    all
}

/// One service; `None` when it is not known which it is, or when its client is not complete.
fn read(mut reader: Reader<'_>, allow_private: bool, directories: &Directories) -> Option<Service> {
    let place = reader.place.clone();
    let preset = reader.parsed("preset", |text| presets::find(text).map(|keys| (text.to_owned(), keys)));
    let named = reader.has("name");
    let name = match (reader.parsed("name", ServiceName::parse), &preset) {
        (Some(name), _) => Some(name.value),
        (None, Some(Found { value: (preset, _), .. })) if !named => ServiceName::parse(preset).ok(),
        (None, _) => {
            if !named {
                reader.error(&place, "name", "is missing: it stands in addresses, like \"google\"");
            }
            None
        }
    };
    // A preset alone says where to ask for consent, but that takes a client: without one only its name is of use.
    let tokens_only = !reader.has("client_id") && (reader.has("pat") || reader.has("pat_file"));
    if let Some(Found { value: (_, keys), place }) = preset {
        reader.underlay(keys, &place);
    }
    let credential = format!("service.{}", name.as_ref().map_or("", ServiceName::as_str));
    let label = reader.parsed("label", printable).map(|found| found.value);
    let settings = Settings::take(&mut reader, &credential, directories);
    let pat = secrets::take(&mut reader, ("pat", "pat_file"), &format!("{credential}.pat"), directories);
    let allow_private = reader.flag("allow_private").unwrap_or(allow_private);
    let client = if tokens_only { Some(None) } else { settings.client(&reader) };
    reader.finish();
    let name = name?;
    let label = label.unwrap_or_else(|| name.to_string());
    Some(Service { label, name, client: client?, pat: pat.map(|found| found.value), allow_private })
}

/// What a client is made of.
struct Settings {
    issuer: Option<String>,
    authorization_endpoint: Option<Found<String>>,
    token_endpoint: Option<Found<String>>,
    /// The first endpoint that is not given at all.
    missing: Option<&'static str>,
    revocation_endpoint: Option<String>,
    client_id: Option<Found<String>>,
    client_secret: Option<Found<Secret>>,
    scopes: Scopes,
    quirks: Quirks,
}

impl Settings {
    fn take(reader: &mut Reader<'_>, credential: &str, directories: &Directories) -> Self {
        let client_id = reader.parsed("client_id", printable);
        let credential = format!("{credential}.client_secret");
        let client_secret = secrets::take(reader, ("client_secret", "client_secret_file"), &credential, directories);
        let missing = ["authorization_endpoint", "token_endpoint"].into_iter().find(|key| !reader.has(key));
        Self {
            missing,
            issuer: reader.parsed("issuer", endpoint).map(|found| found.value),
            authorization_endpoint: reader.parsed("authorization_endpoint", endpoint),
            token_endpoint: reader.parsed("token_endpoint", endpoint),
            revocation_endpoint: reader.parsed("revocation_endpoint", revocation_endpoint).map(|found| found.value),
            client_id,
            client_secret,
            scopes: Scopes::lenient(scopes(reader).unwrap_or_default().split(' ')),
            // A service is asked for scopes, and no resource is named to it.
            quirks: quirks::read(reader, false),
        }
    }

    /// `Some(None)`: there is none, and none is needed. `None`: it is not complete, which has been reported.
    fn client(self, reader: &Reader<'_>) -> Option<Option<ServiceClient>> {
        let missing = |place: &Place, key: &str, why: &str| reader.error(place, key, format!("is missing: {why}"));
        let anything = [&self.authorization_endpoint, &self.token_endpoint].into_iter().flatten().next();
        let Some(client_id) = self.client_id else {
            if let Some(secret) = &self.client_secret {
                reader.error(&secret.place, "client_secret", "needs client_id beside it");
                return None;
            }
            let Some(_) = anything else { return Some(None) };
            let why = "register a client at the provider and write its id here, or give pat (or pat_file) to use personal \
                       access tokens alone";
            missing(&reader.place, "client_id", why);
            return None;
        };
        if let Some(key) = self.missing {
            missing(&reader.place, key, "name a preset, or give both authorization_endpoint and token_endpoint");
        }
        Some(Some(ServiceClient {
            issuer: self.issuer,
            authorization_endpoint: self.authorization_endpoint?.value,
            token_endpoint: self.token_endpoint?.value,
            revocation_endpoint: self.revocation_endpoint,
            client_id: client_id.value,
            client_secret: self.client_secret.map(|found| found.value),
            scopes: self.scopes,
            quirks: self.quirks,
        }))
    }
}

/// GitHub has the client in the path.
fn revocation_endpoint(text: &str) -> Result<String, String> {
    endpoint(&text.replace("{client_id}", "id")).map(|_| text.to_owned())
}

//! `/auth/{service}`: a person decides whether a service is connected, before the service is asked anything. Whoever opens
//! the address must be who it is for.

use super::Broker;
use super::pages::{self, Stop};
use crate::csrf;
use crate::oauth::scope::Scopes;
use crate::page::{self, ConnectPage};
use crate::request::Arrival;
use crate::services::{Begin, Callback, Service, ServiceClient};
use crate::session::SignedIn;
use crate::store::{LinkCallback, ServiceLink};
use axum::extract::rejection::{FormRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::{Extension, Form};
use http::{HeaderMap, Uri};
use serde::Deserialize;
use std::sync::Arc;
use url::Url;

/// The query: a link alone, or what the signed-in person wants.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Opened {
    link: Option<String>,
    user_id: Option<String>,
    user_email: Option<String>,
    scope: String,
    #[serde(alias = "redirect_uri")]
    return_to: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Decision {
    csrf_token: String,
    decision: String,
}

type Address = (Result<Path<String>, PathRejection>, Result<Query<Opened>, QueryRejection>);

/// `GET /auth/{service}`
pub(super) async fn show(
    State(broker): State<Arc<Broker>>,
    headers: HeaderMap,
    uri: Uri,
    address: Address,
) -> Result<Response, Stop> {
    let guest = broker.receive(&headers, &uri, address).await?;
    Ok(broker.visit(guest).await?.page(&uri))
}

/// `POST /auth/{service}`, sent by the page of the same address.
pub(super) async fn decide(
    State(broker): State<Arc<Broker>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    uri: Uri,
    address: Address,
    sent: Result<Form<Decision>, FormRejection>,
) -> Result<Response, Stop> {
    let guest = broker.receive(&headers, &uri, address).await?;
    let Form(sent) = sent.map_err(|_| Stop::Unreadable)?;
    csrf::check(&broker.site, &headers, &guest.person.csrf_token, Some(&sent.csrf_token))?;
    let visit = broker.visit(guest).await?;
    let (name, label) = (&visit.person.user.name, &visit.service.label);
    if sent.decision != "approve" {
        broker.audit.record(name, "service.declined", visit.service.name.as_str(), Some(arrival.client));
        return Ok(broker.send_on(&visit.return_to, Some("access_denied")).unwrap_or_else(|| pages::declined(label)));
    }
    // Before the link is used up: it must survive a failure of ours.
    let begin = Begin {
        service: &visit.service,
        user: visit.person.user.id,
        scopes: &visit.scopes,
        session: visit.person.session,
        callback: visit.callback(),
        return_to: &visit.return_to,
    };
    let provider = match broker.services.begin(begin).await {
        Ok(provider) => provider,
        Err(error) => return Ok(pages::failed(&error)),
    };
    if let Some((link, _)) = &visit.link
        && !broker.store.use_service_link(&link.id, visit.person.user.id, broker.clock.now()).await?
    {
        return Err(Stop::LinkIsGone);
    }
    Ok(pages::see_other(&provider))
}

/// Somebody who is signed in, at an address whose content nobody has looked at.
struct Guest {
    person: SignedIn,
    service: Arc<Service>,
    opened: Opened,
}

/// A person at the address that is for them.
struct Visit {
    person: SignedIn,
    service: Arc<Service>,
    /// And the name of the key that made it.
    link: Option<(ServiceLink, String)>,
    scopes: Scopes,
    /// Where the person goes on; empty for the page that says so.
    return_to: String,
}

impl Broker {
    async fn receive(&self, headers: &HeaderMap, uri: &Uri, (service, query): Address) -> Result<Guest, Stop> {
        let Ok(Path(service)) = service else { return Err(Stop::UnknownService) };
        let service = self.services.find(&service).ok_or(Stop::UnknownService)?;
        let Ok(Query(opened)) = query else { return Err(Stop::Unreadable) };
        let person = self.sessions.find(headers).await?;
        let person = person.ok_or_else(|| Stop::SignInFirst(address_of(uri)))?;
        Ok(Guest { person, service, opened })
    }

    async fn visit(&self, Guest { person, service, opened }: Guest) -> Result<Visit, Stop> {
        if service.client.is_none() {
            return Err(Stop::NoOAuth(service.label.clone()));
        }
        if let Some(secret) = &opened.link {
            let found = self.find_link(secret, service.name.as_str()).await?.ok_or(Stop::LinkIsGone)?;
            if found.0.user != person.user.id {
                return Err(Stop::SomebodyElse);
            }
            let scopes = Scopes::lenient(found.0.scope.split(' '));
            let return_to = found.0.return_to.clone().unwrap_or_default();
            return Ok(Visit { person, service, link: Some(found), scopes, return_to });
        }
        self.must_be(&person, &opened).await?;
        let scopes = Scopes::parse(&opened.scope).map_err(|_| Stop::Unreadable)?;
        if !opened.return_to.is_empty() && self.destination(&opened.return_to).is_none() {
            return Err(Stop::Destination);
        }
        Ok(Visit { person, service, link: None, scopes, return_to: opened.return_to })
    }

    /// Whether the address names the person who is signed in, or nobody.
    async fn must_be(&self, person: &SignedIn, opened: &Opened) -> Result<(), Stop> {
        let is_name = |name: &String| name.eq_ignore_ascii_case(&person.user.name);
        if !opened.user_id.as_ref().is_none_or(is_name) {
            return Err(Stop::SomebodyElse);
        }
        if let Some(email) = &opened.user_email {
            let holders = self.store.users_with_email(email).await?;
            if !matches!(holders.as_slice(), [one] if one.id == person.user.id) {
                return Err(Stop::SomebodyElse);
            }
        }
        Ok(())
    }
}

impl Visit {
    fn callback(&self) -> Callback {
        match &self.link {
            Some((ServiceLink { callback: LinkCallback::Shared, .. }, _)) => Callback::Shared,
            _ => Callback::OfService,
        }
    }

    fn page(&self, uri: &Uri) -> Response {
        let asked = self.service.client.as_ref().map(|client| client.scopes.union(&self.scopes)).unwrap_or_default();
        page::connect(&ConnectPage {
            service: &self.service.label,
            host: &self.service.client.as_ref().map(host).unwrap_or_default(),
            program: self.link.as_ref().map(|(_, key)| key.as_str()),
            scopes: asked.iter().collect(),
            user: &self.person.user.name,
            return_host: Url::parse(&self.return_to).ok().as_ref().and_then(Url::host_str),
            action: &address_of(uri),
            csrf_token: &self.person.csrf_token,
        })
    }
}

/// Path and query, as they were asked for.
fn address_of(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string)
}

fn host(client: &ServiceClient) -> String {
    let url = Url::parse(&client.authorization_endpoint);
    url.ok().as_ref().and_then(Url::host_str).unwrap_or_default().to_owned()
}

//! The program that asks. Handlers get a person or a service only through a [`Caller`], which only a good key makes.

use super::Broker;
use super::ask::Ask;
use super::refusal::Refusal;
use crate::apikey::{ApiKey, ApiKeyError, ApiScope};
use crate::error::Fault;
use crate::request::Arrival;
use crate::services::Service;
use crate::store::User;
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::net::IpAddr;
use std::sync::Arc;

/// Proof that a program has shown a key for the broker.
#[derive(Debug)]
pub(super) struct Caller {
    key: ApiKey,
    address: IpAddr,
}

/// What a request is about: the key may use this service for this person.
pub(super) struct Subject {
    pub(super) service: Arc<Service>,
    pub(super) user: User,
}

impl FromRequestParts<Arc<Broker>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(head: &mut Parts, broker: &Arc<Broker>) -> Result<Self, Refusal> {
        let arrival = head.extensions.get::<Arrival>();
        let address = arrival.ok_or_else(|| Fault::gateway("a request to the broker has no address"))?.client;
        let refused = match broker.api_keys.authenticate(&head.headers).await {
            Ok(Some(key)) => {
                broker.limits.check_client(&key.id().to_string())?;
                return if key.allows(ApiScope::Broker) {
                    Ok(Self { key, address })
                } else {
                    Err(Refusal::wrong_key())
                };
            }
            Ok(None) => "send an API key in X-API-Key, or as Authorization: Bearer",
            Err(ApiKeyError::Invalid) => {
                "the API key is wrong, revoked or expired: `portcullis apikey create NAME` makes one"
            }
            Err(ApiKeyError::Failed(fault)) => return Err(fault.into()),
        };
        // Whoever has a key is counted by it: one server may ask for many people.
        broker.limits.check_token_endpoint(address)?;
        Err(Refusal::unauthenticated(refused))
    }
}

impl Caller {
    pub(super) fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Notes what the program did.
    pub(super) fn record(&self, broker: &Broker, action: &'static str, subject: &str) {
        broker.audit.record(&self.key.actor(), action, subject, Some(self.address));
    }

    /// What the program asks about.
    ///
    /// # Errors
    /// When there is no such service, or the key may not use it for that person. A key that is limited to some people is
    /// not told who else there is.
    pub(super) async fn subject(&self, broker: &Broker, service: &str, ask: &Ask) -> Result<Subject, Refusal> {
        let service = broker.services.find(service).ok_or_else(Refusal::unknown_service)?;
        if !self.key.may_use(service.name.as_str()) {
            self.record(broker, "service.refused", service.name.as_str());
            return Err(Refusal::denied("this API key may not use that service"));
        }
        let named = ask.who(&broker.store).await?;
        let may = match &named {
            Ok(user) => self.key.may_act_for(user.id),
            Err(_) => self.key.may_act_for_all(),
        };
        if !may {
            self.record(broker, "service.refused", &format!("{} for somebody else", service.name));
            return Err(Refusal::denied("this API key may not act for that person"));
        }
        let user = named?;
        if user.disabled {
            return Err(Refusal::denied("that person may not sign in here at present"));
        }
        Ok(Subject { service, user })
    }
}

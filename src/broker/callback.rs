//! Where a service sends the person back to, bound to the browser that left.

use super::Broker;
use super::pages::{self, Stop};
use crate::request::Arrival;
use crate::services::{CallbackQuery, ServiceName};
use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::HeaderMap;
use std::sync::Arc;

type Answer = Result<Query<CallbackQuery>, QueryRejection>;

/// `GET /callback/{service}`
pub(super) async fn of_service(
    State(broker): State<Arc<Broker>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    service: Result<Path<String>, PathRejection>,
    answer: Answer,
) -> Result<Response, Stop> {
    let service = service.ok().and_then(|Path(name)| broker.services.find(&name)).ok_or(Stop::UnknownService)?;
    broker.come_back(&arrival, &headers, Some(&service.name), answer).await
}

/// `GET /auth/callback`
pub(super) async fn shared(
    State(broker): State<Arc<Broker>>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    answer: Answer,
) -> Result<Response, Stop> {
    broker.come_back(&arrival, &headers, None, answer).await
}

impl Broker {
    async fn come_back(
        &self,
        arrival: &Arrival,
        headers: &HeaderMap,
        at: Option<&ServiceName>,
        answer: Answer,
    ) -> Result<Response, Stop> {
        let Ok(Query(answer)) = answer else { return Err(Stop::Unreadable) };
        let Some(person) = self.sessions.find(headers).await? else { return Ok(pages::nobody_here()) };
        let connected = match self.services.finish(&person.session, at, &answer).await {
            Ok(connected) => connected,
            Err(error) => {
                let return_to = error.return_to.as_deref().unwrap_or_default();
                let told = error.denied.then(|| self.send_on(return_to, Some("access_denied"))).flatten();
                return Ok(told.unwrap_or_else(|| pages::failed(&error)));
            }
        };
        let name = connected.service.as_str();
        self.audit.record(&person.user.name, "service.connected", name, Some(arrival.client));
        let label = self.services.find(name).map_or_else(|| name.to_owned(), |service| service.label.clone());
        Ok(self.send_on(&connected.return_to, None).unwrap_or_else(|| pages::connected(&label)))
    }
}

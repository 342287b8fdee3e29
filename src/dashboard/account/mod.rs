//! `/account`: what a person may know and change about the own account.

pub(super) mod identities;
pub(super) mod members;
pub(super) mod passkeys;
pub(super) mod password;
pub(super) mod services;
pub(super) mod sessions;
pub(super) mod totp;

use super::failure::Failure;
use super::{Dashboard, rows};
use crate::page::{self, AccountPage};
use crate::session::SignedIn;
use crate::store::Role;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Its address.
pub(super) const ACCOUNT: &str = "/account";

/// `GET /account`
pub(super) async fn show(State(dashboard): State<Arc<Dashboard>>, headers: HeaderMap) -> Result<Response, Failure> {
    let person = dashboard.person(&headers, ACCOUNT).await?;
    dashboard.account_page(&person, StatusCode::OK, None).await
}

impl Dashboard {
    /// The page of a person's account, with a notice about what was asked for last.
    async fn account_page(
        &self,
        person: &SignedIn,
        status: StatusCode,
        notice: Option<&str>,
    ) -> Result<Response, Failure> {
        let (user, now) = (&person.user, self.clock.now());
        let sessions = self.sessions.of(user).await?;
        let grants = self.store.grants_of(user.id).await?;
        let held = self.factors.of(user.id).await?;
        Ok(page::account(&AccountPage {
            status,
            account: rows::account(person),
            notice,
            administrator: user.role == Role::Administrator,
            email: user.email.as_deref(),
            since: rows::span(now.since(user.created_at)),
            has_password: user.password_hash.is_some(),
            authenticator: held.authenticator,
            passkey_after_password: held.passkey_after_password,
            recovery_codes: held.asks().then_some(held.recovery_codes),
            identities: self.identities(person).await?,
            passkeys: held.passkeys.into_iter().map(|passkey| rows::passkey(passkey, now)).collect(),
            sessions: sessions.into_iter().map(|session| rows::session(session, person.id, now)).collect(),
            grants: grants.into_iter().map(|grant| rows::grant(grant, now)).collect(),
            services: self.service_rows(person).await?,
            endpoint: self.endpoint(person).await?,
        }))
    }
}

//! The tokens as a resource server and as a test see them.

use super::state::{Grant, Shared};
use std::sync::Arc;

/// Who calls a resource server, by its access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that the person chose on the consent page.
    pub user: String,
    /// The granted scopes, separated by spaces.
    pub scopes: String,
    /// The server that is called: its origin, or what stands for one.
    pub server: String,
}

/// The tokens of an [`AuthorizationServer`](super::AuthorizationServer), as a resource server and as a test see them.
/// Cloning shares them.
#[derive(Clone)]
pub struct Tokens(Arc<Shared>);

impl Tokens {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The issuer that the resource's metadata names.
    pub fn issuer(&self) -> String {
        self.0.issuer()
    }

    /// Lets tokens be issued for resources of this origin.
    pub fn add_resource_origin(&self, origin: &str) {
        self.0.state.lock().resources.insert(origin.to_owned());
    }

    /// Who presents `token` to the resource server at `origin`; `None` when it is unknown, has expired, or was issued
    /// for another origin.
    pub fn check(&self, token: &str, origin: &str) -> Option<Caller> {
        let now = self.0.clock.now();
        let state = self.0.state.lock();
        let access = state.access.get(token).filter(|access| access.expires > now)?;
        let bound = url::Url::parse(&access.grant.resource).ok()?.origin().ascii_serialization();
        let Grant { user, scope, .. } = &access.grant;
        (bound == origin).then(|| Caller { user: user.clone(), scopes: scope.clone(), server: bound.clone() })
    }

    /// Issues an access token without any flow, for clients that take a fixed one.
    pub fn issue(&self, user: &str, scope: &str, resource: &str) -> String {
        let mut state = self.0.state.lock();
        let family = state.new_family();
        let grant = Grant {
            client_id: String::new(),
            user: user.to_owned(),
            scope: scope.to_owned(),
            resource: resource.to_owned(),
            family,
        };
        self.0.access_token(&mut state, &grant).0
    }

    /// Every access token stops working; refresh tokens go on.
    pub fn end_access(&self) {
        self.0.state.lock().access.clear();
    }

    /// Every access and refresh token stops working, as when the person withdraws the consent.
    pub fn end_all(&self) {
        let mut state = self.0.state.lock();
        state.access.clear();
        state.refresh.clear();
    }

    /// Every access and refresh token that was ever valid and still is: what a leak test looks for.
    pub fn live(&self) -> Vec<String> {
        let state = self.0.state.lock();
        state.access.keys().chain(state.refresh.keys()).cloned().collect()
    }
}

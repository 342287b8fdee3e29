//! Between the rows and words of the program and what listings show of them.

use super::*;
use crate::apikey;
use crate::jose;
use crate::store;

impl From<store::Role> for Role {
    fn from(role: store::Role) -> Self {
        match role {
            store::Role::Administrator => Self::Administrator,
            store::Role::Member => Self::Member,
        }
    }
}

impl From<Role> for store::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Administrator => Self::Administrator,
            Role::Member => Self::Member,
        }
    }
}

impl User {
    pub(in crate::administration) fn new(user: store::User, groups: Vec<String>) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name,
            role: user.role.into(),
            email: user.email,
            disabled: user.disabled,
            has_password: user.password_hash.is_some(),
            groups,
            created_at: Moment(user.created_at),
        }
    }
}

impl From<store::AuditEvent> for AuditEvent {
    fn from(event: store::AuditEvent) -> Self {
        let store::AuditEvent { at, actor, action, subject, address, upstream, client, status, duration_ms } = event;
        Self { at: Moment(at), actor, action, subject, address, upstream, client, status, duration_ms }
    }
}

impl From<jose::SigningAlgorithm> for SigningAlgorithm {
    fn from(algorithm: jose::SigningAlgorithm) -> Self {
        match algorithm {
            jose::SigningAlgorithm::Es256 => Self::ES256,
            jose::SigningAlgorithm::EdDsa => Self::EdDSA,
        }
    }
}

impl From<SigningAlgorithm> for jose::SigningAlgorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::ES256 => Self::Es256,
            SigningAlgorithm::EdDSA => Self::EdDsa,
        }
    }
}

impl From<store::ConnectionState> for ConnectionState {
    fn from(state: store::ConnectionState) -> Self {
        match state {
            store::ConnectionState::Active => Self::Active,
            store::ConnectionState::Open => Self::Open,
            store::ConnectionState::NeedsConsent => Self::NeedsConsent,
        }
    }
}

impl From<store::Decision> for Decision {
    fn from(decision: store::Decision) -> Self {
        match decision {
            store::Decision::Approved => Self::Approved,
            store::Decision::Denied => Self::Denied,
        }
    }
}

impl From<Decision> for store::Decision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Approved => Self::Approved,
            Decision::Denied => Self::Denied,
        }
    }
}

impl From<apikey::ApiScope> for ApiScope {
    fn from(scope: apikey::ApiScope) -> Self {
        match scope {
            apikey::ApiScope::Admin => Self::Admin,
            apikey::ApiScope::Introspect => Self::Introspect,
            apikey::ApiScope::Broker => Self::Broker,
        }
    }
}

impl From<ApiScope> for apikey::ApiScope {
    fn from(scope: ApiScope) -> Self {
        match scope {
            ApiScope::Admin => Self::Admin,
            ApiScope::Introspect => Self::Introspect,
            ApiScope::Broker => Self::Broker,
        }
    }
}

//! Records to put into a store.

use super::*;
use crate::ids::{ConnectionId, Digest, GrantId, Random, SessionId, UserId};

/// When the tests take place.
pub(super) const NOW: Timestamp = Timestamp(1_800_000_000);

pub(super) fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

pub(super) fn user(name: &str) -> User {
    User {
        id: UserId::random(&Random::default()),
        name: name.to_owned(),
        password_hash: Some("$argon2id$…".to_owned()),
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: NOW,
    }
}

/// A user who is in the store.
pub(super) async fn known_user(store: &Store, name: &str) -> UserId {
    let user = user(name);
    store.create_user(&user).await.unwrap();
    user.id
}

pub(super) fn identity(user: UserId, subject: &str) -> LinkedIdentity {
    LinkedIdentity {
        issuer: "https://id.example".to_owned(),
        subject: subject.to_owned(),
        provider: "company".to_owned(),
        user,
        name: subject.to_owned(),
        email: None,
        created_at: NOW,
        last_used_at: NOW,
    }
}

pub(super) fn session(user: UserId, token: &str) -> Session {
    Session {
        token: Digest::of(token),
        id: SessionId::random(&Random::default()),
        user,
        means: "password".to_owned(),
        address: Some("192.0.2.1".to_owned()),
        user_agent: "curl".to_owned(),
        created_at: NOW,
        last_seen_at: NOW,
        expires_at: later(100),
    }
}

pub(super) fn client(realm: &str, id: &str) -> Client {
    Client {
        realm: realm.to_owned(),
        id: id.to_owned(),
        metadata: "{}".to_owned(),
        secret: None,
        registration_token: Digest::of("registration"),
        created_at: NOW,
        last_used_at: None,
        owner: None,
        expires_at: None,
    }
}

pub(super) fn grant(user: UserId) -> Grant {
    Grant {
        id: GrantId::random(&Random::default()),
        user,
        client_id: "client".to_owned(),
        client_name: "Client".to_owned(),
        realm: "label-enc".to_owned(),
        resource: "https://label-enc.gw.example/mcp".to_owned(),
        scope: "read write".to_owned(),
        created_at: NOW,
        revoked_at: None,
    }
}

pub(super) fn code(grant: GrantId, text: &str) -> AuthorizationCode {
    AuthorizationCode {
        code: Digest::of(text),
        grant,
        redirect_uri: "http://127.0.0.1/callback".to_owned(),
        code_challenge: "challenge".to_owned(),
        expires_at: later(60),
        used_at: None,
        dpop_jkt: None,
    }
}

/// A grant that is in the store, with a code that has the text of its id.
pub(super) async fn known_grant(store: &Store, user: UserId) -> GrantId {
    let grant = grant(user);
    store.insert_grant(&grant, Some(&code(grant.id, &grant.id.to_string()))).await.unwrap();
    grant.id
}

pub(super) fn refresh_token(grant: GrantId, text: &str) -> RefreshToken {
    RefreshToken {
        token: Digest::of(text),
        grant,
        issued_at: NOW,
        expires_at: later(1000),
        successor: None,
        first_used_at: None,
        dpop_jkt: None,
    }
}

pub(super) fn successor(text: &str, rotated_at: Timestamp) -> Successor {
    Successor { token: Digest::of(text), sealed: text.as_bytes().to_vec(), rotated_at }
}

pub(super) fn flow(text: &str) -> Flow {
    Flow { id: Digest::of(text), session: Digest::of("session"), data: "{}".to_owned(), expires_at: later(600) }
}

pub(super) fn connection(user: UserId, authority: &str, account: &str) -> Connection {
    Connection {
        id: ConnectionId::random(&Random::default()),
        user,
        authority: authority.to_owned(),
        account: account.to_owned(),
        state: ConnectionState::Active,
        sealed: b"first".to_vec(),
        scope: "read".to_owned(),
        expires_at: Some(later(300)),
        version: 1,
        personal: None,
        refreshing_since: None,
        last_error: None,
        created_at: NOW,
        updated_at: NOW,
        last_used_at: None,
    }
}

pub(super) fn upstream(authority: &str, alias: Option<&str>) -> Upstream {
    Upstream {
        authority: authority.to_owned(),
        decision: Decision::Approved,
        alias: alias.map(str::to_owned),
        name: None,
        decided_by: None,
        decided_at: NOW,
    }
}

/// The changes after a number, without theirs.
pub(super) async fn told(store: &Store, after: i64) -> Vec<Change> {
    store.changes_after(after).await.unwrap().into_iter().filter_map(|(_, change)| change).collect()
}

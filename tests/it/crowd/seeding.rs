//! A crowd straight into the database: what thousands of sign-ins would have left there.

use super::upstreams::{KEY_FIELD, LIFE, Upstreams, WITH_KEYS, WITH_TOKENS, tokens_of};
use super::{DOMAIN, Person, Standing};
use crate::gateway::{Gateway, label, upstream};
use futures_util::{StreamExt as _, stream};
use http::HeaderName;
use parking_lot::RwLock;
use portcullis::config::{Config, PersonalHeader, Rate, Tls, UpstreamAuth};
use portcullis::connect::ConnectionKey;
use portcullis::hostname::{Authority, Realm, Scheme};
use portcullis::ids::{ConnectionId, GrantId, Random, UserId};
use portcullis::secret::Secret;
use portcullis::store::{Connection, ConnectionState, Grant, Role, User};
use portcullis::tokens::NewToken;
use portcullis::vault::Place;
use serde_json::json;
use std::time::Duration;

/// What waits for the disk at once: a commit is shared by those that wait.
const AT_ONCE: usize = 64;

/// Both nodes: behind one public address, with two upstreams.
pub fn configure(config: &mut Config, tls: &Tls, addresses: &[String; 2]) {
    let plenty = Rate { count: 1_000_000, period: Duration::from_secs(1), burst: 1_000_000 };
    let limits = &mut config.limits;
    for rate in [&mut limits.per_ip, &mut limits.per_user, &mut limits.per_client, &mut limits.per_user_upstream] {
        *rate = plenty;
    }
    config.tls = tls.clone();
    config.server.domain = DOMAIN.to_owned();
    config.server.public = Some((Scheme::Https, 443));
    config.upstream.push(upstream(&addresses[WITH_TOKENS], UpstreamAuth::OAuth(Box::default())));
    let header = PersonalHeader { name: HeaderName::from_static(KEY_FIELD), prefix: String::new() };
    config.upstream.push(upstream(&addresses[WITH_KEYS], UpstreamAuth::Personal(header)));
}

/// So many people with a grant, an access token and a connection at each upstream. Every third one's upstream token has expired.
pub async fn seed(gateway: &Gateway, upstreams: &Upstreams, count: usize) -> Vec<Person> {
    let people = stream::iter(0..count).map(|number| person(gateway, upstreams, number)).buffered(AT_ONCE);
    people.collect().await
}

async fn person(gateway: &Gateway, upstreams: &Upstreams, number: usize) -> Person {
    let (app, random) = (gateway.app(), Random::default());
    let now = app.clock.now();
    let user = User {
        id: UserId::random(&random),
        name: format!("person-{number}"),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: now,
    };
    app.store.create_user(&user).await.unwrap();
    let ((tokens, grants), connections) =
        tokio::join!(granted(gateway, upstreams, &user), connected(gateway, upstreams, &user, number));
    let standing = [RwLock::new(Standing::Whole), RwLock::new(Standing::Whole)];
    Person { number, tokens, grants, connections, standing }
}

/// Access tokens that live longer than any test, and their grants.
async fn granted(gateway: &Gateway, upstreams: &Upstreams, user: &User) -> ([String; 2], [GrantId; 2]) {
    let (app, random) = (gateway.app(), Random::default());
    let (mut tokens, mut grants) = (Vec::new(), Vec::new());
    for address in &upstreams.addresses {
        let realm = Realm::Mcp(label(address));
        let origin = app.site.issuer(&realm);
        let grant = Grant {
            id: GrantId::random(&random),
            user: user.id,
            client_id: "test".to_owned(),
            client_name: "Test".to_owned(),
            realm: realm.key(),
            resource: format!("{origin}/mcp"),
            scope: String::new(),
            created_at: app.clock.now(),
            revoked_at: None,
        };
        app.store.insert_grant(&grant, None).await.unwrap();
        let new = NewToken {
            issuer: &origin,
            resource: &grant.resource,
            user,
            client_id: &grant.client_id,
            scope: "",
            grant: grant.id,
            ttl: 20 * LIFE,
            actor: None,
            confirmation: None,
        };
        tokens.push(app.tokens.mint(&new).unwrap());
        grants.push(grant.id);
    }
    (tokens.try_into().unwrap(), grants.try_into().unwrap())
}

async fn connected(gateway: &Gateway, upstreams: &Upstreams, user: &User, number: usize) -> [ConnectionId; 2] {
    let app = gateway.app();
    let authority = |which: usize| Authority::parse(&upstreams.addresses[which]).unwrap();
    let key = |which| ConnectionKey::upstream(user.id, authority(which), None);
    let value = Secret::new(format!("key-{number}-secret"));
    let wanted = app.registry.by_authority(&authority(WITH_KEYS)).unwrap();
    let given = app.connections.personal_credentials();
    let by_hand = given.with(&key(WITH_KEYS), &wanted, &[("", &value)]).await.unwrap();
    app.revocations.replace_connection(&by_hand).await.unwrap();
    let with_tokens = authorized(gateway, &upstreams.addresses[WITH_TOKENS], user, number);
    app.store.put_connection(&with_tokens).await.unwrap();
    let mut ids = [by_hand.id; 2];
    ids[WITH_TOKENS] = with_tokens.id;
    ids
}

/// A connection as the flow at the upstream leaves it.
fn authorized(gateway: &Gateway, address: &str, user: &User, number: usize) -> Connection {
    let app = gateway.app();
    let (now, (access, refresh)) = (app.clock.now(), tokens_of(number, 0));
    let tokens = json!({
        "access_token": access,
        "refresh_token": refresh,
        "server": {
            "issuer": format!("http://{address}"),
            "token_endpoint": format!("http://{address}/token"),
            "client": {"id": "us", "secret": null, "auth_method": "none"},
            "redirect_uri": "",
            "resource": null,
        },
        "asked": "",
        "replaced_rejected_at": null,
    });
    let person = user.id.to_string();
    let row = format!("{person}/{address}/");
    let place = Place { table: "connections", row: &row, column: "sealed", person: &person, upstream: address };
    Connection {
        id: ConnectionId::random(&Random::default()),
        user: user.id,
        authority: address.to_owned(),
        account: String::new(),
        state: ConnectionState::Active,
        sealed: app.vault.seal(&place, tokens.to_string().as_bytes()),
        personal: None,
        scope: String::new(),
        expires_at: Some(if number.is_multiple_of(3) { now } else { now.after(LIFE) }),
        version: 1,
        refreshing_since: None,
        last_error: None,
        created_at: now,
        updated_at: now,
        last_used_at: None,
    }
}

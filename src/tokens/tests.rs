//! Tokens as they are minted, and as they must not be accepted.

use super::*;
use crate::clock::Timestamp;
use crate::config;
use crate::ids::{Digest, GrantId, UserId};
use crate::jose::SigningAlgorithm;
use crate::store::{Role, User};
use crate::vault::Vault;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

pub(super) const TTL: Duration = Duration::from_secs(24 * 3600);

pub(super) struct World {
    pub(super) store: Store,
    pub(super) vault: Vault,
    pub(super) clock: Clock,
    pub(super) tokens: AccessTokens,
    user: User,
    pub(super) grant: GrantId,
}

pub(super) async fn world() -> World {
    let (clock, random) = (Clock::standing(), Random::default());
    let store = Store::open("sqlite::memory:").await.unwrap();
    let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
    let tokens = tokens_of(&store, &vault, &clock, TTL).await;
    let user = User {
        id: UserId::random(&random),
        name: "alice".into(),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: Timestamp(0),
    };
    World { store, vault, clock, tokens, user, grant: GrantId::random(&random) }
}

pub(super) async fn tokens_of(store: &Store, vault: &Vault, clock: &Clock, ttl: Duration) -> AccessTokens {
    let (random, config) = (Random::default(), lifetimes(ttl));
    let keys = SigningKeys::load(store.clone(), vault.clone(), clock.clone(), random.clone(), &config).await.unwrap();
    AccessTokens::new(Arc::new(keys), Arc::default(), clock.clone(), random)
}

/// Tokens that live for `ttl`, signed with ES256, keys that are rotated after ten days.
pub(super) fn lifetimes(ttl: Duration) -> config::Tokens {
    config::Tokens {
        access_ttl: ttl,
        refresh_ttl: ttl,
        rotation_grace: Duration::ZERO,
        signing_algorithm: SigningAlgorithm::Es256,
        key_rotation: Some(Duration::from_secs(10 * 24 * 3600)),
    }
}

impl World {
    fn mint(&self) -> String {
        self.mint_at(&self.tokens, TTL)
    }

    pub(super) fn mint_at(&self, tokens: &AccessTokens, ttl: Duration) -> String {
        tokens
            .mint(&NewToken {
                issuer: "https://notes.gw.example",
                resource: "https://notes.gw.example/mcp",
                user: &self.user,
                client_id: "client",
                scope: "read write",
                grant: self.grant,
                ttl,
                actor: None,
                confirmation: None,
            })
            .unwrap()
    }

    /// A token with a correct signature over whatever header and claims.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let key = self.tokens.keys.signing();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.encoding, key.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

pub(super) fn part(token: &str, position: usize) -> Value {
    let text = token.split('.').nth(position).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_says_what_it_was_made_for() {
    let world = world().await;
    let token = world.mint();
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), TTL.as_secs() as i64);
    assert_eq!((&claims["aud"], &claims["username"]), (&json!("https://notes.gw.example/mcp"), &json!("alice")));
    assert!(claims.get("email").is_none());
    let verified = world.tokens.verify(&token).unwrap();
    assert_eq!((&*verified.client_id, &*verified.scope, verified.grant()), ("client", "read write", world.grant));
    assert!(Arc::ptr_eq(&verified, &world.tokens.verify(&token).unwrap()));
    let told = format!("{verified:?}");
    assert!(told.contains(&format!("{:?}", verified.user)) && told.contains(&format!("{:?}", world.grant)), "{told}");
    assert!(told.contains(&format!("{:?}", verified.expires_at())) && !told.contains(&token), "{told}");
}

#[tokio::test]
async fn a_token_may_be_long_but_not_without_end() {
    let world = world().await;
    let token = world.mint();
    let (header, claims) = (part(&token, 0), part(&token, 1));
    let padded = |length| {
        let mut claims = claims.clone();
        claims["padding"] = json!("x".repeat(length));
        world.signed(&header, &claims)
    };
    let missing = (super::verify::MAX_LENGTH - padded(0).len()) / 4 * 3;
    let longest = (missing - 3..missing + 6).rev().map(padded).find(|token| token.len() <= super::verify::MAX_LENGTH);
    assert!(world.tokens.verify(&longest.unwrap()).is_ok());
    assert!(world.tokens.verify(&padded(missing + 6)).is_err());
}

#[tokio::test]
async fn tokens_that_are_to_live_longer_from_now_on_are_believed_so_long() {
    let world = world().await;
    world.tokens.outlast(3 * TTL).await.unwrap();
    assert_eq!(world.tokens.longest_ttl(), 3 * TTL);
    let token = world.mint_at(&world.tokens, 3 * TTL);
    world.clock.advance(2 * TTL);
    assert!(world.tokens.verify(&token).is_ok());
}

#[tokio::test]
async fn the_published_key_verifies_and_its_id_is_its_thumbprint() {
    let world = world().await;
    let jwks = world.tokens.jwks();
    let key = &jwks["keys"][0];
    assert_eq!(key["kid"], part(&world.mint(), 0)["kid"]);
    let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, key["x"], key["y"]);
    assert_eq!(key["kid"], json!(BASE64URL_NOPAD.encode(&Digest::of(thumbprint).0)));
    assert!(key.get("d").is_none());
}

#[tokio::test]
async fn a_cached_token_expires_to_the_second() {
    let world = world().await;
    let token = world.mint();
    assert!(world.tokens.verify(&token).is_ok());
    world.clock.advance(TTL);
    assert_eq!(world.tokens.verify(&token).unwrap_err(), Unverified::Invalid);
}

#[tokio::test]
async fn a_revoked_grant_is_refused_cached_or_not() {
    let world = world().await;
    let (cached, other) = (world.mint(), world.mint());
    assert!(world.tokens.verify(&cached).is_ok());
    world.tokens.lives.end(world.grant);
    assert!(world.tokens.verify(&cached).is_err());
    assert!(world.tokens.verify(&other).is_err());
}

#[tokio::test]
async fn a10_another_process_with_the_same_database_accepts_it_and_another_deployment_does_not() {
    let (one, stranger) = (world().await, world().await);
    let token = one.mint();
    assert!(tokens_of(&one.store, &one.vault, &one.clock, TTL).await.verify(&token).is_ok());
    assert!(stranger.tokens.verify(&token).is_err());
    let wrong_vault = Vault::new(&Vault::generate_key(&Random::default()), &[]).unwrap();
    let (store, clock) = (one.store.clone(), one.clock.clone());
    let loaded = SigningKeys::load(store, wrong_vault, clock, Random::default(), &lifetimes(TTL)).await;
    assert!(loaded.is_err());
}

#[tokio::test]
async fn two_processes_that_start_at_once_agree() {
    let (clock, random) = (Clock::standing(), Random::default());
    let store = Store::open("sqlite::memory:").await.unwrap();
    let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
    let (a, b) = tokio::join!(tokens_of(&store, &vault, &clock, TTL), tokens_of(&store, &vault, &clock, TTL));
    assert_eq!(a.keys.signing().kid, b.keys.signing().kid);
    assert_eq!(a.jwks(), b.jwks());
}

#[tokio::test]
async fn nothing_but_our_own_header_is_accepted() {
    let world = world().await;
    let token = world.mint();
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert!(world.tokens.verify(&world.signed(&header, &claims)).is_ok());
    let changed = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        world.signed(&header, &claims)
    };
    assert!(world.tokens.verify(&changed("typ", json!("application/at+jwt"))).is_ok());
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", Value::Null),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("EdDSA")),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", Value::Null),
        ("jku", json!("https://evil.example/jwks")),
        ("jwk", json!({"kty": "EC"})),
        ("x5u", json!("https://evil.example/x")),
        ("crit", json!(["exp"])),
    ] {
        assert!(world.tokens.verify(&changed(name, value.clone())).is_err(), "{name}: {value}");
    }
}

#[tokio::test]
async fn nothing_but_our_own_claims_is_accepted() {
    let world = world().await;
    let token = world.mint();
    let (header, claims) = (part(&token, 0), part(&token, 1));
    let now = world.clock.now().seconds();
    for (name, value) in [
        ("exp", Value::Null),
        ("exp", json!(now)),
        ("exp", json!("never")),
        ("iat", json!(now + 3600)),
        ("iat", json!(now + 48 * 3600)),
        ("aud", json!(["https://notes.gw.example/mcp", "https://other.gw.example/mcp"])),
        ("sub", json!("alice")),
        ("gid", json!("x")),
        ("client_id", Value::Null),
    ] {
        let mut claims = claims.clone();
        claims[name] = value.clone();
        assert!(world.tokens.verify(&world.signed(&header, &claims)).is_err(), "{name}: {value}");
    }
}

#[tokio::test]
async fn garbage_and_tampering_are_refused() {
    let world = world().await;
    let token = world.mint();
    let prefix = &token[..token.len() - 6];
    for bad in ["", ".", "..", "a.b.c", prefix, &format!("{token}A"), &format!("{token}="), &"x".repeat(100_000)] {
        assert!(world.tokens.verify(bad).is_err());
    }
    let flipped = token.replacen('.', ".A", 1);
    assert!(world.tokens.verify(&flipped).is_err());
}

#[tokio::test]
async fn a_sweep_drops_tokens_that_are_worth_nothing_and_what_they_had_in_common() {
    let world = world().await;
    let (short, long) = (world.mint_at(&world.tokens, TTL / 2), world.mint());
    assert!(world.tokens.verify(&short).is_ok() && world.tokens.verify(&long).is_ok());
    world.tokens.sweep();
    assert_eq!(world.tokens.verified.len(), 2);
    world.clock.advance(TTL / 2);
    world.tokens.sweep();
    assert_eq!(world.tokens.verified.len(), 1);
    let kept = world.tokens.verify(&long).unwrap();
    world.tokens.lives.end(world.grant);
    world.tokens.sweep();
    assert!(world.tokens.verified.is_empty() && kept.life.has_ended());
    assert!(world.tokens.verify(&long).is_err());
}

#[tokio::test]
async fn tokens_of_a_grant_share_its_life_and_tokens_of_a_client_its_terms() {
    let world = world().await;
    let [one, other] = [world.mint(), world.mint()].map(|token| world.tokens.verify(&token).unwrap());
    assert!(!Arc::ptr_eq(&one, &other) && Arc::ptr_eq(&one.life, &other.life));
    assert!(std::ptr::eq(&*one.issuer, &*other.issuer));
    assert_eq!((one.user, &*one.username, one.grant()), (world.user.id, "alice", world.grant));
}

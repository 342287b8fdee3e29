//! Access tokens that were not minted here, and those of others.

// A target that fails says so, and is one list of what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cognitive_complexity)]

pub(crate) use super::dpop::fuzzing::proof;

use super::verify::Unverified;
use super::{AccessTokens, NewToken, SigningKeys};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::fuzzing::Input;
use crate::ids::{GrantId, Random, UserId};
use crate::jose::party::Party;
use crate::jose::{self, KeySet, PublicKey, SigningAlgorithm};
use crate::store::{Role, Store, User};
use crate::vault::Vault;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longer than anybody fuzzes.
const TTL: Duration = Duration::from_secs(400 * 24 * 3600);

struct World {
    ours: AccessTokens,
    /// Of a deployment that has nothing to do with ours.
    theirs: AccessTokens,
    minted: Vec<String>,
    foreign: String,
    /// Somebody who signs assertions.
    party: Party,
    keys: KeySet,
    signed: String,
    _runtime: Runtime,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (ours, theirs) = runtime.block_on(async { (tokens().await, tokens().await) });
    let (party, user) = (Party::new(), user());
    let minted = vec![mint(&ours, &user, None, None), mint(&ours, &user, Some("actor"), Some("thumbprint"))];
    let foreign = mint(&theirs, &user, None, None);
    let mut jwk = party.jwk();
    jwk["kid"] = json!("one");
    let keys = KeySet::parse(&json!({ "keys": [jwk] })).unwrap();
    let signed = party.sign(&json!({"alg": "ES256", "kid": "one", "typ": "JWT"}), &json!({"sub": "a"}));
    World { ours, theirs, minted, foreign, party, keys, signed, _runtime: runtime }
});

async fn tokens() -> AccessTokens {
    let (random, clock) = (Random::default(), Clock::system());
    let store = Store::open("sqlite::memory:").await.unwrap();
    let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
    let lifetimes = config::Tokens {
        access_ttl: TTL,
        refresh_ttl: TTL,
        rotation_grace: Duration::ZERO,
        // The quicker of the two.
        signing_algorithm: SigningAlgorithm::EdDsa,
        key_rotation: None,
    };
    let keys = SigningKeys::load(store, vault, clock.clone(), random.clone(), &lifetimes).await.unwrap();
    AccessTokens::new(Arc::new(keys), Arc::default(), clock, random)
}

fn user() -> User {
    User {
        id: UserId::random(&Random::default()),
        name: "alice".into(),
        password_hash: None,
        email: None,
        role: Role::Member,
        disabled: false,
        created_at: Timestamp(0),
    }
}

fn mint(tokens: &AccessTokens, user: &User, actor: Option<&str>, confirmation: Option<&str>) -> String {
    let new = NewToken {
        issuer: "https://notes.gw.example",
        resource: "https://notes.gw.example/mcp",
        user,
        client_id: "client",
        scope: "read",
        grant: GrantId::random(&Random::default()),
        ttl: TTL,
        actor,
        confirmation,
    };
    tokens.mint(&new).unwrap()
}

/// Only what was minted here is accepted, to the letter.
pub(crate) fn jwt(data: &[u8]) {
    let world = &*WORLD;
    let mut input = Input::new(data);
    match input.below(8) {
        0 => refused(&String::from_utf8_lossy(input.rest())),
        1 => refused(&mutated(input.clone_token(&world.minted), &mut input)),
        2 => {
            // Parts of several tokens, and of none.
            let others = [&world.minted[0], &world.minted[1], &world.foreign, &world.signed];
            let part = |input: &mut Input<'_>| match input.below(5) {
                4 => BASE64URL_NOPAD.encode(input.bytes(60)),
                which => others[which].split('.').nth(input.below(3)).unwrap().to_owned(),
            };
            let parts: Vec<String> = (0..input.below(5)).map(|_| part(&mut input)).collect();
            refused(&parts.join("."));
        }
        3 => signed_by_us(&mut input),
        4 => {
            let token = mutated(world.foreign.clone(), &mut input);
            refused(&token);
            assert!(token == world.foreign || world.theirs.verify(&token).is_err());
        }
        5 => {
            let token = mutated(world.signed.clone(), &mut input);
            check_others(&token);
            assert!(token == world.signed || world.keys.verify::<Value>(&token).is_err(), "{token:?} is believed");
        }
        6 => signed_by_another(&mut input),
        _ => {
            let rest = input.rest();
            check_others(&String::from_utf8_lossy(rest));
            let Ok(document) = serde_json::from_slice::<Value>(rest) else { return };
            if let Ok(key) = PublicKey::parse(&document) {
                assert!(document.get("d").is_none() && document["kty"] != "oct");
                assert_eq!(BASE64URL_NOPAD.decode(key.thumbprint().as_bytes()).unwrap().len(), 32);
                assert!(key.verify::<Value>(&world.signed).is_err() || document["x"] == world.party.jwk()["x"]);
            }
            if let Ok(keys) = KeySet::parse(&document) {
                assert!(document["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none()));
                let _ = keys.verify::<Value>(&world.signed);
            }
        }
    }
}

impl Input<'_> {
    fn clone_token(&mut self, tokens: &[String]) -> String {
        self.choose(tokens).clone()
    }
}

/// The token with some characters changed, put in or taken out.
fn mutated(token: String, input: &mut Input<'_>) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n";
    let mut bytes = token.into_bytes();
    for _ in 0..=input.below(4) {
        let (at, with) = (input.below(2048) % bytes.len().max(1), input.pick(ALPHABET));
        match input.below(5) {
            0 if !bytes.is_empty() => drop(bytes.remove(at)),
            1 => bytes.insert(at, with),
            2 => bytes.truncate(at),
            3 => bytes.push(with),
            _ if !bytes.is_empty() => bytes[at] = with,
            _ => {}
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn refused(token: &str) {
    match WORLD.ours.verify(token) {
        Ok(_) => assert!(WORLD.minted.iter().any(|minted| minted == token), "{token:?} is accepted"),
        Err(why) => assert_eq!(why, Unverified::Invalid),
    }
}

/// Whatever has the right key may still say nothing but what we would have said.
fn signed_by_us(input: &mut Input<'_>) {
    let key = WORLD.ours.keys.signing();
    let genuine = |position| -> Value {
        let part = WORLD.minted[0].split('.').nth(position).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    };
    let (mut header, mut claims) = (genuine(0), genuine(1));
    let values = [
        json!(null),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!("x"),
        json!(""),
        json!(["a"]),
        json!({}),
        json!("none"),
    ];
    for _ in 0..input.below(3) {
        let name = input.pick(&["alg", "typ", "kid", "jku", "jwk", "x5u", "crit", "cty", "b64"]);
        header[name] = input.choose(&values).clone();
    }
    for _ in 0..input.below(3) {
        let name = input.pick(&[
            "iss",
            "aud",
            "sub",
            "username",
            "client_id",
            "scope",
            "gid",
            "jti",
            "iat",
            "exp",
            "act",
            "cnf",
        ]);
        claims[name] = input.choose(&values).clone();
    }
    let encoded = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let payload = if input.coin() { encoded(&claims) } else { BASE64URL_NOPAD.encode(input.bytes(80)) };
    let message = format!("{}.{payload}", encoded(&header));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key.encoding, key.algorithm).unwrap();
    let Ok(token) = WORLD.ours.verify(&format!("{message}.{signature}")) else { return };
    let ours: Value = genuine(0);
    assert_eq!(header, ours, "another header is accepted");
    let said: Value = serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap();
    assert_eq!((said["iss"].as_str(), said["aud"].as_str()), (Some(&*token.issuer), Some(&*token.audience)));
    assert_eq!(said["sub"].as_str(), Some(token.user.to_string().as_str()));
    assert_eq!(said["gid"].as_str(), Some(token.grant().to_string().as_str()));
    let (iat, exp) = (said["iat"].as_i64().unwrap(), said["exp"].as_i64().unwrap());
    assert!(exp > iat && token.expires_at().seconds() <= exp);
    assert!(token.expires_at().seconds() <= Timestamp(iat).after(TTL).seconds().max(iat));
}

/// Assertions of a client: its key, one of our algorithms, nothing critical.
fn signed_by_another(input: &mut Input<'_>) {
    let mut header = json!({"alg": "ES256", "kid": "one"});
    let values = [
        json!(null),
        json!("none"),
        json!("HS256"),
        json!("es256"),
        json!("RS256"),
        json!("two"),
        json!(["b64"]),
        json!(1),
    ];
    for _ in 0..input.below(3) {
        let name = input.pick(&["alg", "kid", "typ", "crit", "jwk", "jku", "b64"]);
        header[name] = input.choose(&values).clone();
    }
    let claims = json!({"sub": input.text(20)});
    let token = WORLD.party.sign(&header, &claims);
    if let Ok(signed) = WORLD.keys.verify::<Value>(&token) {
        assert_eq!(signed.claims, claims);
        assert_eq!(header["alg"], "ES256");
        assert!(header["crit"].is_null() && (header["kid"].is_null() || header["kid"] == "one"));
    }
}

/// What is looked at before anybody has verified anything.
fn check_others(token: &str) {
    let (header, form) = (jose::header(token), jose::check_form(token));
    if form.is_ok() {
        assert_eq!(token.split('.').count(), 3);
        // A member that nobody asks for may be one that nobody can read.
        let Ok(header) = header else { return };
        let alg = header["alg"].as_str().unwrap();
        assert!(jose::ALGORITHMS.contains(&alg) || alg == "Ed25519", "{alg} is taken");
    }
    let _ = jose::unverified_claims::<Value>(token);
}

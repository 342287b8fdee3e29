//! Proofs as they must be, and as they must not be accepted.

use super::*;
use crate::devkit::prover::Prover;
use crate::ids::Random;
use serde_json::json;

const URL: &str = "https://notes.gw.example/mcp";
const TOKEN: &str = "the.access.token";

struct World {
    store: Store,
    proofs: Proofs,
    prover: Prover,
}

impl World {
    async fn new() -> Self {
        let store = Store::open("sqlite::memory:").await.unwrap();
        let vault = Vault::new(&Vault::generate_key(&Random::default()), &[]).unwrap();
        let proofs = Proofs::new(store.clone(), vault, Clock::standing());
        Self { store, proofs, prover: Prover::new().unwrap() }
    }

    fn header(&self) -> Value {
        self.prover.header()
    }

    fn claims(&self) -> Value {
        self.prover.claims("GET", URL, Some(TOKEN), self.proofs.clock.now())
    }

    /// What becomes of a proof with this header and these claims: the thumbprint, or the code and the nonce.
    async fn check(&self, header: &Value, claims: &Value) -> Result<String, (Code, String)> {
        self.present(&self.prover.sign(header, claims)).await
    }

    async fn present(&self, proof: &str) -> Result<String, (Code, String)> {
        let headers = HeaderMap::from_iter([(DPOP, proof.parse().unwrap())]);
        let bound_to = self.prover.thumbprint();
        let purpose = Purpose { method: "GET", url: URL, token: Some((TOKEN, &bound_to)) };
        match self.proofs.check(&headers, &purpose).await {
            Ok(thumbprint) => Ok(thumbprint.unwrap()),
            Err(Unproven::Refused { code, nonce, .. }) => Err((code, nonce)),
            Err(Unproven::Failed(fault)) => panic!("{fault}"),
        }
    }

    async fn refuses(&self, header: &Value, claims: &Value) -> bool {
        matches!(self.check(header, claims).await, Err((Code::InvalidDpopProof, _)))
    }

    async fn refuses_with(&self, claim: &str, value: Value) -> bool {
        let mut claims = self.claims();
        claims[claim] = value;
        self.refuses(&self.header(), &claims).await
    }
}

#[tokio::test]
async fn a_proof_says_whose_key_it_is() {
    let world = World::new().await;
    assert_eq!(world.check(&world.header(), &world.claims()).await, Ok(world.prover.thumbprint()));
    assert!(world.proofs.check(&HeaderMap::new(), &Purpose { method: "GET", url: URL, token: None }).await.is_ok());
}

#[tokio::test]
async fn b47_htm() {
    let world = World::new().await;
    for method in [json!("POST"), json!("get"), json!(""), json!(1), Value::Null] {
        assert!(world.refuses_with("htm", method.clone()).await, "{method}");
    }
}

#[tokio::test]
async fn b47_htu() {
    let world = World::new().await;
    for url in [json!("https://notes.gw.example/"), json!("https://files.gw.example/mcp"), json!("/mcp"), Value::Null] {
        assert!(world.refuses_with("htu", url.clone()).await, "{url}");
    }
    assert!(!world.refuses_with("htu", json!(format!("{URL}?session=1#x"))).await, "query and fragment do not count");
}

#[tokio::test]
async fn b47_iat() {
    let world = World::new().await;
    let now = world.proofs.clock.now().seconds();
    for iat in [json!(now - 65), json!(now + 65), json!(0), json!(1e300), json!("now"), Value::Null] {
        assert!(world.refuses_with("iat", iat.clone()).await, "{iat}");
    }
    for iat in [json!(now - 55), json!(now + 55), json!(now as f64 + 0.5)] {
        assert!(!world.refuses_with("iat", iat.clone()).await, "{iat}");
    }
}

#[tokio::test]
async fn b47_jti() {
    let world = World::new().await;
    let (header, claims) = (world.header(), world.claims());
    assert!(world.check(&header, &claims).await.is_ok());
    assert!(world.refuses(&header, &claims).await, "the same proof again");
    let mut other = world.claims();
    other["jti"] = claims["jti"].clone();
    assert!(world.refuses(&header, &other).await, "another proof with its identifier");
    assert!(world.refuses_with("jti", json!("")).await && world.refuses_with("jti", Value::Null).await);
    // The identifiers of one key say nothing about those of another.
    let stranger = Prover::new().unwrap();
    let proof = stranger.sign(&stranger.header(), &claims);
    let headers = HeaderMap::from_iter([(DPOP, proof.parse().unwrap())]);
    let purpose = Purpose { method: "GET", url: URL, token: None };
    assert!(world.proofs.check(&headers, &purpose).await.is_ok());
}

#[tokio::test]
async fn b47_a_proof_is_not_good_again_at_another_process_or_after_a_restart() {
    let world = World::new().await;
    let proof = world.prover.sign(&world.header(), &world.claims());
    let other = Proofs::new(world.store.clone(), world.proofs.vault.clone(), world.proofs.clock.clone());
    assert!(world.present(&proof).await.is_ok());
    let other = World { proofs: other, ..world };
    assert!(other.present(&proof).await.is_err());
}

#[tokio::test]
async fn b47_ath() {
    let world = World::new().await;
    let of_another = BASE64URL_NOPAD.encode(&Digest::of("another.token").0);
    for ath in [json!(of_another), json!(TOKEN), json!(""), Value::Null] {
        assert!(world.refuses_with("ath", ath.clone()).await, "{ath}");
    }
}

#[tokio::test]
async fn b47_the_key_is_the_token_s_and_signs_the_proof() {
    let world = World::new().await;
    let stranger = Prover::new().unwrap();
    let own = stranger.sign(&stranger.header(), &world.claims());
    assert!(world.present(&own).await.is_err(), "another key");
    let borrowed = stranger.sign(&world.header(), &world.claims());
    assert!(world.present(&borrowed).await.is_err(), "somebody else's key in the header");
}

#[tokio::test]
async fn b47_nothing_but_a_proof_is_one() {
    let world = World::new().await;
    let changed = |name: &str, value: Value| {
        let mut header = world.header();
        header[name] = value;
        header
    };
    let mut private = world.prover.jwk();
    private["d"] = json!("AAAA");
    let symmetric = json!({"kty": "oct", "k": "AAAA"});
    for header in [
        changed("typ", json!("JWT")),
        changed("typ", Value::Null),
        changed("alg", json!("none")),
        changed("alg", json!("HS256")),
        changed("alg", json!("EdDSA")),
        changed("jwk", private),
        changed("jwk", symmetric),
        changed("jwk", Value::Null),
        changed("jwk", json!("https://evil.example/jwk")),
        changed("crit", json!(["x"])),
    ] {
        assert!(world.refuses(&header, &world.claims()).await, "{header}");
    }
    for text in ["", "x", "a.b.c", "..", &"x".repeat(20_000)] {
        assert!(world.present(text).await.is_err());
    }
    let twice: HeaderMap =
        (0..2).map(|_| (DPOP, world.prover.sign(&world.header(), &world.claims()).parse().unwrap())).collect();
    let purpose = Purpose { method: "GET", url: URL, token: None };
    assert!(world.proofs.check(&twice, &purpose).await.is_err(), "two are none");
}

#[tokio::test]
async fn a_nonce_of_ours_stands_for_a_clock_that_is_wrong() {
    let world = World::new().await;
    let mut claims = world.claims();
    claims["iat"] = json!(1);
    let (code, nonce) = world.check(&world.header(), &claims).await.unwrap_err();
    assert_eq!(code, Code::InvalidDpopProof);
    claims["nonce"] = json!(nonce);
    assert!(world.check(&world.header(), &claims).await.is_ok());
    assert_eq!(world.check(&world.header(), &claims).await.unwrap_err().0, Code::InvalidDpopProof, "once");

    for stale in [json!("theirs"), json!(""), json!(BASE64URL_NOPAD.encode(&[0; 40]))] {
        let mut claims = world.claims();
        claims["nonce"] = stale;
        assert_eq!(world.check(&world.header(), &claims).await.unwrap_err().0, Code::UseDpopNonce);
    }
    world.proofs.clock.advance(NONCE_LIFE + Duration::from_secs(1));
    let mut claims = world.claims();
    claims["nonce"] = json!(nonce);
    let (code, fresh) = world.check(&world.header(), &claims).await.unwrap_err();
    assert_eq!(code, Code::UseDpopNonce);
    claims["nonce"] = json!(fresh);
    assert!(world.check(&world.header(), &claims).await.is_ok());
}

#[tokio::test]
async fn b47_of_many_at_once_each_is_used_once() {
    let world = World::new().await;
    let proofs: Vec<_> = (0..50).map(|_| world.prover.sign(&world.header(), &world.claims())).collect();
    let twice = proofs.iter().chain(&proofs).map(|proof| world.present(proof));
    let results = futures_util::future::join_all(twice).await;
    for (one, other) in results[..50].iter().zip(&results[50..]) {
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    }
}

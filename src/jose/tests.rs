use super::party::{Party, signing_input};
use super::*;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(&json!({ "keys": keys })).unwrap()
}

#[test]
fn a_signature_of_a_key_in_the_set_is_believed() {
    let (party, other) = (Party::new(), Party::new());
    let mut jwk = party.jwk();
    jwk["kid"] = json!("one");
    let keys = set(&[json!({"kty": "x"}), other.jwk(), jwk]);
    let claims = json!({"sub": "a"});
    for header in [json!({"alg": "ES256", "kid": "one", "typ": "JWT"}), json!({"alg": "ES256", "typ": "JWT"})] {
        let signed = keys.verify::<Value>(&party.sign(&header, &claims)).unwrap();
        assert_eq!((signed.claims, signed.typ.as_deref()), (claims.clone(), Some("JWT")));
    }
}

#[test]
fn nothing_else_is_believed() {
    let (party, stranger) = (Party::new(), Party::new());
    let mut jwk = party.jwk();
    jwk["kid"] = json!("one");
    let keys = set(&[jwk]);
    let claims = json!({"sub": "a"});
    let refused = |token: &str| keys.verify::<Value>(token).unwrap_err();
    assert_eq!(refused(&stranger.sign(&json!({"alg": "ES256"}), &claims)), Untrusted::Signature);
    assert_eq!(refused(&party.sign(&json!({"alg": "ES256", "kid": "two"}), &claims)), Untrusted::UnknownKey);
    assert_eq!(refused(&party.sign(&json!({"alg": "RS256"}), &claims)), Untrusted::UnknownKey);
    for alg in ["none", "HS256", "es256", "ES512"] {
        assert_eq!(refused(&party.sign(&json!({ "alg": alg }), &claims)), Untrusted::Algorithm, "{alg}");
    }
    assert_eq!(refused(&party.sign(&json!({"alg": "ES256", "crit": ["b64"]}), &claims)), Untrusted::Malformed);
    // A key that the token brings along is no key of the party.
    let own = json!({"alg": "ES256", "jwk": stranger.jwk()});
    assert_eq!(refused(&stranger.sign(&own, &claims)), Untrusted::Signature);
    let token = party.sign(&json!({"alg": "ES256"}), &claims);
    let stripped = format!("{}.", token.rsplit_once('.').unwrap().0);
    for damaged in ["", "a.b.c", "..", &stripped, &format!("{token}.x"), &"x".repeat(MAX_LENGTH + 1)] {
        assert!(keys.verify::<Value>(damaged).is_err(), "{damaged:.40}");
    }
    assert!(keys.verify::<Vec<String>>(&token).is_err());
}

/// RFC 7515 §4, RFC 7519 §7.2: serde would read a list as the members that it knows, in their order.
#[test]
fn a_header_and_claims_are_objects() {
    #[derive(Debug, Deserialize)]
    struct Claims {
        #[serde(rename = "sub")]
        _sub: String,
    }
    let party = Party::new();
    let keys = set(&[party.jwk()]);
    let (header, claims) = (json!({"alg": "ES256"}), json!({"sub": "a"}));
    assert!(keys.verify::<Claims>(&party.sign(&header, &claims)).is_ok());
    for token in [party.sign(&header, &json!(["a"])), party.sign(&json!(["ES256", null, "JWT", null]), &claims)] {
        assert_eq!(keys.verify::<Claims>(&token).unwrap_err(), Untrusted::Malformed, "{token}");
        assert!(PublicKey::parse(&party.jwk()).unwrap().verify::<Claims>(&token).is_err());
    }
    assert!(unverified_claims::<Claims>(&party.sign(&header, &json!(["a"]))).is_err());
    assert!(check_form(&party.sign(&json!(["ES256", null, "JWT", null]), &claims)).is_err());
}

#[test]
fn a_key_set_has_public_keys_for_signatures() {
    let party = Party::new();
    let with = |name: &str, value: Value| {
        let mut jwk = party.jwk();
        jwk[name] = value;
        jwk
    };
    assert!(PublicKey::parse(&with("use", json!("sig"))).is_ok());
    for jwk in [
        with("use", json!("enc")),
        with("alg", json!("ECDH-ES")),
        with("d", json!("AA")),
        with("x", json!("AA")),
        with("kty", json!("oct")),
        with("crv", json!("P-999")),
        json!("x"),
        json!({"kty": "oct", "k": "AA"}),
    ] {
        let believed = PublicKey::parse(&jwk).is_ok_and(|key| {
            let token = party.sign(&json!({"alg": "ES256"}), &json!({}));
            key.verify::<Value>(&token).is_ok()
        });
        assert!(!believed, "{jwk}");
    }
    for document in
        [json!({}), json!({"keys": []}), json!({"keys": [{"kty": "oct", "k": "AA"}, party.jwk()]}), json!([])]
    {
        assert!(KeySet::parse(&document).is_err(), "{document}");
    }
}

#[test]
fn thumbprints_are_those_of_the_rfcs() {
    // RFC 7638 §3.1 and RFC 8037 appendix A.3.
    let rsa = json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    });
    assert_eq!(PublicKey::parse(&rsa).unwrap().thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(PublicKey::parse(&okp).unwrap().thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn rsa_and_ed25519_verify_too() {
    let ed =
        Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref()).unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(ed.public_key().as_ref())});
    let input = signing_input(&json!({"alg": "EdDSA"}), &json!({}));
    let token = format!("{input}.{}", BASE64URL_NOPAD.encode(ed.sign(input.as_bytes()).as_ref()));
    assert!(PublicKey::parse(&jwk).unwrap().verify::<Value>(&token).is_ok());
    let jwk = json!({"kty": "RSA", "e": "AQAB", "n": RSA_MODULUS});
    for (alg, signature) in [("RS256", RS256_SIGNATURE), ("PS256", PS256_SIGNATURE)] {
        let token = format!("{}.{signature}", signing_input(&json!({ "alg": alg }), &json!({"sub": "a"})));
        let key = PublicKey::parse(&jwk).unwrap();
        assert_eq!(key.verify::<Value>(&token).map(|signed| signed.claims), Ok(json!({"sub": "a"})), "{alg}");
        let forged = format!("{}.{signature}", signing_input(&json!({ "alg": alg }), &json!({"sub": "b"})));
        assert_eq!(key.verify::<Value>(&forged).unwrap_err(), Untrusted::Signature, "{alg}");
    }
}

// Made with Node's crypto; the private key was thrown away.
const RSA_MODULUS: &str = concat!(
    "z3QEcXJKUv-RHZLmFh3ECKUiDOXEJQbA_VbIWQi9tmYfVms9rUegOFPUQwxkSQ8MY7PFuySQKYrzzX7_sDWpV9TDr7WFiptvt0_C",
    "J5O6F3ecGwj-OheQD7SBvIn1cAkyHyb85nkiYtpdEtg3sUrOwpv7XNWb0BfQpvYK3-SmJHRIv2Syg5Zu5Vn4yCiGPkam_bxEwPOP",
    "LB1_Hhykoangwf-VdGzw-pplI3LRWwKIZ3uPtHWggGhePDbfiAWPNmhpEbTL-xCd_p9Ym0c61C9Ilfy2Q6Z71gkxDvu-es8uk9-t",
    "9rzlzfhWG3LtYAvzxe5u3c8799zTqzCTaFMUQsUvDQ"
);
const RS256_SIGNATURE: &str = concat!(
    "ncpfTznLPLh-dof_PazKJudVMda6opC18KKX1NgVl_WmBaMFgNSfCVCAfnTXlUdIyJS56iP0haTPlZiF3hepOhVwMOZUx32BPMPz",
    "LnhLVqCKAXr0XNUgz2bC6RUQsNmv-X1uhTbuMRmjgVrkHUt_mC7p0sNtCaF0xnM-Rbe5fsWHPVlF6-GOLJkKaa5nI8qv61IFD9Ly",
    "ayX9i7EkmIdg7Fpg5eiQvaKFhf9BcCbtVCwHln3XoJTvyXKHpM6idwtPrdZ4wWsDFg3YqbRFno_HIOfB1GLEWmNbLQu6c2KZeFM3",
    "7H705xWxLJCX_GlEGLU-6mNllZ7TO3Xfdzdt8BTtzA"
);
const PS256_SIGNATURE: &str = concat!(
    "shG92HoGPquDdPQxI5CJ9RmFF8FSpsIdLH9b2d8G5HObOq-t5mIy5tTo9s2eMEoOGR4p8m40pRI0I-Gl2BXhVgPBvyYpzsmbP2cc",
    "1WuLWGTMoIxw7PbUFyBR3pbKxP32C3ebQpIFsbzP3dLQMQR70Vnk6L5J5a_8-pAULxb8TPhw6VAzkCuvxDDR18Q1OW_yllOab2CT",
    "2RiQkJTvRiuTRmFe-jv7CuPN1vPSoabfM3THZS5xhb90d6LmHhbIly_dcbtiOPzatrw41slB2VINwZV0p-hETaUna787NJ8SGVWZ",
    "Q1UmYjCeKpD58fb9Y-4xQryDY4SyCYRRO89FPpkqsQ"
);

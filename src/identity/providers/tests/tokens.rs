//! ID tokens, their signatures, metadata, and the token endpoint.

use super::*;

#[tokio::test]
async fn a_good_answer_becomes_a_profile() {
    let liar = Liar::start().await;
    let half = &Digest::of(ACCESS_TOKEN).0[..16];
    liar.says(|script| {
        script.claims = json!({
            "at_hash": BASE64URL_NOPAD.encode(half), "aud": ["us"], "azp": "us", "groups": ["staff", "admins", 7],
        });
    });
    let profile = liar.sign_in().await.unwrap();
    let expected = Profile {
        provider: "company".to_owned(),
        issuer: liar.issuer.clone(),
        subject: "ada".to_owned(),
        name: "ada".to_owned(),
        email: Some("ada@corp.com".to_owned()),
        groups: vec!["staff".to_owned(), "admins".to_owned()],
        administrator: true,
    };
    assert_eq!(profile, expected);
    let script = liar.script.lock();
    let (form, authorization) = &script.asked[0];
    assert_eq!(form["redirect_uri"], "https://gw.example/login/company/callback");
    assert!(authorization.as_ref().unwrap().starts_with("Basic ") && !form.contains_key("client_secret"));
}

#[tokio::test]
async fn an_id_token_must_be_for_us_and_for_this_sign_in() {
    for (changed, why) in [
        (json!({"iss": "https://evil.example"}), "iss is another"),
        (json!({"aud": "them"}), "aud is another"),
        (json!({"aud": ["them"]}), "aud is another"),
        (json!({"aud": null}), "aud is another"),
        (json!({"aud": ["us", "them"]}), "azp is missing"),
        (json!({"aud": ["us", "them"], "azp": "them"}), "azp is another"),
        (json!({"azp": "them"}), "azp is another"),
        (json!({"exp": 1_000_000_000}), "expired"),
        (json!({"exp": null}), "exp is missing"),
        (json!({"exp": "never"}), "exp is missing"),
        (json!({"iat": null}), "iat is missing"),
        (json!({"iat": 40_000_000_000_u64}), "iat is in the future"),
        (json!({"nbf": 40_000_000_000_u64}), "nbf is in the future"),
        (json!({"nonce": "another"}), "nonce is not"),
        (json!({"nonce": null}), "nonce is not"),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "at_hash is not"),
        (json!({"at_hash": 7}), "at_hash is not"),
        (json!({"sub": null}), "sub is missing"),
        (json!({"sub": ""}), "sub is missing"),
        (json!({"sub": "x".repeat(256)}), "sub is missing"),
    ] {
        let liar = Liar::start().await;
        liar.says(|script| script.claims = changed.clone());
        let told = liar.disbelieved().await;
        assert!(told.contains(why), "{changed}: {told}");
    }
}

#[tokio::test]
async fn a_signature_must_be_the_issuer_s() {
    let liar = Liar::start().await;
    liar.sign_in().await.unwrap();
    liar.says(|script| {
        script.header = json!({"alg": "none"});
        script.unsigned = true;
    });
    assert!(liar.disbelieved().await.contains("algorithm"));
    liar.says(|script| script.header = json!({"alg": "HS256", "kid": KID}));
    assert!(liar.disbelieved().await.contains("algorithm"));
    let forger = Party::new();
    let jwk = forger.jwk();
    liar.says(|script| {
        // A key in the header is nobody's word for anything.
        script.header = json!({"alg": "ES256", "kid": KID, "jwk": jwk});
        script.unsigned = false;
    });
    let own = std::mem::replace(&mut liar.script.lock().signer, forger);
    let told = liar.disbelieved().await;
    assert!(told.contains("signature"), "{told}");
    liar.says(|script| {
        script.signer = own;
        script.header = json!({"alg": "ES256", "kid": KID, "typ": "logout+jwt"});
    });
    assert!(liar.disbelieved().await.contains("typ is that of another kind"));
}

#[tokio::test]
async fn a_new_key_is_looked_for_once_it_is_used() {
    let liar = Liar::start().await;
    liar.sign_in().await.unwrap();
    liar.providers.tools.clock.advance(Duration::from_secs(61));
    liar.says(|script| {
        script.signer = Party::new();
        script.header = json!({"alg": "ES256", "kid": "two"});
        script.claims = json!({});
    });
    assert_eq!(liar.sign_in().await.unwrap().subject, "ada");
}

#[tokio::test]
async fn metadata_must_be_the_issuer_s_own() {
    for (changed, why) in [
        (json!({"issuer": "https://evil.example"}), "calls itself \"https://evil.example\""),
        (json!({"token_endpoint": "http://evil.example/token"}), "is not an https URL"),
        (json!({"token_endpoint": "https://169.254.169.254/token"}), "169.254.169.254"),
        (json!({"authorization_endpoint": "javascript:alert(1)"}), "is not an https URL"),
        (json!({"jwks_uri": null}), "missing field `jwks_uri`"),
        (json!({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}), "neither by client_secret_basic"),
    ] {
        let liar = Liar::start().await;
        liar.says(|script| merge(&mut script.metadata, &changed));
        let told = liar.providers.begin("company", liar.browser, Purpose::SignIn, "/").await;
        let Err(SignInError::Failed(fault)) = told else { panic!("{changed}: {told:?}") };
        assert!(fault.private.contains(why), "{changed}: {fault}");
        assert_eq!(fault.culprit, Culprit::Upstream);
    }
}

#[tokio::test]
async fn a_public_client_needs_pkce() {
    let liar = Liar::with(|settings| settings.client_secret = None).await;
    liar.sign_in().await.unwrap();
    let (form, authorization) = liar.script.lock().asked.remove(0);
    assert_eq!((form["client_id"].as_str(), authorization), ("us", None));
    let old = Liar::with(|settings| settings.client_secret = None).await;
    old.says(|script| script.metadata["code_challenge_methods_supported"] = json!(["plain"]));
    let told = old.providers.begin("company", old.browser, Purpose::SignIn, "/").await;
    assert!(matches!(told, Err(SignInError::Failed(fault)) if fault.private.contains("PKCE")));
}

#[tokio::test]
async fn errors_of_the_token_endpoint_are_told_apart() {
    let trouble = |status: u16, body: Value| (StatusCode::from_u16(status).unwrap(), body);
    for (answer, culprit, words) in [
        (trouble(400, json!({"error": "invalid_grant"})), Culprit::Caller, "sign in again"),
        (trouble(401, json!({"error": "invalid_client"})), Culprit::Upstream, "client_id or secret"),
        (trouble(503, json!({"error": "invalid_grant"})), Culprit::Upstream, "later"),
        (trouble(429, json!({})), Culprit::Upstream, "later"),
        (trouble(302, json!({})), Culprit::Upstream, "later"),
        (trouble(200, json!([])), Culprit::Upstream, "later"),
        (trouble(200, json!({"access_token": "x"})), Culprit::Upstream, "later"),
    ] {
        let liar = Liar::start().await;
        liar.says(|script| script.token = Some(answer.clone()));
        let Err(SignInError::Failed(fault)) = liar.sign_in().await else { panic!("{answer:?}") };
        assert!(fault.culprit == culprit && fault.public.contains(words), "{answer:?}: {fault:?}");
        assert!(!fault.private.contains("hunter2"));
    }
    let liar = Liar::start().await;
    let left = liar.leave().await;
    let declined = Answer { error: Some("access_denied".to_owned()), ..liar.answer(&left) };
    let told = liar.providers.finish("company", liar.returning(), &declined).await.unwrap_err();
    assert!(matches!(told.error, SignInError::Declined));
    assert_eq!(told.departure, Some((Purpose::SignIn, "/back".to_owned())));
}

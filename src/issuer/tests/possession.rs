//! DPoP at the token endpoint.

use super::*;
use crate::devkit::prover::Prover;

const TOKEN: &str = "https://notes.gw.example/token";

impl World {
    async fn proving(&self, form: &[(&str, &str)], proof: Option<&str>) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::post(TOKEN).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        self.send(request.body(Body::from(form)).unwrap()).await
    }

    fn proof(&self, prover: &Prover) -> String {
        prover.proof("POST", TOKEN, None, self.issuer.clock.now())
    }

    async fn exchange_proving(&self, client: &str, code: &str, prover: Option<&Prover>) -> Reply {
        let form =
            [("grant_type", "authorization_code"), ("client_id", client), ("code", code), ("code_verifier", VERIFIER)];
        self.proving(&form, prover.map(|prover| self.proof(prover)).as_deref()).await
    }

    async fn refresh_proving(&self, client: &str, token: &str, prover: Option<&Prover>) -> Reply {
        let form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)];
        self.proving(&form, prover.map(|prover| self.proof(prover)).as_deref()).await
    }

    fn bound_to(&self, tokens: &Value) -> Option<String> {
        let token = self.issuer.tokens.verify(tokens["access_token"].as_str().unwrap()).unwrap();
        token.confirmation.as_deref().map(str::to_owned)
    }
}

#[tokio::test]
async fn b47_tokens_are_bound_to_the_key_and_so_is_a_public_client_s_refresh_token() {
    let (world, key, other) = (World::new().await, Prover::new().unwrap(), Prover::new().unwrap());
    let client = world.client(NOTES).await;
    let code = world.code(&client, "read").await;
    let tokens = world.exchange_proving(&client, &code, Some(&key)).await.json();
    assert_eq!((&tokens["token_type"], world.bound_to(&tokens)), (&json!("DPoP"), Some(key.thumbprint())));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(world.refresh_proving(&client, refresh, Some(&other)).await.error(), "invalid_grant");
    let without = world.refresh_proving(&client, refresh, None).await;
    assert_eq!((without.error().as_str(), without.headers.contains_key("dpop-nonce")), ("invalid_dpop_proof", true));
    let tokens = world.refresh_proving(&client, refresh, Some(&key)).await.json();
    assert_eq!((&tokens["token_type"], world.bound_to(&tokens)), (&json!("DPoP"), Some(key.thumbprint())));
    let successor = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(world.refresh_proving(&client, successor, Some(&other)).await.error(), "invalid_grant");
    assert_eq!(world.refresh_proving(&client, successor, Some(&key)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn whoever_begins_to_prove_is_bound_from_then_on() {
    let (world, key) = (World::new().await, Prover::new().unwrap());
    let client = world.client(NOTES).await;
    let tokens = world.signed_in(&client, "").await;
    assert_eq!(tokens["token_type"], json!("Bearer"));
    let tokens = world.refresh_proving(&client, tokens["refresh_token"].as_str().unwrap(), Some(&key)).await.json();
    assert_eq!(tokens["token_type"], json!("DPoP"));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(world.refresh_proving(&client, refresh, None).await.error(), "invalid_dpop_proof");
}

#[tokio::test]
async fn a_confidential_client_s_refresh_token_is_bound_to_the_client() {
    let (world, key) = (World::new().await, Prover::new().unwrap());
    let metadata = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "client_secret_post"});
    let client = world.register(NOTES, metadata).await.json();
    let (id, secret) = (client["client_id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    let code = world.code(id, "").await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", id),
        ("client_secret", secret),
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
    ];
    let tokens = world.proving(&form, Some(&world.proof(&key))).await.json();
    assert_eq!(tokens["token_type"], json!("DPoP"));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form =
        [("grant_type", "refresh_token"), ("client_id", id), ("client_secret", secret), ("refresh_token", refresh)];
    let tokens = world.proving(&form, None).await.json();
    assert_eq!(tokens["token_type"], json!("Bearer"));
}

#[tokio::test]
async fn b9_b47_a_code_can_be_bound_from_the_beginning() {
    let (world, key, other) = (World::new().await, Prover::new().unwrap(), Prover::new().unwrap());
    let client = world.client(NOTES).await;
    let refused = world.browse(&authorize("notes", &client, &[("dpop_jkt", "short")])).await.answer();
    assert_eq!(refused["error"], "invalid_request");
    let page = world.browse(&authorize("notes", &client, &[("dpop_jkt", &key.thumbprint())])).await;
    let decided = world.decide("client", &page, "approve").await;
    let code = world.browse(decided.location()).await.answer()["code"].clone();
    assert_eq!(world.exchange_proving(&client, &code, Some(&other)).await.error(), "invalid_grant");
    assert_eq!(world.exchange_proving(&client, &code, None).await.error(), "invalid_dpop_proof");
    assert_eq!(world.exchange_proving(&client, &code, Some(&key)).await.status, StatusCode::OK, "nothing was consumed");
}

#[tokio::test]
async fn b21_a_client_that_registered_it_must_send_proofs() {
    let (world, key) = (World::new().await, Prover::new().unwrap());
    let metadata = json!({
        "redirect_uris": [CALLBACK],
        "token_endpoint_auth_method": "none",
        "dpop_bound_access_tokens": true,
    });
    let client = world.register(NOTES, metadata).await.json();
    assert_eq!(client["dpop_bound_access_tokens"], json!(true));
    let id = client["client_id"].as_str().unwrap();
    let code = world.code(id, "").await;
    assert_eq!(world.exchange_proving(id, &code, None).await.error(), "invalid_request");
    assert_eq!(world.exchange_proving(id, &code, Some(&key)).await.status, StatusCode::OK);
    let wrong = json!({"redirect_uris": [CALLBACK], "dpop_bound_access_tokens": "yes"});
    assert_eq!(world.register(NOTES, wrong).await.error(), "invalid_client_metadata");
}

#[tokio::test]
async fn b47_a_bad_proof_buys_nothing() {
    let (world, key) = (World::new().await, Prover::new().unwrap());
    let client = world.client(NOTES).await;
    let code = world.code(&client, "").await;
    let now = world.issuer.clock.now();
    let form =
        [("grant_type", "authorization_code"), ("client_id", &client), ("code", &code), ("code_verifier", VERIFIER)];
    let mut foreign_nonce = key.claims("POST", TOKEN, None, now);
    foreign_nonce["nonce"] = json!("theirs");
    for (proof, error) in [
        (key.proof("GET", TOKEN, None, now), "invalid_dpop_proof"),
        (key.proof("POST", "https://files.gw.example/token", None, now), "invalid_dpop_proof"),
        (key.proof("POST", TOKEN, None, now.before(Duration::from_secs(90))), "invalid_dpop_proof"),
        ("x".to_owned(), "invalid_dpop_proof"),
        (key.sign(&key.header(), &foreign_nonce), "use_dpop_nonce"),
    ] {
        let reply = world.proving(&form, Some(&proof)).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, error));
        assert!(reply.headers.contains_key("dpop-nonce"));
        assert!(reply.headers["access-control-expose-headers"].to_str().unwrap().contains("dpop-nonce"));
    }
    let proof = world.proof(&key);
    assert_eq!(world.proving(&form, Some(&proof)).await.status, StatusCode::OK);
    assert_eq!(world.proving(&form, Some(&proof)).await.error(), "invalid_dpop_proof", "before the code is looked at");
}

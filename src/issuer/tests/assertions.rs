//! Clients that sign their requests, `private_key_jwt` (RFC 7523 §3).

use super::*;
use crate::clock::CLOCK_JUMP;
use crate::jose::party::Party;
use http::Method;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A registered client with a key of its own.
struct Signer {
    id: String,
    party: Party,
}

impl Signer {
    async fn registered(world: &World, changes: Value) -> Self {
        let party = Party::new();
        let mut metadata = json!({
            "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [party.jwk()]},
        });
        metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let answer = world.register(NOTES, metadata).await.json();
        assert!(answer.get("client_secret").is_none() && answer.get("client_secret_expires_at").is_none());
        Self { id: answer["client_id"].as_str().unwrap().to_owned(), party }
    }

    /// Good claims with others in their place; null leaves one out.
    fn claims(&self, world: &World, changes: Value) -> Value {
        let now = world.issuer.clock.now().seconds();
        let jti = world.issuer.random.token();
        let mut claims =
            json!({"iss": self.id, "sub": self.id, "aud": NOTES, "iat": now, "exp": now + 300, "jti": *jti});
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    fn assertion(&self, world: &World, changes: Value) -> String {
        self.party.sign(&json!({"alg": "ES256", "typ": "JWT"}), &self.claims(world, changes))
    }
}

/// What the token endpoint says to an assertion; a code that does not exist means that the client was believed.
async fn verdict(world: &World, assertion: &str) -> (StatusCode, String) {
    let form = [
        ("grant_type", "authorization_code"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
        ("code", "x"),
        ("code_verifier", VERIFIER),
    ];
    let reply = world.post(&format!("{NOTES}/token"), &form).await;
    (reply.status, reply.error())
}

fn believed() -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, "invalid_grant".to_owned())
}

fn refused() -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, "invalid_client".to_owned())
}

#[tokio::test]
async fn b21_a_client_that_signs_gets_its_tokens_with_a_signature_only() {
    let world = World::new().await;
    let client = Signer::registered(&world, json!({})).await;
    let code = world.code(&client.id, "").await;
    let unsigned = world.exchange(&client.id, &code, &[]).await;
    assert_eq!((unsigned.status, unsigned.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_client"));
    let secret = world.exchange(&client.id, &code, &[("client_secret", "x")]).await;
    assert_eq!(secret.error(), "invalid_client");
    let sign = || client.assertion(&world, json!({}));
    fn signed(assertion: &str) -> [(&str, &str); 2] {
        [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]
    }
    let tokens = world.exchange(&client.id, &code, &signed(&sign())).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let refresh = tokens.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(world.refresh(&client.id, &refresh, &[]).await.error(), "invalid_client");
    assert_eq!(world.refresh(&client.id, &refresh, &signed(&sign())).await.status, StatusCode::OK);
    // The neighbours of the token endpoint ask for the same.
    let revoke = |form: Vec<(&'static str, String)>| {
        let world = &world;
        async move {
            let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
            world.post(&format!("{NOTES}/revoke"), &form).await.status
        }
    };
    let bare = vec![("token", refresh.clone()), ("client_id", client.id.clone())];
    assert_eq!(revoke(bare).await, StatusCode::UNAUTHORIZED);
    let signed =
        vec![("token", refresh), ("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", sign())];
    assert_eq!(revoke(signed).await, StatusCode::OK);
}

#[tokio::test]
async fn b21_an_assertion_is_the_client_s_own_for_us_and_young() {
    let world = World::new().await;
    let (client, other) = (Signer::registered(&world, json!({})).await, Signer::registered(&world, json!({})).await);
    let now = world.issuer.clock.now().seconds();
    let token_endpoint = format!("{NOTES}/token");
    for changes in [
        json!({}),
        json!({"aud": token_endpoint}),
        json!({"aud": [NOTES, token_endpoint]}),
        json!({"aud": format!("{NOTES}/")}),
        json!({"iat": null}),
        json!({"jti": null}),
        json!({"exp": now - 30}),
        json!({"exp": now + 900 + 30}),
        json!({"nbf": now + 30}),
    ] {
        assert_eq!(verdict(&world, &client.assertion(&world, changes.clone())).await, believed(), "{changes}");
    }
    for changes in [
        json!({"iss": other.id}),
        json!({"sub": other.id}),
        json!({"iss": other.id, "sub": other.id}),
        json!({"aud": "https://files.gw.example"}),
        json!({"aud": [NOTES, "https://other.example"]}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"exp": null}),
        json!({"exp": now - 61}),
        json!({"exp": now + 3600}),
        json!({"exp": "soon"}),
        json!({"nbf": now + 120}),
        json!({"iat": now + 120}),
    ] {
        assert_eq!(verdict(&world, &client.assertion(&world, changes.clone())).await, refused(), "{changes}");
    }
    let claims = client.claims(&world, json!({}));
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "ES256", "typ": "at+jwt"}),
        json!({"alg": "ES256", "typ": "dpop+jwt"}),
        json!({"alg": "ES256", "typ": "oauth-id-jag+jwt"}),
        json!({"alg": "ES256", "crit": ["x"]}),
    ] {
        assert_eq!(verdict(&world, &client.party.sign(&header, &claims)).await, refused(), "{header}");
    }
    assert_eq!(verdict(&world, &other.party.sign(&json!({"alg": "ES256"}), &claims)).await, refused());
    for garbage in ["x", "a.b.c", "..", &"x".repeat(20_000)] {
        assert_eq!(verdict(&world, garbage).await, refused(), "{garbage:.20}");
    }
}

#[tokio::test]
async fn b21_an_assertion_works_once_also_with_another_signature_and_after_a_restart() {
    let world = World::new().await;
    let client = Signer::registered(&world, json!({})).await;
    for jti in [json!("one"), Value::Null] {
        let claims = client.claims(&world, json!({ "jti": jti }));
        let sign = || client.party.sign(&json!({"alg": "ES256"}), &claims);
        assert_eq!(verdict(&world, &sign()).await, believed());
        // The same claims signed again, as whoever turns ECDSA's s around could do without the key.
        assert_eq!(verdict(&world, &sign()).await, refused());
    }
    let raced = client.assertion(&world, json!({}));
    let verdicts = futures_util::future::join_all((0..20).map(|_| verdict(&world, &raced))).await;
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == believed()).count(), 1);
    // Another client's assertion of the same name is another assertion; and it is in the database, not in memory.
    let other = Signer::registered(&world, json!({})).await;
    assert_eq!(verdict(&world, &other.assertion(&world, json!({"jti": "one"}))).await, believed());
    let now = world.issuer.clock.now();
    world.issuer.store.sweep(now, Duration::ZERO, Duration::from_secs(3600)).await.unwrap();
    assert_eq!(verdict(&world, &client.assertion(&world, json!({"jti": "one"}))).await, refused());
    let later = now.after(Duration::from_secs(3600) + CLOCK_JUMP);
    world.issuer.store.sweep(later, Duration::ZERO, Duration::from_secs(24 * 3600)).await.unwrap();
    assert_eq!(verdict(&world, &client.assertion(&world, json!({"jti": "one"}))).await, believed());
}

#[tokio::test]
async fn b21_the_registered_algorithm_is_the_only_one() {
    let world = World::new().await;
    let client = Signer::registered(&world, json!({"token_endpoint_auth_signing_alg": "RS256"})).await;
    assert_eq!(verdict(&world, &client.assertion(&world, json!({}))).await, refused());
    let client = Signer::registered(&world, json!({"token_endpoint_auth_signing_alg": "ES256"})).await;
    assert_eq!(verdict(&world, &client.assertion(&world, json!({}))).await, believed());
}

/// Serves a metadata document with a key set beside it.
async fn serve(members: Value, party: &Party) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let mut document = json!({
        "client_id": format!("{origin}/client.json"), "redirect_uris": [CALLBACK], "jwks_uri": format!("{origin}/jwks"),
    });
    document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let keys = json!({"keys": [party.jwk()]});
    let app = Router::new()
        .route("/client.json", get(move || std::future::ready(axum::Json(document))))
        .route("/jwks", get(move || std::future::ready(axum::Json(keys))));
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("{origin}/client.json")
}

#[tokio::test]
async fn b36_a_document_s_client_signs_or_does_not_as_the_document_says() {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.issuer).unwrap().allow_private_documents = true;
    let signing = json!({"token_endpoint_auth_method": "private_key_jwt"});
    let either = json!({
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
    });
    let public = json!({"token_endpoint_auth_method": "none"});
    for (document, unsigned_is_good, signed_is_good) in
        [(signing, false, true), (either, true, true), (public, true, false)]
    {
        let party = Party::new();
        let client = Signer { id: serve(document.clone(), &party).await, party };
        let good = |is_good: bool| if is_good { "invalid_grant" } else { "invalid_client" };
        assert_eq!(world.exchange(&client.id, "x", &[]).await.error(), good(unsigned_is_good), "{document}");
        let (_, error) = verdict(&world, &client.assertion(&world, json!({}))).await;
        assert_eq!(error, good(signed_is_good), "{document}");
        let forged = Signer { id: client.id.clone(), party: Party::new() };
        assert_eq!(verdict(&world, &forged.assertion(&world, json!({}))).await, refused());
    }
}

#[tokio::test]
async fn a_client_whose_keys_cannot_be_had_is_asked_to_come_back() {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.issuer).unwrap().allow_private_documents = true;
    let party = Party::new();
    let metadata = json!({
        "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": "http://127.0.0.1:1/jwks",
    });
    let answer = world.register(NOTES, metadata.clone()).await.json();
    let client = Signer { id: answer["client_id"].as_str().unwrap().to_owned(), party };
    let (status, error) = verdict(&world, &client.assertion(&world, json!({}))).await;
    assert_eq!((status, error.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"));
    // Where nothing private may be asked, such an address is not even kept.
    Arc::get_mut(&mut world.issuer).unwrap().allow_private_documents = false;
    assert_eq!(world.register(NOTES, metadata).await.error(), "invalid_client_metadata");
    assert_eq!(verdict(&world, &client.assertion(&world, json!({}))).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn b15_the_metadata_name_the_methods_and_their_algorithms() {
    let world = World::new().await;
    let metadata = world.get(&format!("{NOTES}/.well-known/oauth-authorization-server")).await.json();
    for endpoint in ["token", "revocation", "introspection"] {
        let methods = metadata[format!("{endpoint}_endpoint_auth_methods_supported")].as_array().unwrap();
        assert!(methods.contains(&json!("private_key_jwt")), "{endpoint}");
        let algorithms = metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")].as_array().unwrap();
        assert!(algorithms.contains(&json!("ES256")) && !algorithms.contains(&json!("none")), "{endpoint}");
    }
    assert!(metadata["token_endpoint_auth_methods_supported"].as_array().unwrap().contains(&json!("none")));
    let options = Request::builder().method(Method::OPTIONS).uri(format!("{NOTES}/register/x"));
    let preflight = world.send(options.body(Body::empty()).unwrap()).await;
    assert!(preflight.header(header::ACCESS_CONTROL_ALLOW_METHODS).contains("PUT"));
}

//! Identity assertions of a provider (ID-JAG), as grants.

use super::*;
use crate::config::Allowed;
use crate::jose::party::Party;
use crate::store::LinkedIdentity;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SUBJECT: &str = "U019488227";

/// An identity provider that is trusted with assertions, and a client of ours that it knows.
struct Enterprise {
    world: World,
    issuer: String,
    party: Party,
    /// The client's Basic header.
    client: String,
}

impl Enterprise {
    async fn new() -> Self {
        Self::with(true).await
    }

    async fn with(id_jag: bool) -> Self {
        let mut world = World::new().await;
        let party = Party::new();
        let issuer = serve(&party).await;
        let trusted = Providers::new(tools(&world), &login(vec![provider(&issuer, id_jag)]));
        Arc::get_mut(&mut world.issuer).unwrap().providers = Arc::new(trusted);
        let client = world.service("agent", &[JWT_BEARER]).await;
        let identity = LinkedIdentity {
            issuer: issuer.clone(),
            subject: SUBJECT.to_owned(),
            provider: "corp".to_owned(),
            user: world.alice.id,
            name: "alice".to_owned(),
            email: None,
            created_at: world.issuer.clock.now(),
            last_used_at: world.issuer.clock.now(),
        };
        world.issuer.store.link_identity(&identity).await.unwrap();
        Self { world, issuer, party, client }
    }

    /// A good assertion with other claims in place of its own; null leaves one out.
    fn assertion(&self, changes: Value) -> String {
        self.party.sign(&json!({"alg": "ES256", "typ": "oauth-id-jag+jwt"}), &self.claims(changes))
    }

    fn claims(&self, changes: Value) -> Value {
        let now = self.world.issuer.clock.now().seconds();
        let mut claims = json!({
            "iss": self.issuer,
            "sub": SUBJECT,
            "aud": NOTES,
            "client_id": "agent",
            "jti": *self.world.issuer.random.token(),
            "iat": now,
            "exp": now + 300,
            "resource": "https://notes.gw.example/mcp",
            "scope": "read write",
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    async fn present(&self, assertion: &str, changes: &[(&str, &str)]) -> Reply {
        let form = changed(&[("grant_type", JWT_BEARER), ("assertion", assertion)], changes);
        self.world.post_with(&format!("{NOTES}/token"), &form, Some(&self.client)).await
    }
}

fn tools(world: &World) -> Tools {
    let issuer = &world.issuer;
    Tools {
        http: issuer.http.clone(),
        keys: issuer.remote_keys.clone(),
        store: issuer.store.clone(),
        vault: issuer.vault.clone(),
        site: issuer.site.clone(),
        clock: issuer.clock.clone(),
        random: issuer.random.clone(),
    }
}

fn provider(issuer: &str, id_jag: bool) -> OidcLogin {
    OidcLogin {
        name: "corp".to_owned(),
        label: "Corp".to_owned(),
        issuer: issuer.to_owned(),
        client_id: "gateway".to_owned(),
        client_secret: None,
        scopes: "openid".to_owned(),
        allowed_domains: Some(Allowed::Everybody),
        allowed_groups: None,
        admin_groups: Vec::new(),
        groups_claim: "groups".to_owned(),
        id_jag,
        allow_private: true,
    }
}

/// Serves what a provider publishes.
async fn serve(party: &Party) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
    });
    let keys = json!({"keys": [party.jwk()]});
    let document = |document: Value| get(move || std::future::ready(axum::Json(document)));
    let app =
        Router::new().route("/.well-known/openid-configuration", document(metadata)).route("/jwks", document(keys));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    issuer
}

#[tokio::test]
async fn an_assertion_takes_the_place_of_consent() {
    let enterprise = Enterprise::new().await;
    let world = &enterprise.world;
    let answer = enterprise.present(&enterprise.assertion(json!({})), &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let answer = answer.json();
    assert_eq!((text(&answer, "token_type"), text(&answer, "scope")), ("Bearer", "read write"));
    assert!(answer.get("refresh_token").is_none() && answer.get("issued_token_type").is_none());
    let verified = world.issuer.tokens.verify(text(&answer, "access_token")).unwrap();
    assert_eq!((verified.user, &*verified.client_id), (world.alice.id, "agent"));
    assert_eq!((&*verified.audience, verified.actor.as_deref()), ("https://notes.gw.example/mcp", None));

    // One grant, however often the provider says so; it ends like any other.
    let narrow = enterprise.assertion(json!({"scope": "read"}));
    let again = enterprise.present(&narrow, &[("scope", "read admin")]).await.json();
    assert_eq!(text(&again, "scope"), "read");
    assert_eq!(world.issuer.store.grants_of(world.alice.id).await.unwrap().len(), 1);
    world.issuer.revocations.grant(verified.grant()).await.unwrap();
    assert!(world.issuer.tokens.verify(text(&again, "access_token")).is_err());
    assert_eq!(enterprise.present(&enterprise.assertion(json!({})), &[]).await.status, StatusCode::OK);

    let metadata = world.get(&format!("{NOTES}/.well-known/oauth-authorization-server")).await.json();
    let profiles = json!(["urn:ietf:params:oauth:grant-profile:id-jag"]);
    assert_eq!(metadata["authorization_grant_profiles_supported"], profiles);
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(JWT_BEARER)));
}

#[tokio::test]
async fn an_assertion_for_somebody_or_something_else_is_worth_nothing() {
    let enterprise = Enterprise::new().await;
    let now = enterprise.world.issuer.clock.now().seconds();
    for changes in [
        json!({"aud": "https://files.gw.example"}),
        json!({"aud": "https://notes.gw.example/mcp"}),
        json!({"aud": [NOTES, "https://files.gw.example"]}),
        json!({"aud": []}),
        json!({"aud": "https://notes.gw.example//"}),
        json!({"client_id": "another"}),
        json!({"client_id": null}),
        json!({"sub": "somebody-else"}),
        json!({"sub": "alice", "email": "alice@example.com", "email_verified": true}),
        json!({"iss": "https://another.example"}),
        json!({"iss": null}),
        json!({"exp": now - 100, "iat": now - 200}),
        json!({"exp": now + 7200}),
        json!({"exp": null}),
        json!({"iat": now + 100}),
        json!({"iat": null}),
        json!({"nbf": now + 100}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"tenant": "acme"}),
        json!({"cnf": {"x5t#S256": "thumbprint"}}),
        json!({"resource": "https://files.gw.example/mcp"}),
        json!({"resource": ["https://notes.gw.example/mcp", "https://notes.gw.example/other"]}),
        json!({"resource": []}),
        json!({"scope": "re\"ad"}),
    ] {
        let reply = enterprise.present(&enterprise.assertion(changes.clone()), &[]).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_grant"), "{changes}");
    }
    let bound = enterprise.assertion(json!({"cnf": {"jkt": "thumbprint"}}));
    assert_eq!(enterprise.present(&bound, &[]).await.error(), "invalid_dpop_proof");
    let good = || enterprise.assertion(json!({}));
    for (changes, error) in [
        ([("resource", "https://notes.gw.example/other")], "invalid_grant"),
        ([("resource", "https://files.gw.example/mcp")], "invalid_grant"),
        ([("scope", "admin")], "invalid_scope"),
        ([("assertion", "")], "invalid_request"),
        ([("assertion", "a.b.c")], "invalid_grant"),
    ] {
        assert_eq!(enterprise.present(&good(), &changes).await.error(), error, "{changes:?}");
    }
    assert!(enterprise.world.issuer.store.grants_of(enterprise.world.alice.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn b31_b32_the_resource_is_the_asserted_one() {
    let enterprise = Enterprise::new().await;
    for (asserted, asked, audience) in [
        (json!(null), "", "https://notes.gw.example/mcp"),
        (json!(null), "https://notes.gw.example/tools", "https://notes.gw.example/tools"),
        (json!([NOTES]), "", NOTES),
        (
            json!(["https://notes.gw.example/a", "https://notes.gw.example/b"]),
            "https://notes.gw.example/b",
            "https://notes.gw.example/b",
        ),
    ] {
        let assertion = enterprise.assertion(json!({"resource": asserted}));
        let answer = enterprise.present(&assertion, &[("resource", asked)]).await.json();
        let verified = enterprise.world.issuer.tokens.verify(text(&answer, "access_token")).unwrap();
        assert_eq!(&*verified.audience, audience);
    }
}

#[tokio::test]
async fn only_the_provider_signs_assertions_and_only_of_this_kind() {
    let enterprise = Enterprise::new().await;
    let claims = enterprise.claims(json!({}));
    let header = json!({"alg": "ES256", "typ": "oauth-id-jag+jwt"});
    for header in
        [json!({"alg": "ES256"}), json!({"alg": "ES256", "typ": "JWT"}), json!({"alg": "ES256", "typ": "at+jwt"})]
    {
        assert_eq!(enterprise.present(&enterprise.party.sign(&header, &claims), &[]).await.error(), "invalid_grant");
    }
    assert_eq!(enterprise.present(&Party::new().sign(&header, &claims), &[]).await.error(), "invalid_grant");
    let unsigned = enterprise.party.sign(&json!({"alg": "none", "typ": "oauth-id-jag+jwt"}), &claims);
    assert_eq!(enterprise.present(&unsigned, &[]).await.error(), "invalid_grant");
    assert_eq!(enterprise.present(&enterprise.party.sign(&header, &claims), &[]).await.status, StatusCode::OK);

    // A provider for sign-in alone is not one for this.
    let enterprise = Enterprise::with(false).await;
    let refused = enterprise.present(&enterprise.assertion(json!({})), &[]).await;
    assert_eq!(refused.error(), "unsupported_grant_type");
}

#[tokio::test]
async fn an_assertion_works_once() {
    let enterprise = Enterprise::new().await;
    let assertion = enterprise.assertion(json!({}));
    // What could not have worked did not use it up.
    assert_eq!(enterprise.present(&assertion, &[("scope", "admin")]).await.error(), "invalid_scope");
    let attempts = (0..20).map(|_| enterprise.present(&assertion, &[]));
    let replies = futures_util::future::join_all(attempts).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == StatusCode::OK).count(), 1);
    // Not even under another signature, which costs its signer nothing.
    let claims = enterprise.claims(json!({"jti": "one"}));
    let header = json!({"alg": "ES256", "typ": "oauth-id-jag+jwt"});
    let signed = || enterprise.party.sign(&header, &claims);
    assert_eq!(enterprise.present(&signed(), &[]).await.status, StatusCode::OK);
    assert_eq!(enterprise.present(&signed(), &[]).await.error(), "invalid_grant");
}

#[tokio::test]
async fn assertions_are_for_clients_that_an_administrator_made() {
    let enterprise = Enterprise::new().await;
    let world = &enterprise.world;
    let (id, basic) = world.confidential().await;
    let form = [("grant_type", JWT_BEARER), ("assertion", &enterprise.assertion(json!({"client_id": id})))];
    let reply = world.post_with(&format!("{NOTES}/token"), &form, Some(&basic)).await;
    assert_eq!(reply.error(), "unauthorized_client");
    world.issuer.store.set_user_disabled(world.alice.id, true).await.unwrap();
    assert_eq!(enterprise.present(&enterprise.assertion(json!({})), &[]).await.error(), "invalid_grant");
}

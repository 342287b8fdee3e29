//! Token exchange (RFC 8693).

use super::introspection::inactive;
use super::*;
use crate::devkit::prover::Prover;
use crate::error::Fault;
use crate::ids::Digest;
use crate::store::Client;
use crate::tokens::NewToken;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SECRET: &str = "the secret of the service";

impl World {
    /// The Basic header of a client that an administrator made for these grant types at `notes`.
    pub(super) async fn service(&self, id: &str, grant_types: &[&str]) -> String {
        self.service_with(id, grant_types, Value::Null).await
    }

    /// The same with the scope that it was given.
    async fn service_with(&self, id: &str, grant_types: &[&str], scope: Value) -> String {
        let metadata = json!({
            "scope": scope,
            "client_name": "Service",
            "token_endpoint_auth_method": "client_secret_basic",
            "grant_types": grant_types,
        });
        let client = Client {
            realm: "notes".to_owned(),
            id: id.to_owned(),
            metadata: metadata.to_string(),
            secret: Some(Digest::of(SECRET)),
            registration_token: Digest::of("never given out"),
            created_at: self.issuer.clock.now(),
            last_used_at: None,
            owner: Some(self.alice.id),
            expires_at: None,
        };
        self.issuer.store.insert_client(&client).await.unwrap();
        format!("Basic {}", data_encoding::BASE64.encode(format!("{id}:{}", SECRET.replace(' ', "+")).as_bytes()))
    }

    async fn exchange_token(&self, service: &str, token: &str, changes: &[(&str, &str)]) -> Reply {
        let usual = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
        self.post_with(&format!("{NOTES}/token"), &changed(&usual, changes), Some(service)).await
    }

    /// Another token under the grant of `like`, of this issuer, and bound to a key.
    fn minted(&self, like: &str, issuer: &str, confirmation: Option<&str>) -> Result<String, Fault> {
        let like = self.issuer.tokens.verify(like).unwrap();
        self.issuer.tokens.mint(&NewToken {
            issuer,
            resource: "https://notes.gw.example/mcp",
            user: &self.alice,
            client_id: &like.client_id,
            scope: "read",
            grant: like.grant(),
            ttl: Duration::from_secs(100),
            actor: None,
            confirmation,
        })
    }

    async fn exchange_token_with(&self, service: &str, token: &str, prover: &Prover) -> Reply {
        let form = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let url = format!("{NOTES}/token");
        let request = Request::post(&url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::AUTHORIZATION, service)
            .header("dpop", prover.proof("POST", &url, None, self.issuer.clock.now()));
        self.send(request.body(Body::from(form)).unwrap()).await
    }

    async fn is_good(&self, token: &Value) -> bool {
        self.issuer.tokens.verify(text(token, "access_token")).is_ok()
    }
}

#[tokio::test]
async fn b46_an_exchanged_token_says_who_acts_for_whom() {
    let world = World::new().await;
    let service = world.service("service", &[EXCHANGE]).await;
    let client = world.client(NOTES).await;
    let original = world.signed_in(&client, "read write offline_access").await;
    world.issuer.clock.advance(Duration::from_secs(600));
    let reply = world.exchange_token(&service, text(&original, "access_token"), &[]).await;
    assert_eq!((reply.status, reply.header(header::CACHE_CONTROL)), (StatusCode::OK, "no-store"), "{}", reply.body);
    let answer = reply.json();
    assert_eq!((text(&answer, "issued_token_type"), text(&answer, "token_type")), (ACCESS_TOKEN, "Bearer"));
    assert_eq!((text(&answer, "scope"), answer.get("refresh_token")), ("read write", None));

    let (old, new) = (text(&original, "access_token"), text(&answer, "access_token"));
    let (old, verified) = (world.issuer.tokens.verify(old).unwrap(), world.issuer.tokens.verify(new).unwrap());
    assert_eq!((verified.user, &*verified.client_id), (world.alice.id, "service"));
    assert_eq!((verified.actor.as_deref(), &*verified.audience), (Some("service"), "https://notes.gw.example/mcp"));
    // Never longer than the token that it was given for.
    assert!(verified.expires_at() <= old.expires_at());
    let left = old.expires_at().since(world.issuer.clock.now()).as_secs();
    assert!((left..left + 5).contains(&answer["expires_in"].as_u64().unwrap()), "{answer}");

    // One grant under the person's, in the client's own name, however often it asks.
    assert_eq!(world.recorded("grant.derived").await, 1);
    world.exchange_token(&service, text(&original, "access_token"), &[]).await;
    let grants = world.issuer.store.grants_of(world.alice.id).await.unwrap();
    let derived: Vec<_> = grants.iter().filter(|grant| grant.client_id == "service").collect();
    assert_eq!(derived.iter().map(|grant| grant.client_name.as_str()).collect::<Vec<_>>(), ["Service"]);
    assert!(world.issuer.clock.now().since(derived[0].created_at) < Duration::from_secs(300), "it began just now");
    assert_eq!(world.recorded("grant.derived").await, 1);

    let told = world.introspect(new, &service).await;
    assert_eq!((&told["act"], text(&told, "username")), (&json!({"sub": "service"}), "alice"));
    assert_eq!(world.introspect(text(&original, "access_token"), &service).await, inactive());
}

#[tokio::test]
async fn b46_exchange_never_widens() {
    let world = World::new().await;
    let service = world.service("service", &[EXCHANGE]).await;
    let client = world.client(NOTES).await;
    let original = world.signed_in(&client, "read").await;
    let token = text(&original, "access_token");
    for (changes, error) in [
        (vec![("scope", "read write")], "invalid_scope"),
        (vec![("scope", "admin")], "invalid_scope"),
        (vec![("resource", "https://notes.gw.example")], "invalid_target"),
        (vec![("resource", "https://notes.gw.example/other")], "invalid_target"),
        (vec![("resource", "https://notes.gw.example/mcp/../other")], "invalid_target"),
        (vec![("resource", "https://files.gw.example/mcp")], "invalid_target"),
        (vec![("audience", "https://gw.example/mcp")], "invalid_target"),
        (vec![("audience", "github")], "invalid_target"),
        (
            vec![("resource", "https://notes.gw.example/mcp"), ("audience", "https://notes.gw.example/mcp/x")],
            "invalid_target",
        ),
        (vec![("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")], "invalid_request"),
        (vec![("subject_token_type", "urn:ietf:params:oauth:token-type:id_token")], "invalid_request"),
        (vec![("subject_token_type", "")], "invalid_request"),
        (vec![("subject_token", "")], "invalid_request"),
        (vec![("subject_token", text(&original, "refresh_token"))], "invalid_request"),
        (vec![("actor_token", token), ("actor_token_type", ACCESS_TOKEN)], "invalid_request"),
        (vec![("actor_token", token)], "invalid_request"),
        (vec![("actor_token_type", ACCESS_TOKEN)], "invalid_request"),
    ] {
        let reply = world.exchange_token(&service, token, &changes).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, error), "{changes:?}");
    }
    let narrow = [("resource", "https://notes.gw.example/mcp/tools"), ("requested_token_type", ACCESS_TOKEN)];
    let answer = world.exchange_token(&service, token, &narrow).await.json();
    let verified = world.issuer.tokens.verify(text(&answer, "access_token")).unwrap();
    assert_eq!(&*verified.audience, "https://notes.gw.example/mcp/tools");
    // What an administrator gave the client is as little to be exceeded.
    let modest = world.service_with("modest", &[EXCHANGE], json!("read")).await;
    let wide = world.signed_in(&client, "read write").await;
    let own = world.exchange_token(&modest, text(&wide, "access_token"), &[]).await.json();
    assert_eq!(text(&own, "scope"), "read");
    let refused = world.exchange_token(&modest, text(&wide, "access_token"), &[("scope", "write")]).await;
    assert_eq!(refused.error(), "invalid_scope");
    // Whoever acts for somebody does so directly.
    assert_eq!(world.exchange_token(&service, text(&answer, "access_token"), &[]).await.error(), "invalid_request");
}

#[tokio::test]
async fn b46_only_clients_that_an_administrator_made_exchange_and_only_here() {
    let world = World::new().await;
    let (service, other) = (world.service("service", &[EXCHANGE]).await, world.service("other", &[]).await);
    let ((_, registered), public) = (world.confidential().await, world.client(NOTES).await);
    let original = world.signed_in(&public, "read").await;
    let token = text(&original, "access_token");
    for (client, error) in [(&registered, "unauthorized_client"), (&other, "unauthorized_client")] {
        assert_eq!(world.exchange_token(client, token, &[]).await.error(), error);
    }
    let form = [("grant_type", EXCHANGE), ("client_id", public.as_str()), ("subject_token", token)];
    assert_eq!(world.post(&format!("{NOTES}/token"), &form).await.error(), "unauthorized_client");
    let refused = world.register(NOTES, json!({"redirect_uris": [CALLBACK], "grant_types": [EXCHANGE]})).await;
    assert_eq!(refused.error(), "invalid_client_metadata");

    // A token of another realm.
    let elsewhere = world.minted(token, "https://files.gw.example", None).unwrap();
    assert_eq!(world.exchange_token(&service, &elsewhere, &[]).await.error(), "invalid_request");
    let good = world.minted(token, NOTES, None).unwrap();
    let lives = world.exchange_token(&service, &good, &[]).await.json()["expires_in"].as_u64().unwrap();
    assert!((60..=100).contains(&lives), "what is left of the other one's 100 s: {lives}");
}

#[tokio::test]
async fn b41_b46_whatever_ends_the_consent_ends_what_was_exchanged_under_it() {
    let world = World::new().await;
    let service = world.service("service", &[EXCHANGE]).await;
    let client = world.client(NOTES).await;
    let original = world.signed_in(&client, "read").await;
    let token = text(&original, "access_token");
    let exchanged = world.exchange_token(&service, token, &[]).await.json();
    let again = world.exchange_token(&service, token, &[]).await.json();
    assert_eq!(world.issuer.store.grants_of(world.alice.id).await.unwrap().len(), 2);
    let revoke = [("client_id", client.as_str()), ("token", text(&original, "refresh_token"))];
    assert_eq!(world.post(&format!("{NOTES}/revoke"), &revoke).await.status, StatusCode::OK);
    for token in [&original, &exchanged, &again] {
        assert!(!world.is_good(token).await);
    }
    assert_eq!(world.exchange_token(&service, token, &[]).await.error(), "invalid_request");
}

#[tokio::test]
async fn b35_b42_a_service_ends_what_it_got_and_no_more() {
    let world = World::new().await;
    let (service, other) = (world.service("service", &[EXCHANGE]).await, world.service("other", &[EXCHANGE]).await);
    let client = world.client(NOTES).await;
    let original = world.signed_in(&client, "read").await;
    let token = text(&original, "access_token");
    let (mine, another) = (
        world.exchange_token(&service, token, &[]).await.json(),
        world.exchange_token(&other, token, &[]).await.json(),
    );
    let revoke = async |by: &str, token: &Value| {
        let form = [("token", text(token, "access_token"))];
        assert_eq!(world.post_with(&format!("{NOTES}/revoke"), &form, Some(by)).await.status, StatusCode::OK);
    };
    revoke(&service, &original).await;
    revoke(&service, &another).await;
    assert!(world.is_good(&original).await && world.is_good(&another).await);
    revoke(&service, &mine).await;
    assert!(!world.is_good(&mine).await && world.is_good(&original).await && world.is_good(&another).await);

    let anew = world.exchange_token(&service, token, &[]).await.json();
    assert!(world.is_good(&anew).await);
    world.issuer.revocations.client(Some("notes"), "service").await.unwrap();
    assert!(!world.is_good(&anew).await && world.is_good(&original).await && world.is_good(&another).await);
}

#[tokio::test]
async fn a_person_who_is_disabled_cannot_be_acted_for() {
    let world = World::new().await;
    let service = world.service("service", &[EXCHANGE]).await;
    let client = world.client(NOTES).await;
    let original = world.signed_in(&client, "read").await;
    world.issuer.store.set_user_disabled(world.alice.id, true).await.unwrap();
    let refused = world.exchange_token(&service, text(&original, "access_token"), &[]).await;
    assert_eq!(refused.error(), "invalid_request");
}

#[tokio::test]
async fn b46_b47_a_binding_is_not_lost_by_an_exchange() {
    let world = World::new().await;
    let (key, other) = (Prover::new().unwrap(), Prover::new().unwrap());
    let service = world.service("service", &[EXCHANGE]).await;
    let client = world.client(NOTES).await;
    let original = world.signed_in(&client, "read").await;
    let plain = text(&original, "access_token");
    let bound = world.minted(plain, NOTES, Some(&key.thumbprint())).unwrap();
    assert_eq!(world.exchange_token(&service, &bound, &[]).await.error(), "invalid_dpop_proof");
    assert_eq!(world.exchange_token_with(&service, &bound, &other).await.error(), "invalid_grant");
    for (token, prover) in [(bound.as_str(), &key), (plain, &other)] {
        let answer = world.exchange_token_with(&service, token, prover).await.json();
        assert_eq!(text(&answer, "token_type"), "DPoP");
        let verified = world.issuer.tokens.verify(text(&answer, "access_token")).unwrap();
        assert_eq!(verified.confirmation.as_deref(), Some(prover.thumbprint().as_str()));
        let told = world.introspect(text(&answer, "access_token"), &service).await;
        assert_eq!((&told["token_type"], &told["cnf"]), (&json!("DPoP"), &json!({"jkt": prover.thumbprint()})));
    }
}

//! Machine clients and `client_credentials` (RFC 6749 §4.4).

use super::*;
use crate::hostname::Label;
use crate::machine::{self, CreatedMachineClient, MachineProof, NewMachineClient};
use crate::oauth::grant_type::GrantType;
use crate::oauth::scope::Scopes;
use data_encoding::BASE64;

fn notes() -> Realm {
    Realm::Mcp(Label::parse("notes").unwrap())
}

impl World {
    async fn machine_client(&self, realm: Realm, scope: Option<&str>, grant: GrantType) -> CreatedMachineClient {
        let new = NewMachineClient {
            name: "Nightly".into(),
            owner: self.alice.id,
            realm,
            scope: scope.map(|scope| Scopes::parse(scope).unwrap()),
            grant_types: [grant].into_iter().collect(),
            proof: MachineProof::Secret,
        };
        machine::create(&self.issuer.store, &self.issuer.clock, &self.issuer.random, &new).await.unwrap()
    }

    async fn client_credentials(&self, origin: &str, client: &CreatedMachineClient, more: &[(&str, &str)]) -> Reply {
        let joined = format!("{}:{}", client.id, client.secret.as_ref().unwrap().expose());
        let basic = format!("Basic {}", BASE64.encode(joined.as_bytes()));
        let form = changed(&[("grant_type", "client_credentials")], more);
        self.post_with(&format!("{origin}/token"), &form, Some(&basic)).await
    }
}

#[tokio::test]
async fn a_machine_client_acts_for_its_owner_under_one_grant() {
    let world = World::new().await;
    let client = world.machine_client(notes(), Some("read write"), GrantType::ClientCredentials).await;
    let reply = world.client_credentials(NOTES, &client, &[]).await;
    assert_eq!((reply.status, reply.header(header::CACHE_CONTROL)), (StatusCode::OK, "no-store"), "{}", reply.body);
    let answer = reply.json();
    assert_eq!((&answer["scope"], answer.get("refresh_token")), (&json!("read write"), None));
    let token = world.issuer.tokens.verify(answer["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((token.user, &*token.client_id), (world.alice.id, client.id.as_str()));
    assert_eq!((&*token.issuer, &*token.audience), (NOTES, "https://notes.gw.example/mcp"));
    for _ in 0..5 {
        world.client_credentials(NOTES, &client, &[("scope", "read")]).await;
    }
    let grants = world.issuer.store.grants_of(world.alice.id).await.unwrap();
    assert_eq!((grants.len(), grants[0].client_name.as_str()), (1, "Nightly"));
    assert_eq!(world.recorded("grant.created").await, 1);
    let other =
        world.client_credentials(NOTES, &client, &[("resource", "https://notes.gw.example/other")]).await.json();
    let other = world.issuer.tokens.verify(other["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((&*other.audience, other.grant() == token.grant()), ("https://notes.gw.example/other", false));
}

#[tokio::test]
async fn b25_b31_a_machine_client_gets_no_more_than_it_was_given() {
    let world = World::new().await;
    let client = world.machine_client(notes(), Some("read"), GrantType::ClientCredentials).await;
    let narrow = world.client_credentials(NOTES, &client, &[("scope", "read offline_access")]).await.json();
    assert_eq!((&narrow["scope"], narrow.get("refresh_token")), (&json!("read"), None));
    assert_eq!(world.client_credentials(NOTES, &client, &[("scope", "read admin")]).await.error(), "invalid_scope");
    let foreign = [("resource", "https://files.gw.example/mcp")];
    assert_eq!(world.client_credentials(NOTES, &client, &foreign).await.error(), "invalid_target");
    assert_eq!(world.client_credentials("https://files.gw.example", &client, &[]).await.error(), "invalid_client");
    assert!(world.issuer.store.grants_of(world.alice.id).await.unwrap().len() <= 1);
    // Without scopes of its own: what is asked for at an MCP hostname, nothing at the root.
    let free = world.machine_client(notes(), None, GrantType::ClientCredentials).await;
    assert_eq!(world.client_credentials(NOTES, &free, &[("scope", "a b")]).await.json()["scope"], json!("a b"));
    let root = world.machine_client(Realm::Root, None, GrantType::ClientCredentials).await;
    assert_eq!(world.client_credentials(ROOT, &root, &[("scope", "admin")]).await.error(), "invalid_scope");
    assert!(world.client_credentials(ROOT, &root, &[]).await.json()["access_token"].is_string());
}

#[tokio::test]
async fn only_a_machine_client_with_the_right_secret_and_grant_type_gets_in() {
    let world = World::new().await;
    let exchanging = world.machine_client(notes(), None, GrantType::TokenExchange).await;
    assert_eq!(world.client_credentials(NOTES, &exchanging, &[]).await.error(), "unauthorized_client");
    let client = world.machine_client(notes(), None, GrantType::ClientCredentials).await;
    let forged =
        CreatedMachineClient { id: client.id.clone(), secret: Some(crate::secret::Secret::new("wrong".into())) };
    let refused = world.client_credentials(NOTES, &forged, &[]).await;
    assert_eq!((refused.status, refused.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_client"));
    assert!(refused.header(header::WWW_AUTHENTICATE).starts_with("Basic"));
    let bare = [("grant_type", "client_credentials"), ("client_id", client.id.as_str())];
    assert_eq!(world.post(&format!("{NOTES}/token"), &bare).await.error(), "invalid_client");
    let registered = world.client(NOTES).await;
    let form = [("grant_type", "client_credentials"), ("client_id", registered.as_str())];
    assert_eq!(world.post(&format!("{NOTES}/token"), &form).await.error(), "unauthorized_client");
    // Nor can a person's browser be sent to us in its name.
    assert_eq!(world.browse(&authorize("notes", &client.id, &[])).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn b35_tokens_of_a_machine_client_end_with_the_grant_the_client_and_the_owner() {
    let world = World::new().await;
    let client = world.machine_client(notes(), None, GrantType::ClientCredentials).await;
    let token = async || {
        let answer = world.client_credentials(NOTES, &client, &[]).await.json();
        answer["access_token"].as_str().unwrap().to_owned()
    };
    let is_alive = |token: &str| world.issuer.tokens.verify(token).is_ok();
    let first = token().await;
    let grant = world.issuer.tokens.verify(&first).unwrap().grant();
    world.issuer.revocations.grant(grant).await.unwrap();
    assert!(!is_alive(&first));
    let second = token().await;
    assert!(is_alive(&second), "its own revocation is no end of the client");
    world.issuer.store.set_user_disabled(world.alice.id, true).await.unwrap();
    assert_eq!(world.client_credentials(NOTES, &client, &[]).await.error(), "invalid_grant");
    world.issuer.store.set_user_disabled(world.alice.id, false).await.unwrap();
    // The person says no: a client that could get another grant at once would make that an empty word.
    let grant = world.issuer.store.grants_of(world.alice.id).await.unwrap().remove(0);
    world.issuer.revocations.withdraw(&grant).await.unwrap();
    assert!(!is_alive(&second));
    assert_eq!(world.client_credentials(NOTES, &client, &[]).await.error(), "invalid_client");

    let client = world.machine_client(notes(), None, GrantType::ClientCredentials).await;
    let answer = world.client_credentials(NOTES, &client, &[]).await.json();
    let last = answer["access_token"].as_str().unwrap();
    world.issuer.revocations.person(world.alice.id).await.unwrap();
    assert!(!is_alive(last));
    assert_eq!(world.client_credentials(NOTES, &client, &[]).await.error(), "invalid_client");
}

#[tokio::test]
async fn a_machine_client_cannot_fill_the_table_and_is_not_swept_unused() {
    let world = World::new().await;
    let client = world.machine_client(notes(), None, GrantType::ClientCredentials).await;
    let later = world.issuer.clock.now().after(Duration::from_secs(90 * 24 * 3600));
    world.issuer.store.sweep(later, Duration::from_secs(3600), Duration::from_secs(3600)).await.unwrap();
    let resource = |number: usize| format!("https://notes.gw.example/{number}");
    for number in 0..64 {
        let reply = world.client_credentials(NOTES, &client, &[("resource", &resource(number))]).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    }
    assert_eq!(
        world.client_credentials(NOTES, &client, &[("resource", &resource(64))]).await.error(),
        "invalid_target"
    );
    assert_eq!(world.client_credentials(NOTES, &client, &[("resource", &resource(0))]).await.status, StatusCode::OK);
}

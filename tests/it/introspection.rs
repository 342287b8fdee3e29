//! Services around the gateway: resource servers that introspect, and services that call with a token of their own for a
//! person.

use crate::client::{Client, mcp_url, send};
use crate::gateway::{Gateway, USER, label};
use crate::upstreams::Notes;
use data_encoding::BASE64;
use http::{Method, StatusCode, header};
use portcullis::apikey::{ApiKeys, ApiScope, NewApiKey};
use portcullis::clock::Clock;
use portcullis::devkit::browser::{Browser, Page};
use portcullis::hostname::Realm;
use portcullis::ids::Random;
use portcullis::machine::{self, MachineProof, NewMachineClient};
use portcullis::oauth::grant_type::GrantType;
use portcullis::store::Store;
use serde_json::{Value, json};

async fn setup() -> (Notes, Gateway, Client) {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    (notes, gateway, client)
}

async fn post(url: &str, authorization: (&str, &str), form: &[(&str, &str)]) -> Page {
    let body = crate::visitors::encoded(form);
    let fields = [authorization, ("content-type", "application/x-www-form-urlencoded")];
    send(&Browser::new().unwrap(), Method::POST, url, &fields, Some(body)).await
}

fn json_of(page: &Page) -> Value {
    serde_json::from_str(&page.body).unwrap_or_else(|_| panic!("not JSON: {}", page.body))
}

#[tokio::test]
async fn b43_a_resource_server_introspects_until_its_key_is_revoked() {
    let (_notes, gateway, client) = setup().await;
    let tokens = client.connect().await;
    let endpoint = client.endpoint("introspection_endpoint");
    // As the command line does it, in another process.
    let store = Store::open(gateway.app().config().store.url.expose()).await.unwrap();
    let keys = ApiKeys::new(store, Clock::system(), Random::default());
    let new = NewApiKey {
        name: "server".to_owned(),
        scopes: vec![ApiScope::Introspect],
        resources: vec![client.resource.clone()],
        ..NewApiKey::default()
    };
    let made = keys.create(&new).await.unwrap();
    let ask = async |token: &str| post(&endpoint, ("x-api-key", made.key.expose()), &[("token", token)]).await;

    let told = json_of(&ask(&tokens.access).await);
    assert_eq!((&told["active"], &told["aud"]), (&json!(true), &json!(client.resource)));
    assert_eq!((&told["username"], &told["client_id"]), (&json!(USER), &json!(client.client_id)));
    assert_eq!(json_of(&ask(&tokens.refresh).await), json!({"active": false}));
    let (elsewhere, _) = gateway.token_for("127.0.0.1:9").await;
    assert_eq!(json_of(&ask(&elsewhere).await), json!({"active": false}));

    assert!(keys.revoke(made.id).await.unwrap());
    let refused = ask(&tokens.access).await;
    assert_eq!((refused.status, &json_of(&refused)["error"]), (StatusCode::UNAUTHORIZED, &json!("invalid_client")));
    assert!(refused.headers.contains_key(header::WWW_AUTHENTICATE));
}

#[tokio::test]
async fn b46_a_service_calls_with_its_own_token_until_the_consent_ends() {
    let (notes, gateway, client) = setup().await;
    let tokens = client.connect().await;
    let app = gateway.app();
    let owner = app.store.user_by_name(USER).await.unwrap().unwrap();
    let new = NewMachineClient {
        name: "summaries".to_owned(),
        owner: owner.id,
        realm: Realm::Mcp(label(&notes.authority())),
        scope: None,
        grant_types: [GrantType::TokenExchange].into_iter().collect(),
        proof: MachineProof::Secret,
    };
    let made = machine::create(&app.store, &gateway.clock, &Random::default(), &new).await.unwrap();
    let basic = format!("{}:{}", made.id, made.secret.unwrap().expose());
    let basic = format!("Basic {}", BASE64.encode(basic.as_bytes()));
    let exchange = async || {
        let form = [
            ("grant_type", GrantType::TokenExchange.as_str()),
            ("subject_token", tokens.access.as_str()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ];
        post(&client.endpoint("token_endpoint"), ("authorization", &basic), &form).await
    };
    let answer = json_of(&exchange().await);
    let own = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let (status, body) = client.call(&own, "whoami").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let told = post(&client.endpoint("introspection_endpoint"), ("authorization", &basic), &[("token", &own)]).await;
    assert_eq!(json_of(&told)["act"], json!({"sub": made.id}));

    let form = [("client_id", client.client_id.as_str()), ("token", &tokens.refresh)];
    let revoked = post(&client.endpoint("revocation_endpoint"), ("accept", "application/json"), &form).await;
    assert_eq!(revoked.status, StatusCode::OK);
    for token in [&own, &tokens.access] {
        assert_eq!(client.call(token, "whoami").await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(json_of(&exchange().await)["error"], "invalid_request");
    let gateway = gateway.restart().await;
    assert_eq!(client.call(&own, "whoami").await.0, StatusCode::UNAUTHORIZED, "not even after a restart");
    drop(gateway);
}

//! Against an upstream with an authorization server.

use super::*;
use crate::connect::tests::World as Connected;
use crate::connect::tests::stranger::Reply;

/// Long before an answer is given up that does not come, also on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(30);

/// Somebody who is connected with the access token `at-1`, and their client.
async fn connected() -> (Connected, Clients, Arc<Client>) {
    let world = Connected::new().await;
    world.connect().await;
    world.stranger.answers("POST /mcp", Reply::Mcp("Bearer at-1"));
    let http = HttpClient::new(Resolver::fixed(HashMap::new()), None).unwrap();
    let health = HealthTable::new(Clock::standing(), Random::default(), 100);
    let clients = clients(http, world.connections.clone(), health, Limits::default());
    let client = open(&world, &clients).await.unwrap();
    (world, clients, client)
}

async fn open(world: &Connected, clients: &Clients) -> Result<Arc<Client>, CallError> {
    let crate::connect::Target::Upstream(authority) = &world.key.target else { panic!("an upstream") };
    let upstream = world.registry.by_authority(authority).unwrap();
    clients.open(&upstream, &principal(world.key.clone(), "a"), None).await
}

async fn list(client: &Client) -> Result<Value, CallError> {
    client.request(call("tools/list", json!({})), &events().0).await
}

#[tokio::test]
async fn a_refused_token_is_refreshed_once_and_the_request_repeated() {
    let (world, _clients, client) = connected().await;
    list(&client).await.unwrap();
    world.stranger.answers("POST /mcp", Reply::Mcp("Bearer at-2"));
    for outcome in futures_util::future::join_all((0..5).map(|_| list(&client))).await {
        outcome.unwrap();
    }
    assert_eq!(world.stranger.count("POST /tenant/token"), 2, "the code and one refresh");
}

#[tokio::test]
async fn a_person_who_is_refused_again_and_again_has_to_consent() {
    let (world, clients, client) = connected().await;
    world.stranger.as_it_should("POST /mcp");
    assert!(matches!(list(&client).await, Err(CallError::NeedsConsent)));
    assert!(matches!(list(&client).await, Err(CallError::NeedsConsent)));
    let asked = world.stranger.count("POST /mcp");
    assert!(matches!(open(&world, &clients).await, Err(CallError::NeedsConsent)));
    assert_eq!(world.stranger.count("POST /mcp"), asked, "the upstream is not asked again");
}

#[tokio::test]
async fn the_end_of_a_connection_ends_what_runs_on_it_and_drops_the_client() {
    let (world, clients, client) = connected().await;
    world.stranger.answers("POST /mcp", Reply::Silence);
    let running = tokio::spawn(async move { list(&client).await });
    let begun = world.stranger.count("POST /mcp");
    while world.stranger.count("POST /mcp") == begun && !running.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.stranger.answers("POST /tenant/token", Reply::Json(400, json!({ "error": "invalid_grant" })));
    let credential = world.connections.credential(&world.key).await.unwrap();
    assert!(world.connections.renew(&world.key, &credential, None).await.is_err());
    let ended = tokio::time::timeout(SOON, running).await.expect("soon");
    assert!(matches!(ended.unwrap(), Err(CallError::NeedsConsent)));
    let dropped = async {
        while clients.count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, dropped).await.expect("soon");
}

#[tokio::test]
async fn more_scope_that_an_upstream_asks_for_is_remembered_for_the_next_consent() {
    let (world, _clients, client) = connected().await;
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"admin\"";
    world.stranger.answers("POST /mcp", Reply::Forbidden(challenge.to_owned()));
    assert!(matches!(list(&client).await, Err(CallError::NeedsConsent)));
    let waiting = world.connections.stepped_up(&world.key).await.unwrap().unwrap().to_string();
    assert!(waiting.contains("admin"), "{waiting}");
    world.stranger.answers("POST /mcp", Reply::Forbidden("Bearer".to_owned()));
    unavailable(list(&client).await);
}

//! What ends here is given back to the upstream's authorization server (RFC 7009).

use super::*;
use crate::audit::Audit;
use crate::config::AuditedRequests;

const METADATA: &str = "GET /.well-known/oauth-authorization-server/tenant";

#[tokio::test]
async fn an_upstream_is_told_where_its_metadata_says() {
    let world = World::new().await;
    let mut metadata = world.stranger.server_metadata();
    metadata["revocation_endpoint"] = format!("{}/tenant/revoke", world.stranger.origin).into();
    world.stranger.answers(METADATA, Reply::Json(200, metadata));
    world.stranger.answers("POST /tenant/revoke", Reply::Text(200, ""));
    world.connect().await;
    // Remembered with the tokens: what the metadata says later sends them nowhere else.
    world.stranger.missing(METADATA);
    assert!(world.store.delete_connection(world.row().await.id).await.unwrap());
    let audit = Audit::new(world.store.clone(), world.clock.clone(), Arc::default(), AuditedRequests::None);
    assert!(!world.connections.give_back(&audit).await);
    let form = world.stranger.last("POST /tenant/revoke").form();
    assert_eq!((form["token"].as_str(), form["client_id"].as_str()), ("rt-1", "dynamic"));
    audit.flush().await;
    let events = world.store.audit(10).await.unwrap();
    assert_eq!(events[0].action, "connection.revoked_at_provider");
    assert_eq!(events[0].subject, format!("ann at {}", world.stranger.authority));
}

#[tokio::test]
async fn an_upstream_without_revocation_is_told_nothing() {
    let world = World::new().await;
    world.connect().await;
    assert!(world.store.delete_connection(world.row().await.id).await.unwrap());
    let audit = Audit::new(world.store.clone(), world.clock.clone(), Arc::default(), AuditedRequests::None);
    assert!(!world.connections.give_back(&audit).await);
    audit.flush().await;
    assert!(world.store.audit(10).await.unwrap().is_empty());
}

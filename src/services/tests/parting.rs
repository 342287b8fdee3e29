//! What ends here is given back at the provider.

use super::*;

const ENDPOINT: &str = "revocation_endpoint = \"{}/revoke\"";

fn keys(preset: &str) -> String {
    format!("preset = \"{preset}\"\nclient_id = \"id\"\nclient_secret = \"secret\"\n{ENDPOINT}")
}

impl World {
    async fn disconnect(&self) {
        assert!(self.services.disconnect(&self.it(), self.user).await.unwrap());
        assert!(self.services.connection(&self.it(), self.user).await.unwrap().is_none());
    }

    async fn actions(&self) -> Vec<String> {
        self.audited().await.into_iter().map(|(action, _)| action).collect()
    }
}

#[tokio::test]
async fn a_disconnected_service_is_told() {
    let world = World::with(&format!("{PLAIN}\n{ENDPOINT}")).await;
    assert!(!world.services.disconnect(&world.it(), world.user).await.unwrap(), "there is none");
    world.connect().await;
    world.stranger.answers("POST /revoke", Reply::Text(200, ""));
    world.disconnect().await;
    assert!(!world.connections.give_back(&world.audit).await);
    let sent = world.stranger.last("POST /revoke");
    assert_eq!(sent.authorization.as_deref(), Some("Basic aWQ6c2VjcmV0"));
    assert_eq!((sent.form()["token"].as_str(), sent.form()["token_type_hint"].as_str()), ("rt-1", "refresh_token"));
    let expected = ("connection.revoked_at_provider".to_owned(), "ann at service:it".to_owned());
    assert_eq!(world.audited().await, [expected]);
    assert!(!world.connections.give_back(&world.audit).await);
    assert_eq!(world.stranger.count("POST /revoke"), 1, "once is enough");
}

#[tokio::test]
async fn the_metadata_may_know_where() {
    let world = World::with(&format!("{PLAIN}\nissuer = \"{{}}/tenant\"")).await;
    let mut metadata = world.stranger.server_metadata();
    metadata["revocation_endpoint"] = format!("{}/tenant/revoke", world.stranger.origin).into();
    world.stranger.answers("GET /.well-known/oauth-authorization-server/tenant", Reply::Json(200, metadata));
    world.stranger.answers("POST /tenant/revoke", Reply::Text(200, ""));
    world.connect().await;
    world.disconnect().await;
    world.connections.give_back(&world.audit).await;
    assert_eq!(world.stranger.last("POST /tenant/revoke").form()["token"], "rt-1");
}

#[tokio::test]
async fn every_provider_is_told_in_its_own_way() {
    for (preset, line, authorization, body) in [
        ("google", "POST /revoke", None, "token=rt-1"),
        ("slack", "POST /revoke", Some("Bearer at-1"), ""),
        ("notion", "POST /revoke", Some("Basic aWQ6c2VjcmV0"), r#"{"token":"at-1"}"#),
        ("asana", "POST /revoke", None, "token=rt-1&token_type_hint=refresh_token&client_id=id&client_secret=secret"),
    ] {
        let world = World::with(&keys(preset)).await;
        world.connect().await;
        world.stranger.answers(line, Reply::Json(200, json!({ "ok": true })));
        world.disconnect().await;
        world.connections.give_back(&world.audit).await;
        let sent = world.stranger.last(line);
        assert_eq!((sent.authorization.as_deref(), sent.body.as_str()), (authorization, body), "{preset}");
        assert_eq!(world.actions().await, ["connection.revoked_at_provider"], "{preset}");
    }
    let github = keys("github").replace("/revoke", "/applications/{client_id}/grant");
    let world = World::with(&github).await;
    world.connect().await;
    world.stranger.answers("DELETE /applications/id/grant", Reply::Text(204, ""));
    world.disconnect().await;
    world.connections.give_back(&world.audit).await;
    let sent = world.stranger.last("DELETE /applications/id/grant");
    assert_eq!(sent.authorization.as_deref(), Some("Basic aWQ6c2VjcmV0"));
    assert_eq!(sent.body, r#"{"access_token":"at-1"}"#);
    assert_eq!(world.actions().await, ["connection.revoked_at_provider"]);
}

#[tokio::test]
async fn a_provider_that_refuses_is_asked_twice_and_that_is_audited() {
    for (reply, told) in [
        (Reply::Text(500, "broken"), "the provider answered 500 Internal Server Error"),
        (Reply::Json(200, json!({ "ok": false, "error": "not_allowed" })), "(not_allowed)"),
        (Reply::Json(400, json!({ "error": "unsupported_token_type" })), "(unsupported_token_type)"),
        (Reply::Silence, "did not answer in time"),
    ] {
        let world = World::with(&format!("{PLAIN}\n{ENDPOINT}")).await;
        world.connect().await;
        world.stranger.answers("POST /revoke", reply);
        world.disconnect().await;
        assert!(world.connections.give_back(&world.audit).await, "again");
        assert!(!world.connections.give_back(&world.audit).await, "not so soon");
        assert_eq!((world.stranger.count("POST /revoke"), world.audited().await.len()), (1, 0));
        world.clock.advance(Duration::from_secs(30));
        assert!(!world.connections.give_back(&world.audit).await);
        let (action, subject) = world.audited().await.remove(0);
        assert_eq!(action, "connection.revocation_failed");
        assert!(subject.starts_with("ann at service:it: ") && subject.contains(told), "{subject}");
        world.clock.advance(Duration::from_secs(3600));
        world.connections.give_back(&world.audit).await;
        assert_eq!(world.stranger.count("POST /revoke"), 2);
    }
}

#[tokio::test]
async fn what_the_provider_has_ended_already_is_no_failure() {
    let world = World::with(&keys("google")).await;
    world.connect().await;
    world.stranger.answers("POST /revoke", Reply::Json(400, json!({ "error": "invalid_token" })));
    world.disconnect().await;
    world.connections.give_back(&world.audit).await;
    assert_eq!(world.actions().await, ["connection.revoked_at_provider"]);
}

/// GitHub says so by 404; of anybody else that means that the address is wrong.
#[tokio::test]
async fn what_is_not_found_is_gone_at_github_only() {
    for (preset, line, status, is_over) in [
        ("github", "DELETE /revoke", 404, true),
        ("github", "DELETE /revoke", 403, false),
        ("google", "POST /revoke", 404, false),
    ] {
        let world = World::with(&keys(preset)).await;
        world.connect().await;
        world.stranger.answers(line, Reply::Text(status, ""));
        world.disconnect().await;
        assert_eq!(world.connections.give_back(&world.audit).await, !is_over, "{preset} {status}");
        assert_eq!(world.actions().await.len(), usize::from(is_over), "{preset} {status}");
    }
}

/// What the configuration says now counts, for the client that it is about.
#[tokio::test]
async fn an_address_that_is_configured_later_is_told_if_it_is_of_the_same_client() {
    for (keys, told) in [(PLAIN.to_owned(), 1), (PLAIN.replace("\"id\"", "\"another\""), 0)] {
        let world = World::new().await;
        world.stranger.answers("POST /revoke", Reply::Text(200, ""));
        world.connect().await;
        world.reconfigure(&format!("{keys}\n{ENDPOINT}"));
        world.disconnect().await;
        world.connections.give_back(&world.audit).await;
        assert_eq!(world.stranger.count("POST /revoke"), told, "{keys}");
    }
}

#[tokio::test]
async fn whoever_has_connected_again_keeps_what_there_is() {
    for (preset, told) in [("google", 0), ("asana", 1)] {
        let world = World::with(&keys(preset)).await;
        world.stranger.answers("POST /revoke", Reply::Text(200, ""));
        world.connect().await;
        world.disconnect().await;
        world.connect().await;
        world.connections.give_back(&world.audit).await;
        assert_eq!(world.stranger.count("POST /revoke"), told, "{preset}");
    }
}

#[tokio::test]
async fn a_person_who_is_removed_leaves_nothing_at_the_provider() {
    let world = World::with(&format!("{PLAIN}\n{ENDPOINT}")).await;
    world.stranger.answers("POST /revoke", Reply::Text(200, ""));
    world.connect().await;
    world.services.put_pat(&world.it(), world.user, &secret("own")).await.unwrap();
    assert!(world.revocations.person(world.user).await.unwrap().is_some());
    assert!(world.services.pats(world.user).await.unwrap().is_empty());
    world.connections.give_back(&world.audit).await;
    assert_eq!(world.stranger.last("POST /revoke").form()["token"], "rt-1");
}

#[tokio::test]
async fn it_is_told_by_itself_also_after_a_restart() {
    let world = World::with(&format!("{PLAIN}\n{ENDPOINT}")).await;
    world.stranger.answers("POST /revoke", Reply::Text(200, ""));
    world.connect().await;
    // As the command line does it, beside a gateway that learns of it from the journal or at its next start.
    let row = world.row().await;
    assert!(Revocations::beside_a_server(world.store.clone(), world.clock.clone()).connection(row.id).await.unwrap());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let parting = tokio::spawn(world.connections.clone().part(world.audit.clone(), stopped));
    told(&world, 1).await;
    world.connect().await;
    world.disconnect().await;
    told(&world, 2).await;
    stop.send(true).unwrap();
    parting.await.unwrap();
}

/// Waits until the provider has been told so often.
async fn told(world: &World, times: usize) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while world.stranger.count("POST /revoke") < times {
        assert!(std::time::Instant::now() < deadline, "nobody was told");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn where_there_is_no_way_nobody_is_told() {
    let world = World::new().await;
    world.connect().await;
    world.disconnect().await;
    assert!(!world.connections.give_back(&world.audit).await);
    assert!(world.audited().await.is_empty());
    assert!(
        world
            .store
            .take_partings(world.clock.now().after(Duration::from_secs(3600)), world.clock.now())
            .await
            .unwrap()
            .is_empty()
    );
}

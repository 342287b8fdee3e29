use super::*;
use serde_json::json;

const REGISTER: &str = "POST /tenant/register";

#[tokio::test]
async fn a_registration_says_what_we_are_and_is_kept() {
    let world = World::new().await;
    world.redirect("").await;
    world.redirect("").await;
    assert_eq!(world.stranger.count(REGISTER), 1);
    let sent: serde_json::Value = serde_json::from_str(&world.stranger.last(REGISTER).body).unwrap();
    assert_eq!(sent["redirect_uris"], json!(["https://gw.example/oauth/callback"]));
    assert_eq!(sent["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(
        (sent["token_endpoint_auth_method"].as_str(), sent["application_type"].as_str()),
        (Some("none"), Some("web"))
    );
    assert_eq!(sent["client_name"], "Portcullis");
}

#[tokio::test]
async fn what_is_no_registration_is_not_kept() {
    for (status, answer) in [(201, json!({ "client_id": "" })), (400, json!({ "client_id": "x" }))] {
        let world = World::new().await;
        world.stranger.answers(REGISTER, Reply::Json(status, answer));
        assert_eq!(failure(world.begin().await).0, "registration");
        world.stranger.as_it_should(REGISTER);
        let (_, query) = world.redirect("").await;
        assert_eq!((query["client_id"].as_str(), world.stranger.count(REGISTER)), ("dynamic", 2));
    }
}

#[tokio::test]
async fn a_metadata_document_is_preferred_where_it_is_taken() {
    let world = World::new().await;
    let mut metadata = world.stranger.server_metadata();
    metadata["client_id_metadata_document_supported"] = true.into();
    world.stranger.answers("GET /.well-known/oauth-authorization-server/tenant", Reply::Json(200, metadata.clone()));
    let (_, query) = world.redirect("").await;
    assert_eq!(query["client_id"], "https://gw.example/oauth/client-metadata.json");
    assert_eq!(world.stranger.count(REGISTER), 0);

    let world = World::new().await;
    metadata = world.stranger.server_metadata();
    metadata["client_id_metadata_document_supported"] = true.into();
    metadata["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    world.stranger.answers("GET /.well-known/oauth-authorization-server/tenant", Reply::Json(200, metadata));
    let (_, query) = world.redirect("").await;
    assert_eq!(query["client_id"], "dynamic");
}

/// Nobody else can fetch a document from one's own machine.
#[tokio::test]
async fn on_loopback_we_are_a_native_client_without_a_document() {
    let mut world = World::new().await;
    let local = Site::new("localhost", Scheme::Http, 8080);
    world.connections = connections_at(local, (&world.store, &world.vault, &world.registry, &world.clock));
    let mut metadata = world.stranger.server_metadata();
    metadata["client_id_metadata_document_supported"] = true.into();
    world.stranger.answers("GET /.well-known/oauth-authorization-server/tenant", Reply::Json(200, metadata));
    let (_, query) = world.redirect("").await;
    assert_eq!(query["client_id"], "dynamic");
    let sent: serde_json::Value = serde_json::from_str(&world.stranger.last(REGISTER).body).unwrap();
    assert_eq!(sent["application_type"], "native");
    assert_eq!(sent["redirect_uris"], json!(["http://localhost:8080/oauth/callback"]));
}

#[tokio::test]
async fn a_secret_is_kept_sealed_used_and_replaced_before_it_expires() {
    let mut world = World::new().await;
    let expiry = world.clock.now().after(Duration::from_secs(7200)).seconds();
    let registered = json!({
        "client_id": "confidential",
        "client_secret": "canary-secret",
        "client_secret_expires_at": expiry,
        "token_endpoint_auth_method": "client_secret_post",
    });
    world.stranger.answers(REGISTER, Reply::Json(201, registered));
    world.redirect("").await;
    world.restart();
    world.connect().await;
    let form = world.stranger.last("POST /tenant/token").form();
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("confidential", "canary-secret"));
    let kept =
        world.store.upstream_client(&world.stranger.issuer(), "https://gw.example/oauth/callback").await.unwrap();
    let sealed = kept.unwrap().sealed_secret.unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("canary"));
    assert_eq!(world.stranger.count(REGISTER), 1);

    world.clock.advance(Duration::from_secs(3601));
    let Begin::Redirect(_) = world.begin_with("", true).await.unwrap() else { panic!("renewal must ask") };
    assert_eq!(world.stranger.count(REGISTER), 2);
}

#[tokio::test]
async fn a_client_that_is_not_known_any_longer_registers_again() {
    let world = World::new().await;
    let (url, _) = world.redirect("").await;
    world.stranger.answers("POST /tenant/token", Reply::Json(401, json!({ "error": "invalid_client" })));
    let (_, text) = failure(world.connections.finish(&world.session, world.stranger.consent(&url)).await);
    assert!(text.contains("does not know this gateway any longer"), "{text}");
    world.stranger.as_it_should("POST /tenant/token");
    world.connect().await;
    assert_eq!(world.stranger.count(REGISTER), 2);
}

/// Rule 4: which kind of refusal it is decides what a person can do about it.
#[tokio::test]
async fn refusals_say_what_to_do() {
    let described = |error: &str, text: &str| json!({ "error": error, "error_description": text });
    for (reply, told) in [
        (Reply::Text(404, ""), "does not let programs register"),
        (Reply::Text(422, "nope"), "does not let programs register"),
        (Reply::Json(400, described("invalid_redirect_uri", "not on our list")), "allowlist"),
        (Reply::Text(403, "forbidden"), "allowlist"),
        (
            Reply::Json(400, described("invalid_client_metadata", "only http://localhost redirects are taken")),
            "loopback",
        ),
        (Reply::Json(400, described("invalid_client_metadata", "no")), "(invalid_client_metadata)"),
        (Reply::Json(200, json!({ "no": "client" })), "does not let programs register"),
        (Reply::Text(503, ""), "at the moment"),
        (Reply::Text(429, ""), "at the moment"),
    ] {
        let world = World::new().await;
        world.stranger.answers(REGISTER, reply);
        let (step, text) = failure(world.begin().await);
        assert!(step == "registration" && text.contains(told), "{told}: {text}");
    }
    let world = World::new().await;
    let mut metadata = world.stranger.server_metadata();
    metadata.as_object_mut().unwrap().remove("registration_endpoint");
    world.stranger.answers("GET /.well-known/oauth-authorization-server/tenant", Reply::Json(200, metadata));
    let (_, text) = failure(world.begin().await);
    assert!(text.contains("https://gw.example/oauth/callback") && text.contains("client_id"), "{text}");
}

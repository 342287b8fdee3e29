//! Registration, and clients that are URLs.

use super::*;
use http::Method;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn metadata() -> Value {
    json!({"client_name": "Test client", "redirect_uris": [CALLBACK], "x": 1})
}

#[tokio::test]
async fn b34_the_metadata_in_force_comes_back() {
    let world = World::new().await;
    let reply = world.register(NOTES, metadata()).await;
    assert_eq!((reply.status, reply.header(header::CACHE_CONTROL)), (StatusCode::CREATED, "no-store"));
    let client = reply.json();
    assert_eq!(client["token_endpoint_auth_method"], json!("client_secret_basic"));
    assert_eq!((&client["client_secret_expires_at"], &client["redirect_uris"]), (&json!(0), &json!([CALLBACK])));
    assert!(client.get("x").is_none());
    let id = client["client_id"].as_str().unwrap();
    assert_eq!(client["registration_client_uri"], json!(format!("{NOTES}/register/{id}")));
    let mut public = metadata();
    public["token_endpoint_auth_method"] = json!("none");
    assert!(world.register(NOTES, public).await.json().get("client_secret").is_none());
}

#[tokio::test]
async fn b33_bad_redirect_uris_are_refused_in_json() {
    let world = World::new().await;
    for uri in ["javascript:alert(1)", "https://app.example/cb#f", "http://app.example/cb", "https://*.example/cb"] {
        let reply = world.register(NOTES, json!({"redirect_uris": [uri]})).await;
        assert_eq!((reply.status, reply.error().as_str()), (StatusCode::BAD_REQUEST, "invalid_redirect_uri"), "{uri}");
    }
    let huge = json!({"redirect_uris": [CALLBACK], "client_name": "x".repeat(70_000)});
    assert_eq!(world.register(NOTES, huge).await.error(), "invalid_client_metadata");
}

#[tokio::test]
async fn b35_a_registration_is_managed_with_its_token_and_deleted_with_all_its_tokens() {
    let world = World::new().await;
    let registration = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
    let client = world.register(NOTES, registration).await.json();
    let (id, uri) = (client["client_id"].as_str().unwrap(), client["registration_client_uri"].as_str().unwrap());
    let manage = |method: Method, token: &str| {
        let bearer = format!("Bearer {token}");
        let request = Request::builder().method(method).uri(uri).header(header::AUTHORIZATION, bearer);
        world.send(request.body(Body::empty()).unwrap())
    };
    let wrong = manage(Method::GET, "wrong").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.header(header::WWW_AUTHENTICATE).starts_with("Bearer error=\"invalid_token\""));
    let token = client["registration_access_token"].as_str().unwrap();
    assert_eq!(manage(Method::GET, token).await.json()["client_id"], json!(id));

    let tokens = world.signed_in(id, "").await;
    let access_token = tokens["access_token"].as_str().unwrap();
    assert!(world.issuer.tokens.verify(access_token).is_ok());
    assert_eq!(manage(Method::DELETE, token).await.status, StatusCode::NO_CONTENT);
    assert!(world.issuer.tokens.verify(access_token).is_err());
    assert_eq!(manage(Method::GET, token).await.status, StatusCode::UNAUTHORIZED);
    let refreshed = world.refresh(id, tokens["refresh_token"].as_str().unwrap(), &[]).await;
    assert_eq!((refreshed.status, refreshed.error().as_str()), (StatusCode::UNAUTHORIZED, "invalid_client"));
}

#[tokio::test]
async fn a_registration_of_one_hostname_is_worth_nothing_at_another() {
    let world = World::new().await;
    let client = world.client("https://files.gw.example").await;
    assert_eq!(world.browse(&authorize("notes", &client, &[])).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.exchange(&client, "x", &[]).await.error(), "invalid_client");
}

#[tokio::test]
async fn a_pinned_document_serves_when_its_host_cannot_be_reached() {
    let world = World::new().await;
    let client = "https://claude.ai/oauth/mcp-oauth-client-metadata";
    let callback = "https://claude.ai/api/mcp/auth_callback";
    let page = world.browse(&authorize("notes", client, &[("redirect_uri", callback)])).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(page.body.contains("Claude") && page.body.contains("claude.ai"));
    let decided = world.decide("client", &page, "approve").await;
    let answer = world.browse(decided.location()).await;
    assert!(answer.location().starts_with(callback));
    let tokens = world.exchange(client, &answer.answer()["code"], &[("redirect_uri", callback)]).await.json();
    assert!(tokens["refresh_token"].is_string());
}

#[tokio::test]
async fn b36_a_document_that_cannot_be_had_is_no_client() {
    let world = World::new().await;
    for client in ["https://app.example/client.json", "http://app.example/client.json", "https://app.example/"] {
        let reply = world.browse(&authorize("notes", client, &[])).await;
        assert_eq!((reply.status, reply.location()), (StatusCode::BAD_REQUEST, ""), "{client}");
    }
}

/// A server with one metadata document.
struct Documents {
    /// The document's address.
    url: String,
    /// How often it was asked for.
    fetches: Arc<AtomicUsize>,
    /// Whether it is answered with 500.
    broken: Arc<AtomicBool>,
}

/// Serves a metadata document that names itself, or another one.
async fn serve_document(client_id: Option<&'static str>) -> Documents {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/client.json", listener.local_addr().unwrap());
    let document = json!({
        "client_id": client_id.unwrap_or(&url),
        "client_name": "Documented client",
        "redirect_uris": [CALLBACK],
    });
    let (fetches, broken) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let (counter, is_broken) = (fetches.clone(), broken.clone());
    let answer = get(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let answer = (!is_broken.load(Ordering::Relaxed)).then(|| axum::Json(document));
        std::future::ready(answer.ok_or(StatusCode::INTERNAL_SERVER_ERROR))
    });
    let app = Router::new().route("/client.json", answer);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Documents { url, fetches, broken }
}

#[tokio::test]
async fn b36_a_document_is_fetched_kept_and_outlives_its_server() {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.issuer).unwrap().allow_private_documents = true;
    let documents = serve_document(None).await;
    let url = authorize("notes", &documents.url, &[]);
    let page = world.browse(&url).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(page.body.contains("Documented client") && page.body.contains("127.0.0.1"));
    assert_eq!(world.browse(&url).await.status, StatusCode::OK);
    assert_eq!(documents.fetches.load(Ordering::Relaxed), 1);

    world.issuer.clock.advance(Duration::from_secs(2 * 3600));
    world.cookie = cookie_of(&world.issuer.sessions, &world.alice).await;
    assert_eq!(world.browse(&url).await.status, StatusCode::OK);
    assert_eq!(documents.fetches.load(Ordering::Relaxed), 2);

    documents.broken.store(true, Ordering::Relaxed);
    for _ in 1..30 {
        world.issuer.clock.advance(Duration::from_secs(24 * 3600));
        world.cookie = cookie_of(&world.issuer.sessions, &world.alice).await;
        let before = documents.fetches.load(Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(world.browse(&url).await.status, StatusCode::OK);
        }
        assert_eq!(documents.fetches.load(Ordering::Relaxed), before + 1, "not everybody waits for what is broken");
    }
    world.issuer.clock.advance(Duration::from_secs(24 * 3600));
    world.cookie = cookie_of(&world.issuer.sessions, &world.alice).await;
    assert_eq!(world.browse(&url).await.status, StatusCode::BAD_REQUEST, "for thirty days");
}

#[tokio::test]
async fn b36_a_document_must_name_its_own_url() {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.issuer).unwrap().allow_private_documents = true;
    let client = serve_document(Some("https://app.example/client.json")).await.url;
    let reply = world.browse(&authorize("notes", &client, &[])).await;
    assert_eq!((reply.status, reply.location()), (StatusCode::BAD_REQUEST, ""));
    assert_eq!(world.exchange(&client, "x", &[]).await.error(), "invalid_client");
}

#[tokio::test]
async fn b36_a_document_has_a_size() {
    for (padding, status) in
        [(0, StatusCode::OK), (64 * 1024, StatusCode::BAD_REQUEST), (4 << 20, StatusCode::BAD_REQUEST)]
    {
        let mut world = World::new().await;
        Arc::get_mut(&mut world.issuer).unwrap().allow_private_documents = true;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = format!("http://{}/client.json", listener.local_addr().unwrap());
        let document = json!({ "client_id": client, "redirect_uris": [CALLBACK], "more": " ".repeat(padding) });
        let answer = get(move || std::future::ready(axum::Json(document)));
        let server = axum::serve(listener, Router::new().route("/client.json", answer));
        let server = tokio::spawn(async move { server.await });
        let reply = world.browse(&authorize("notes", &client, &[])).await;
        assert_eq!((reply.status, reply.location()), (status, ""), "{padding}: {}", reply.body);
        server.abort();
    }
}

#[tokio::test]
async fn a_client_whose_document_cannot_be_had_is_asked_to_come_back() {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.issuer).unwrap().allow_private_documents = true;
    let documents = serve_document(None).await;
    documents.broken.store(true, Ordering::Relaxed);
    let reply = world.exchange(&documents.url, "x", &[]).await;
    assert_eq!((reply.status, reply.error().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"));
}

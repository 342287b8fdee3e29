//! Consents that people do not want to give again, and those that are always asked for.

use super::*;

const DOCUMENT: &str = "https://claude.ai/oauth/mcp-oauth-client-metadata";

/// The path of an authorization request at `notes`, and what the browser says about who began it.
async fn ask(world: &World, path: &str, site: &str) -> Reply {
    let request = Request::get(format!("{ROOT}{path}")).header(header::COOKIE, &world.cookie);
    world.send(request.header("sec-fetch-site", site).body(Body::empty()).unwrap()).await
}

/// Agrees, with a tick in the box.
async fn agree(world: &World, page: &Reply) {
    let (flow, csrf_token) = (flow_of(page), world.csrf_token().await);
    let form =
        [("flow", flow.as_str()), ("csrf_token", csrf_token.as_str()), ("remember", "yes"), ("decision", "approve")];
    let decided = world.submit("/authorize/notes?decide=client", &form).await;
    assert!(world.browse(decided.location()).await.answer().contains_key("code"));
}

fn offers(page: &Reply) -> bool {
    assert_eq!(page.status, StatusCode::OK, "not asked: {} {}", page.location(), page.body);
    assert!(page.body.contains("name=\"decision\""));
    page.body.contains("name=\"remember\"")
}

fn is_asked(reply: &Reply) -> bool {
    reply.status == StatusCode::OK
}

#[tokio::test]
async fn who_ticks_the_box_is_not_asked_again() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let path = |changes: &[(&str, &str)]| authorize("notes", &client, changes);
    let silently = path(&[("scope", "read"), ("prompt", "none")]);
    let page = ask(&world, &path(&[("scope", "read write")]), "cross-site").await;
    assert!(offers(&page));
    let decided = world.decide("client", &page, "approve").await;
    world.browse(decided.location()).await.answer();
    assert!(is_asked(&ask(&world, &path(&[("scope", "read")]), "cross-site").await), "without a tick");
    assert_eq!(ask(&world, &silently, "cross-site").await.answer()["error"], "interaction_required");

    agree(&world, &ask(&world, &path(&[("scope", "read write")]), "cross-site").await).await;
    for scope in ["read write", "write", "read"] {
        let answer = ask(&world, &path(&[("scope", scope)]), "cross-site").await.answer();
        assert_eq!(world.exchange(&client, &answer["code"], &[]).await.json()["scope"], scope);
    }
    let answer = ask(&world, &silently, "cross-site").await.answer();
    assert_eq!((answer["iss"].as_str(), answer.contains_key("code")), (NOTES, true));

    // More scope, everything, another resource, another realm, another client, another person: asked.
    for changes in [
        &[("scope", "read admin")][..],
        &[],
        &[("scope", "read"), ("resource", "https://notes.gw.example/other")],
        &[("scope", "read"), ("prompt", "consent")],
        &[("scope", "read"), ("prompt", "login consent")],
    ] {
        assert!(is_asked(&ask(&world, &path(changes), "cross-site").await), "{changes:?}");
    }
    let other = world.client(NOTES).await;
    assert!(is_asked(&ask(&world, &authorize("notes", &other, &[("scope", "read")]), "cross-site").await));
    let bob = world.joined_by("bob", Role::Member).await;
    assert!(is_asked(&ask(&bob, &path(&[("scope", "read")]), "cross-site").await));
    assert!(is_asked(&ask(&world, &path(&[("scope", "read admin"), ("prompt", "")]), "none").await));
}

#[tokio::test]
async fn prompt_consent_is_never_remembered() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let page = ask(&world, &authorize("notes", &client, &[("prompt", "consent")]), "none").await;
    assert!(!offers(&page));
    agree(&world, &page).await; // a tick in a box that is not there
    assert!(is_asked(&ask(&world, &authorize("notes", &client, &[]), "none").await));
}

#[tokio::test]
async fn programs_on_this_computer_are_asked_for_each_time() {
    let world = World::new().await;
    let metadata = json!({
        "redirect_uris": [
            CALLBACK,
            "http://localhost/callback",
            "http://127.0.0.1:9/callback",
            "https://localhost/callback",
            "https://127.0.0.1/callback",
            "cursor://anysphere.cursor-mcp/oauth/callback",
        ],
        "token_endpoint_auth_method": "none",
    });
    let client = world.register(NOTES, metadata).await.json()["client_id"].as_str().unwrap().to_owned();
    let at = |uri| authorize("notes", &client, &[("redirect_uri", uri)]);
    // The same client's web application may be remembered, and that helps no other redirect URI of it.
    agree(&world, &ask(&world, &at(CALLBACK), "none").await).await;
    assert!(!is_asked(&ask(&world, &at(CALLBACK), "none").await));
    for uri in [
        "http://localhost:5000/callback",
        "http://127.0.0.1:5000/callback",
        "https://localhost/callback",
        "https://127.0.0.1/callback",
        "cursor://anysphere.cursor-mcp/oauth/callback",
    ] {
        let page = ask(&world, &at(uri), "none").await;
        assert!(!offers(&page), "{uri}");
        agree(&world, &page).await;
        assert!(is_asked(&ask(&world, &at(uri), "none").await), "{uri}");
    }
}

#[tokio::test]
async fn another_host_of_the_same_client_is_asked_for() {
    let world = World::new().await;
    let elsewhere = "https://app.example:8443/callback";
    let metadata = json!({ "redirect_uris": [CALLBACK, elsewhere], "token_endpoint_auth_method": "none" });
    let client = world.register(NOTES, metadata).await.json()["client_id"].as_str().unwrap().to_owned();
    agree(&world, &ask(&world, &authorize("notes", &client, &[]), "none").await).await;
    assert!(!is_asked(&ask(&world, &authorize("notes", &client, &[]), "none").await));
    assert!(is_asked(&ask(&world, &authorize("notes", &client, &[("redirect_uri", elsewhere)]), "none").await));
}

#[tokio::test]
async fn metadata_documents_only_when_the_person_began() {
    let world = World::new().await;
    let redirect = [("redirect_uri", "https://claude.ai/api/mcp/auth_callback")];
    let path = authorize("notes", DOCUMENT, &redirect);
    for site in ["cross-site", "same-site", "same-origin"] {
        let page = ask(&world, &path, site).await;
        assert!(!offers(&page), "{site}");
        agree(&world, &page).await;
    }
    let page = ask(&world, &path, "none").await;
    assert!(offers(&page));
    agree(&world, &page).await;
    assert!(!is_asked(&ask(&world, &path, "none").await));
    for site in ["cross-site", "same-site", "same-origin"] {
        assert!(is_asked(&ask(&world, &path, site).await), "{site}");
    }
    assert!(is_asked(&world.browse(&path).await), "a browser that does not say");
}

#[tokio::test]
async fn it_ends_with_time_with_a_grant_and_with_the_client() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let path = authorize("notes", &client, &[]);
    let day = Duration::from_secs(24 * 3600);
    let sign_in_again = async |world: &mut World| world.cookie = cookie_of(&world.issuer.sessions, &world.alice).await;
    let mut world = world;
    agree(&world, &ask(&world, &path, "none").await).await;
    // Every use prolongs it.
    for _ in 0..2 {
        world.issuer.clock.advance(89 * day);
        sign_in_again(&mut world).await;
        assert!(!is_asked(&ask(&world, &path, "none").await));
    }
    world.issuer.clock.advance(90 * day);
    sign_in_again(&mut world).await;
    let page = ask(&world, &path, "none").await;
    assert!(is_asked(&page));

    agree(&world, &page).await;
    assert!(!is_asked(&ask(&world, &path, "none").await));
    // Any grant of that client at that server.
    let oldest = world.issuer.store.grants_of(world.alice.id).await.unwrap().pop().unwrap();
    world.issuer.revocations.grant(oldest.id).await.unwrap();
    let page = ask(&world, &path, "none").await;
    assert!(is_asked(&page));

    agree(&world, &page).await;
    world.issuer.revocations.client(Some("notes"), &client).await.unwrap();
    let left = world.issuer.store.remembered_consents(world.alice.id, ("notes", &client), world.issuer.clock.now());
    assert!(left.await.unwrap().is_empty());
}

#[tokio::test]
async fn it_skips_a_page_and_no_other_step() {
    let label = "nvrxaltborwgc43tnfqw4ltdn5wq-enc";
    let world = World::with(Unknown::Ask, Role::Member).await;
    let client = world.client(&format!("https://{label}.gw.example")).await;
    let consent = crate::store::RememberedConsent {
        user: world.alice.id,
        realm: label.to_owned(),
        client_id: client.clone(),
        resource: format!("https://{label}.gw.example"),
        redirect_host: "app.example".to_owned(),
        scope: String::new(),
        expires_at: world.issuer.clock.now().after(Duration::from_secs(3600)),
    };
    world.issuer.store.remember_consent(&consent).await.unwrap();
    let reply = ask(&world, &authorize(label, &client, &[]), "none").await;
    assert!(reply.status == StatusCode::FORBIDDEN && reply.body.contains("mcp.atlassian.com"), "{}", reply.body);
    let silent = ask(&world, &authorize(label, &client, &[("prompt", "none")]), "none").await.answer();
    assert_eq!(silent["error"], "interaction_required");
}

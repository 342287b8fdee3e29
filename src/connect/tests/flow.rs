use super::*;
use crate::hostname::Account;

#[tokio::test]
async fn b63_a_complete_flow_ends_with_a_credential_and_survives_a_restart() {
    let mut world = World::new().await;
    assert!(needs_consent(&world.credential().await));
    let (url, query) = world.redirect("").await;
    assert!(url.starts_with(&format!("{}/tenant/authorize?", world.stranger.origin)), "{url}");
    assert_eq!(query["client_id"], "dynamic");
    assert_eq!(query["redirect_uri"], "https://gw.example/oauth/callback");
    assert_eq!(query["scope"], "offline_access read write");
    assert_eq!(query["prompt"], "consent");
    assert_eq!(query["resource"], format!("{}/mcp", world.stranger.origin));

    let back = world.stranger.consent(&url);
    assert_eq!(world.connections.finish(&world.session, back).await.unwrap(), "/go/on");
    let exchange = world.stranger.last("POST /tenant/token").form();
    assert_eq!(exchange["resource"], format!("{}/mcp", world.stranger.origin));
    assert_eq!(
        (exchange["client_id"].as_str(), exchange["redirect_uri"].as_str()),
        ("dynamic", "https://gw.example/oauth/callback")
    );

    assert!(world.connections.cached(&world.key).is_none());
    let credential = world.credential().await.unwrap();
    assert_eq!(bearer(&credential), "Bearer at-1");
    assert!(credential.header().unwrap().1.is_sensitive());
    assert_eq!(world.connections.cached(&world.key).unwrap().version, credential.version);
    assert!(matches!(world.begin().await, Ok(Begin::Connected)));

    world.restart();
    assert!(world.connections.cached(&world.key).is_none());
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-1");
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(bearer(&world.credential().await.unwrap()), "Bearer at-2");
    assert_eq!(world.stranger.last("POST /tenant/token").form()["client_id"], "dynamic");
}

#[tokio::test]
async fn accounts_are_connections_of_their_own() {
    let world = World::new().await;
    world.connect().await;
    let work = ConnectionKey { account: Some(Account::parse("work").unwrap()), ..world.key.clone() };
    assert!(needs_consent(&world.connections.credential(&work).await));
    assert!(world.credential().await.is_ok());
}

/// Security cases A 4 and B 58.
#[tokio::test]
async fn a4_b58_state_is_for_one_browser_once_and_for_ten_minutes() {
    let world = World::new().await;
    let (url, _) = world.redirect("").await;
    let another = Digest::of("another session");
    let (_, text) = failure(world.connections.finish(&another, world.stranger.consent(&url)).await);
    assert!(text.contains("another browser"), "{text}");
    assert_eq!(world.stranger.count("POST /tenant/token"), 0);

    assert!(world.connections.finish(&world.session, world.stranger.consent(&url)).await.is_ok());
    let (_, text) = failure(world.connections.finish(&world.session, world.stranger.consent(&url)).await);
    assert!(text.contains("completed already"), "{text}");

    let Begin::Redirect(url) = world.begin_with("", true).await.unwrap() else { panic!("renewal must ask") };
    world.clock.advance(Duration::from_secs(601));
    let error = world.connections.finish(&world.session, world.stranger.consent(&url)).await.unwrap_err();
    assert_eq!(error.fault.status(), 400);
    let (_, text) = failure(world.connections.finish(&world.session, CallbackQuery::default()).await);
    assert!(text.contains("no state"), "{text}");
    let (_, text) = failure(
        world.connections.finish(&world.session, CallbackQuery { state: Some("x".into()), ..Default::default() }).await,
    );
    assert!(text.contains("begin again"), "{text}");
}

/// Security cases A 42, B 59 and B 60: all four rows of RFC 9207's table, and errors too.
#[tokio::test]
async fn b59_b60_iss_is_compared_before_anything_is_believed() {
    let world = World::new().await;
    let issuer = world.stranger.issuer();
    for (promised, iss, good) in [
        (true, Some(issuer.clone()), true),
        (true, None, false),
        (true, Some(format!("{issuer}/")), false),
        (false, None, true),
        (false, Some(issuer.clone()), true),
        (false, Some("https://evil.example".to_owned()), false),
    ] {
        let mut metadata = world.stranger.server_metadata();
        metadata["authorization_response_iss_parameter_supported"] = promised.into();
        world.stranger.answers("GET /.well-known/oauth-authorization-server/tenant", Reply::Json(200, metadata));
        let before = world.stranger.count("POST /tenant/token");
        let Begin::Redirect(url) = world.begin_with("", true).await.unwrap() else { panic!("renewal must ask") };
        let back = CallbackQuery { iss: iss.clone(), ..world.stranger.consent(&url) };
        let outcome = world.connections.finish(&world.session, back).await;
        assert_eq!(outcome.is_ok(), good, "{promised} {iss:?}");
        assert_eq!(world.stranger.count("POST /tenant/token") - before, usize::from(good));
    }
    let Begin::Redirect(url) = world.begin_with("", true).await.unwrap() else { panic!("renewal must ask") };
    let back = CallbackQuery {
        iss: Some("https://evil.example".to_owned()),
        error: Some("access_denied".to_owned()),
        error_description: Some("call this number".to_owned()),
        ..world.stranger.consent(&url)
    };
    let error = world.connections.finish(&world.session, back).await.unwrap_err();
    assert!(!error.denied && !error.fault.private.contains("number") && !error.fault.public.contains("number"));
}

#[tokio::test]
async fn the_person_may_say_no_and_servers_may_too() {
    let world = World::new().await;
    for (code, denied, told) in [
        ("access_denied", true, "did not give"),
        ("invalid_scope", false, "(invalid_scope)"),
        ("<script>", false, "refused the authorization."),
    ] {
        let (url, _) = world.redirect("").await;
        let back = CallbackQuery { error: Some(code.to_owned()), code: None, ..world.stranger.consent(&url) };
        let error = world.connections.finish(&world.session, back).await.unwrap_err();
        assert_eq!((error.denied, error.return_to.as_deref()), (denied, Some("/go/on")));
        assert!(error.fault.public.contains(told), "{}", error.fault.public);
    }
    let (url, _) = world.redirect("").await;
    let back = CallbackQuery { code: Some("wrong".to_owned()), ..world.stranger.consent(&url) };
    assert_eq!(failure(world.connections.finish(&world.session, back).await).0, "token");
    let (url, _) = world.redirect("").await;
    let back = CallbackQuery { code: None, ..world.stranger.consent(&url) };
    assert!(failure(world.connections.finish(&world.session, back).await).1.contains("without an authorization code"));
    assert!(needs_consent(&world.credential().await));
}

/// Security case B 69: a server that grants less than was asked for is not asked in a circle.
#[tokio::test]
async fn b69_more_scopes_are_asked_for_once_and_none_is_lost() {
    let world = World::new().await;
    let (url, query) = world.redirect("read").await;
    assert_eq!(query["scope"], "offline_access read");
    world.connections.finish(&world.session, world.stranger.consent(&url)).await.unwrap();
    assert!(matches!(world.begin_with("read offline_access", false).await, Ok(Begin::Connected)));
    let (url, query) = world.redirect("write").await;
    assert_eq!(query["scope"], "offline_access read write");
    let granted = serde_json::json!({ "access_token": "a", "token_type": "Bearer", "scope": "read" });
    world.stranger.answers("POST /tenant/token", Reply::Json(200, granted));
    world.connections.finish(&world.session, world.stranger.consent(&url)).await.unwrap();
    assert_eq!(world.row().await.scope, "read");
    assert!(matches!(world.begin_with("write", false).await, Ok(Begin::Connected)));
    assert_eq!(world.connections.usual_scopes(world.authority()).await.to_string(), "read write");
}

#[tokio::test]
async fn headers_and_open_upstreams_need_no_flow() {
    let header = UpstreamAuth::Header {
        name: http::HeaderName::from_static("x-api-key"),
        value: Secret::new("constant".to_owned()),
    };
    let world = World::beside(Stranger::start().await, header).await;
    assert!(matches!(world.begin().await, Ok(Begin::Connected)));
    let credential = world.credential().await.unwrap();
    assert_eq!((credential.header().unwrap().0.as_str(), bearer(&credential)), ("x-api-key", "constant"));
    assert!(credential.connection().is_none() && world.connections.cached(&world.key).is_some());
    assert!(matches!(world.connections.renew(&world.key, &credential, None).await, Err(NoCredential::Failed(_))));

    let world = World::beside(Stranger::start().await, UpstreamAuth::None).await;
    assert!(world.credential().await.unwrap().header().is_none());
    assert!(world.stranger.lines().is_empty());
}

#[tokio::test]
async fn an_upstream_that_nobody_approved_is_not_contacted() {
    let world = World::new().await;
    let other = Stranger::start().await;
    let key = ConnectionKey::upstream(world.key.user, Authority::parse(&other.authority).unwrap(), None);
    let request = Request {
        key: &key,
        path: None,
        scopes: &Scopes::default(),
        session: world.session,
        return_to: "/",
        renew: false,
    };
    let (step, text) = failure(world.connections.begin(request).await);
    assert_eq!((step, text.as_str()), ("upstream", "an administrator must approve this server first"));
    assert!(other.lines().is_empty());
}

#[tokio::test]
async fn the_administrator_s_settings_need_no_discovery() {
    let stranger = Stranger::start().await;
    let settings = OAuthSettings {
        authorization_endpoint: Some(format!("{}/tenant/authorize", stranger.origin)),
        token_endpoint: Some(format!("{}/tenant/token", stranger.origin)),
        client_id: Some("by hand".to_owned()),
        client_secret: Some(Secret::new("s:crt".to_owned())),
        scopes: Some("notes".to_owned()),
        resource: Some(String::new()),
        ..OAuthSettings::default()
    };
    let world = World::beside(stranger, UpstreamAuth::OAuth(Box::new(settings))).await;
    let (url, query) = world.redirect("").await;
    assert_eq!((query["client_id"].as_str(), query["scope"].as_str()), ("by hand", "notes"));
    assert!(!query.contains_key("resource"));
    world.connections.finish(&world.session, world.stranger.consent(&url)).await.unwrap();
    let exchange = world.stranger.last("POST /tenant/token");
    assert_eq!(exchange.authorization.as_deref(), Some("Basic YnkraGFuZDpzJTNBY3J0"));
    assert!(!exchange.form().contains_key("resource") && !exchange.form().contains_key("client_secret"));
    assert_eq!(world.stranger.lines(), ["POST /tenant/token"]);
    assert_eq!(world.connections.usual_scopes(world.authority()).await.to_string(), "notes");
}

#[tokio::test]
async fn configured_endpoints_name_the_resource_and_the_issuer_as_far_as_they_are_known() {
    for issuer in [None, Some("https://issuer.example".to_owned())] {
        let stranger = Stranger::start().await;
        let settings = OAuthSettings {
            authorization_endpoint: Some(format!("{}/tenant/authorize", stranger.origin)),
            token_endpoint: Some(format!("{}/tenant/token", stranger.origin)),
            client_id: Some("by hand".to_owned()),
            issuer: issuer.clone(),
            ..OAuthSettings::default()
        };
        let world = World::beside(stranger, UpstreamAuth::OAuth(Box::new(settings))).await;
        let (url, query) = world.redirect("").await;
        assert_eq!(query["resource"], format!("{}/mcp", world.stranger.origin));
        // An issuer that nobody named is compared with nothing; one that somebody named, to the letter.
        let mut back = world.stranger.consent(&url);
        back.iss = Some("https://another.example".to_owned());
        assert_eq!(world.connections.finish(&world.session, back).await.is_ok(), issuer.is_none());
        let Begin::Redirect(url) = world.begin_with("", true).await.unwrap() else { panic!("renewal must ask") };
        let back = CallbackQuery { iss: issuer.clone(), ..world.stranger.consent(&url) };
        world.connections.finish(&world.session, back).await.unwrap();
        let tokens = world.connections.open_tokens(&world.row().await).unwrap();
        let expected = issuer.unwrap_or_else(|| world.stranger.origin.clone());
        assert_eq!(tokens.server.as_ref().unwrap().issuer, expected);
    }
}

/// Security case C "wrong KEK, swapped row": tokens open only where they were put.
#[tokio::test]
async fn tokens_are_sealed_for_one_person_upstream_and_account() {
    let world = World::new().await;
    let granted = serde_json::json!({ "access_token": "canary", "refresh_token": "canary", "token_type": "Bearer" });
    world.stranger.answers("POST /tenant/token", Reply::Json(200, granted));
    world.connect().await;
    let row = world.row().await;
    assert!(!String::from_utf8_lossy(&row.sealed).contains("canary"));
    let moved = Connection { id: ConnectionId([7; 16]), account: "work".to_owned(), ..row };
    world.store.put_connection(&moved).await.unwrap();
    let work = ConnectionKey { account: Some(Account::parse("work").unwrap()), ..world.key.clone() };
    assert!(matches!(world.connections.credential(&work).await, Err(NoCredential::Failed(_))));
    assert!(world.credential().await.is_ok());
}

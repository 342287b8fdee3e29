use super::*;
use serde_json::json;

const PRM_PATH: &str = "GET /.well-known/oauth-protected-resource/mcp";
const PRM_ROOT: &str = "GET /.well-known/oauth-protected-resource";
const AS_OAUTH: &str = "GET /.well-known/oauth-authorization-server/tenant";
const AS_OIDC: &str = "GET /.well-known/openid-configuration/tenant";
const AS_APPENDED: &str = "GET /tenant/.well-known/openid-configuration";

#[tokio::test]
async fn the_challenge_points_the_way() {
    let world = World::new().await;
    let elsewhere = format!("Bearer scope=\"one two\", resource_metadata=\"{}/elsewhere\"", world.stranger.origin);
    world.stranger.answers("POST /mcp", Reply::Challenge(elsewhere));
    world.stranger.answers("GET /elsewhere", Reply::Redirect("/moved".to_owned()));
    world.stranger.answers("GET /moved", Reply::Json(200, world.stranger.resource_metadata()));
    let (_, query) = world.redirect("").await;
    assert_eq!(query["scope"], "offline_access one two");
    let wanted = ["POST /mcp", "GET /elsewhere", "GET /moved", AS_OAUTH, "POST /tenant/register"];
    assert_eq!(world.stranger.lines(), wanted);
    assert_eq!(world.connections.usual_scopes(world.authority()).await.to_string(), "one two");
}

#[tokio::test]
async fn without_a_pointer_the_well_known_places_are_tried_in_order() {
    let world = World::new().await;
    world.stranger.answers("POST /mcp", Reply::Challenge("Bearer".to_owned()));
    world.stranger.missing(PRM_PATH);
    world.stranger.answers(PRM_ROOT, Reply::Json(200, world.stranger.resource_metadata()));
    let list = json!([world.stranger.server_metadata()["issuer"], "https://as.example/authorize"]);
    world.stranger.answers(AS_OAUTH, Reply::Json(200, list));
    world.stranger.answers(AS_OIDC, Reply::Text(200, "<html>not JSON</html>"));
    world.stranger.answers(AS_APPENDED, Reply::Json(200, world.stranger.server_metadata()));
    world.redirect("").await;
    let wanted = ["POST /mcp", PRM_PATH, PRM_ROOT, AS_OAUTH, AS_OIDC, AS_APPENDED, "POST /tenant/register"];
    assert_eq!(world.stranger.lines(), wanted);
}

#[tokio::test]
async fn where_only_the_host_is_known_the_usual_places_are_tried_in_order() {
    let world = World::new().await;
    let places = ["POST /mcp", "GET /mcp", "POST /", "GET /", "POST /sse", "GET /sse"];
    for place in &places[..5] {
        world.stranger.missing(place);
    }
    let pointer = format!("Bearer resource_metadata=\"{}/elsewhere\"", world.stranger.origin);
    world.stranger.answers(places[5], Reply::Challenge(pointer));
    world.stranger.answers("GET /elsewhere", Reply::Json(200, world.stranger.resource_metadata()));
    assert!(matches!(world.begin_at(None, "", false).await, Ok(Begin::Redirect(_))));
    assert_eq!(world.stranger.lines()[..7], [&places[..], &["GET /elsewhere"]].concat());
}

#[tokio::test]
async fn an_open_server_that_knows_no_sessions_is_asked_no_further() {
    let world = World::new().await;
    for line in [PRM_PATH, PRM_ROOT] {
        world.stranger.missing(line);
    }
    world.stranger.answers("POST /mcp", Reply::Sessionless);
    assert!(matches!(world.begin().await, Ok(Begin::Connected)));
    assert_eq!(world.stranger.lines()[..3], ["POST /mcp", "POST /mcp", PRM_PATH]);
}

#[tokio::test]
async fn a_server_of_the_old_transport_is_asked_with_get() {
    let world = World::new().await;
    world.stranger.answers("POST /mcp", Reply::Text(405, ""));
    world.redirect("").await;
    assert_eq!(world.stranger.lines()[..2], ["POST /mcp", "GET /mcp"]);
}

#[tokio::test]
async fn scopes_that_nobody_names_are_not_asked_for() {
    let world = World::new().await;
    let (mut resource, mut server) = (world.stranger.resource_metadata(), world.stranger.server_metadata());
    resource["scopes_supported"] = json!(null);
    server["scopes_supported"] = json!(null);
    world.stranger.answers(PRM_PATH, Reply::Json(200, resource));
    world.stranger.answers(AS_OAUTH, Reply::Json(200, server));
    assert!(!world.redirect("").await.1.contains_key("scope"));
}

/// Rule 1: servers that challenge only later have metadata already.
#[tokio::test]
async fn a_server_that_lets_everybody_initialize_may_still_want_authorization() {
    let world = World::new().await;
    world.stranger.answers("POST /mcp", Reply::Endless);
    world.redirect("").await;
}

/// The scope to begin with is in the challenge, and only there.
#[tokio::test]
async fn the_first_question_is_asked_where_everybody_may_say_hello() {
    for (hello, revision) in [(200, "\"id\":2"), (400, "2026-07-28")] {
        let world = World::new().await;
        let challenge = "Bearer scope=\"basic\"".to_owned();
        world.stranger.answers("POST /mcp", Reply::ChallengeTo(revision, challenge, hello));
        let (_, query) = world.redirect("").await;
        assert_eq!(query["scope"], "basic offline_access", "{hello}");
        assert_eq!(world.stranger.lines()[..3], ["POST /mcp", "POST /mcp", PRM_PATH]);
    }
}

#[tokio::test]
async fn an_open_server_is_open_until_it_asks() {
    let world = World::new().await;
    world.stranger.answers("POST /mcp", Reply::Endless);
    world.stranger.missing(PRM_PATH);
    assert!(matches!(world.begin().await, Ok(Begin::Connected)));
    let open = world.credential().await.unwrap();
    assert!(open.header().is_none() && open.connection().is_some());
    assert!(matches!(world.begin_with("read", false).await, Ok(Begin::Connected)));

    world.stranger.answers("GET /late", Reply::Json(200, world.stranger.resource_metadata()));
    let challenge = format!("Bearer resource_metadata=\"{}/late\", scope=\"late\"", world.stranger.origin);
    assert!(needs_consent(&world.connections.renew(&world.key, &open, Some(&challenge)).await));
    assert!(needs_consent(&world.credential().await));
    let (_, query) = world.redirect("").await;
    assert_eq!(query["scope"], "late offline_access");
}

#[tokio::test]
async fn a_bare_401_is_a_question_too() {
    let world = World::new().await;
    for line in ["POST /mcp", PRM_PATH] {
        world.stranger.answers(line, Reply::Text(200, ""));
    }
    // An open server may fail at what it does not know.
    world.stranger.answers(PRM_ROOT, Reply::Text(500, "no such path"));
    assert!(matches!(world.begin().await, Ok(Begin::Connected)));
    let open = world.credential().await.unwrap();
    assert!(needs_consent(&world.connections.renew(&world.key, &open, None).await));
    let (url, _) = world.redirect("").await;
    assert!(url.starts_with(&format!("{}/authorize?", world.stranger.origin)));
}

#[tokio::test]
async fn before_there_was_metadata_three_paths_were_known() {
    let world = World::new().await;
    world.stranger.answers("POST /mcp", Reply::Challenge("Bearer".to_owned()));
    world.stranger.missing(PRM_PATH);
    let (url, query) = world.redirect("").await;
    assert!(url.starts_with(&format!("{}/authorize?", world.stranger.origin)));
    assert_eq!(query["resource"], format!("{}/mcp", world.stranger.origin));
    let wanted = [
        "POST /mcp",
        PRM_PATH,
        PRM_ROOT,
        "GET /.well-known/oauth-authorization-server",
        "GET /.well-known/openid-configuration",
        "POST /register",
    ];
    assert_eq!(world.stranger.lines(), wanted);
    assert_eq!(world.stranger.last("POST /register").json()["token_endpoint_auth_method"], "none");
    let back = CallbackQuery { iss: None, ..world.stranger.consent(&url) };
    world.connections.finish(&world.session, back).await.unwrap();
    assert_eq!(world.stranger.count("POST /token"), 1);
    // Its name is its origin, should it say one.
    for (iss, good) in [(world.stranger.origin.clone(), true), ("https://evil.example".to_owned(), false)] {
        let Begin::Redirect(url) = world.begin_with("", true).await.unwrap() else { panic!("renewal must ask") };
        let back = CallbackQuery { iss: Some(iss), ..world.stranger.consent(&url) };
        assert_eq!(world.connections.finish(&world.session, back).await.is_ok(), good);
    }
}

/// Security cases A 42, B 57, B 61, B 62, B 65: metadata that lies, or offers too little, ends it.
#[tokio::test]
async fn a42_b57_b61_b62_b65_metadata_is_not_believed_blindly() {
    let good = World::new().await.stranger.server_metadata();
    let port = good["issuer"].as_str().unwrap().to_owned();
    for (member, value, told) in [
        ("issuer", json!("https://accounts.example"), "says that it is another one"),
        ("issuer", json!("https://accounts\u{1b}[31m.example"), "(\"https://accounts[31m.example\")"),
        ("code_challenge_methods_supported", json!(["plain"]), "PKCE with S256"),
        ("code_challenge_methods_supported", json!([]), "PKCE with S256"),
        ("authorization_endpoint", json!("http://as.example/authorize"), "cannot be used"),
        ("authorization_endpoint", json!("javascript:alert(1)"), "cannot be used"),
        ("token_endpoint", json!("https://169.254.169.254/token"), "cannot be used"),
        ("token_endpoint", json!("https://user@as.example/token"), "cannot be used"),
        ("token_endpoint", json!(null), "has no token_endpoint"),
        ("registration_endpoint", json!("https://[fe80::1]/register"), "cannot be used"),
    ] {
        let world = World::new().await;
        let mut metadata = world.stranger.server_metadata();
        metadata[member] = value;
        world.stranger.answers(AS_OAUTH, Reply::Json(200, metadata));
        let (step, text) = failure(world.begin().await);
        assert!(step == "discovery" && text.contains(told), "{member}: {text}");
    }
    for lie in [
        "https://bank.example/mcp".to_owned(),
        "https://bank.example/\u{1b}[31m".to_owned(),
        port,
        String::new(),
        "http://169.254.169.254/".to_owned(),
    ] {
        let world = World::new().await;
        let mut metadata = world.stranger.resource_metadata();
        metadata["resource"] = lie.into();
        world.stranger.answers(PRM_PATH, Reply::Json(200, metadata));
        let (step, text) = failure(world.begin().await);
        assert!(step == "discovery" && text.contains("describes itself as another server"), "{text}");
        assert!(!text.contains(char::is_control), "{text:?}");
        assert_eq!(world.stranger.count(AS_OAUTH), 0);
    }
}

/// Security cases A 9, A 41: an address in a challenge or in metadata is guarded like any other.
#[tokio::test]
async fn a9_a41_addresses_from_strangers_are_guarded() {
    let world = World::new().await;
    let challenge = "Bearer resource_metadata=\"http://169.254.169.254/latest/meta-data\"";
    world.stranger.answers("POST /mcp", Reply::Challenge(challenge.to_owned()));
    world.redirect("").await;

    for issuer in
        ["http://169.254.169.254", "https://[::ffff:169.254.169.254]", "https://nowhere.example", "gopher://x"]
    {
        let world = World::new().await;
        let mut metadata = world.stranger.resource_metadata();
        metadata["authorization_servers"] = json!([issuer]);
        world.stranger.answers(PRM_PATH, Reply::Json(200, metadata));
        assert_eq!(failure(world.begin().await).0, "discovery", "{issuer}");
    }
}

/// Security case A 32: where an upstream sends people, and where we go ourselves, is an address of the web. What would open a
/// program, or be read by a shell, is refused whichever endpoint it is.
#[tokio::test]
async fn a32_what_is_no_address_of_the_web_is_no_endpoint() {
    for endpoint in [
        "file:///c:/windows/system32/calc.exe",
        "file:/etc/passwd",
        "calculator:",
        "ms-msdt:/id PCWDiagnostic",
        "vscode://file/x",
        "javascript:alert(1)",
        "data:text/html,x",
        "ssh://-oProxyCommand=touch%20x/y",
        "$(touch x)",
        "`touch x`",
        "; touch x",
        "https://$(touch x).example/",
        "https://a.example`touch x`/",
        "http://as.example/authorize",
        "a:$(cmd.exe /c calc)?response_type=code",
        "//as.example/authorize",
        "/authorize",
        "",
    ] {
        for member in ["authorization_endpoint", "token_endpoint", "registration_endpoint"] {
            let world = World::new().await;
            let mut metadata = world.stranger.server_metadata();
            metadata[member] = json!(endpoint);
            world.stranger.answers(AS_OAUTH, Reply::Json(200, metadata));
            let (step, text) = failure(world.begin().await);
            assert_eq!(step, "discovery", "{member} {endpoint}: {text}");
            let went = world.stranger.lines().into_iter().any(|line| line.starts_with("POST /tenant"));
            assert!(!went, "{member} {endpoint}: something was sent");
        }
    }
}

/// Security case A 5: the path that a client names is a path of its upstream, whatever it looks like.
#[tokio::test]
async fn a5_the_path_of_a_resource_leads_to_no_other_host() {
    for path in [
        "/../../admin",
        "/mcp/%2e%2e/%2e%2e/admin",
        "/..%2f..%2fadmin",
        "//evil.example/mcp",
        "///evil.example",
        "/@evil.example/mcp",
        "/:80@evil.example/",
        "/\\evil.example/mcp",
        "/mcp?x=/../y",
        "/mcp#/../y",
        "/%00/../x",
    ] {
        let world = World::new().await;
        let request = Request {
            key: &world.key,
            path: Some(path),
            scopes: &Scopes::default(),
            session: world.session,
            return_to: "/go/on",
            renew: false,
        };
        // Names lead nowhere here, so another host could only end in an error.
        match world.connections.begin(request).await {
            Ok(Begin::Redirect(url)) => {
                assert!(url.starts_with(&format!("{}/", world.stranger.origin)), "{path}: {url}");
                let url = url::Url::parse(&url).unwrap();
                let resource =
                    url.query_pairs().find(|(name, _)| name == "resource").map(|(_, value)| value.into_owned());
                let resource = url::Url::parse(&resource.unwrap()).unwrap();
                assert_eq!(resource.origin().ascii_serialization(), world.stranger.origin, "{path}: {resource}");
            }
            Ok(_) => {}
            Err(error) => {
                let (_, text) = failure::<()>(Err(error));
                assert!(!text.contains("evil.example"), "{path}: {text}");
            }
        }
        assert!(!world.stranger.lines().is_empty(), "{path}: somebody else was asked");
    }
}

#[tokio::test]
async fn huge_slow_and_broken_metadata_is_given_up() {
    for (reply, told) in [
        (Reply::Endless, "sent more than"),
        (Reply::Silence, "did not answer in time"),
        (Reply::Text(500, "oops"), "answered 500"),
    ] {
        for line in [PRM_ROOT, AS_OAUTH] {
            let world = World::new().await;
            world.stranger.missing(PRM_PATH);
            world.stranger.answers(PRM_ROOT, Reply::Json(200, world.stranger.resource_metadata()));
            world.stranger.answers(line, reply.clone());
            let (step, text) = failure(world.begin().await);
            assert!(step == "discovery" && text.contains(told), "{line}: {text}");
        }
    }
    let world = World::new().await;
    for line in [AS_OAUTH, AS_OIDC] {
        world.stranger.answers(line, Reply::Redirect("https://elsewhere.example/".to_owned()));
    }
    assert!(failure(world.begin().await).1.contains("publishes no metadata"));
    let world = World::new().await;
    world.stranger.answers("POST /mcp", Reply::Text(503, ""));
    world.stranger.answers("GET /mcp", Reply::Text(503, ""));
    assert!(failure(world.begin().await).1.contains("in trouble"));
}

#[tokio::test]
async fn what_was_found_is_used_again_for_an_hour() {
    let world = World::new().await;
    world.redirect("").await;
    world.redirect("").await;
    assert_eq!(world.stranger.count(AS_OAUTH), 1);
    world.clock.advance(Duration::from_secs(3600));
    world.redirect("").await;
    assert_eq!(world.stranger.count(AS_OAUTH), 2);
    let Begin::Redirect(_) = world.begin_with("", true).await.unwrap() else { panic!("renewal must ask") };
    assert_eq!(world.stranger.count(AS_OAUTH), 3);
}

/// Security case B 64: what is kept by issuer follows a changed issuer.
#[tokio::test]
async fn b64_another_issuer_is_another_registration() {
    let world = World::new().await;
    world.redirect("").await;
    let mut resource = world.stranger.resource_metadata();
    resource["authorization_servers"] = json!([format!("{}/other", world.stranger.origin)]);
    world.stranger.answers(PRM_PATH, Reply::Json(200, resource));
    let mut server = world.stranger.server_metadata();
    server["issuer"] = format!("{}/other/", world.stranger.origin).into();
    world.stranger.answers("GET /.well-known/oauth-authorization-server/other", Reply::Json(200, server));
    let Begin::Redirect(_) = world.begin_with("", true).await.unwrap() else { panic!("renewal must ask") };
    assert_eq!(world.stranger.count("POST /tenant/register"), 2);
}

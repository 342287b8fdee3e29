//! The authorization endpoint.

use super::*;
use crate::config::Unknown;
use axum::response::IntoResponse;

#[tokio::test]
async fn b2_a_bad_client_or_redirect_uri_is_a_page_and_never_a_redirect() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let evil = authorize("notes", &client, &[("redirect_uri", "https://evil.example/callback")]);
    for uri in [
        authorize("notes", "unknown", &[]),
        authorize("notes", "", &[("client_id", "")]),
        evil,
        authorize("notes", &client, &[("redirect_uri", "https://app.example/callback/")]),
        authorize("notes", &client, &[("redirect_uri", "javascript:alert(1)")]),
        format!("{}&redirect_uri=https%3A%2F%2Fevil.example", authorize("notes", &client, &[])),
        format!("{}&client_id=other", authorize("notes", &client, &[])),
    ] {
        for reply in [world.browse(&uri).await, world.get(&format!("{ROOT}{uri}")).await] {
            assert_eq!((reply.status, reply.location()), (StatusCode::BAD_REQUEST, ""), "{uri}");
            assert!(!reply.body.contains("evil.example"));
        }
    }
    assert_eq!(world.browse(&authorize("nowhere", &client, &[])).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn b3_b4_b12_b17_b24_b31_errors_go_back_with_state_and_iss() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let repeated = |pair: &str| format!("{}&{pair}", authorize("notes", &client, &[]));
    for (uri, error) in [
        (authorize("notes", &client, &[("response_type", "token")]), "unsupported_response_type"),
        (authorize("notes", &client, &[("response_type", "")]), "invalid_request"),
        (authorize("notes", &client, &[("code_challenge", "")]), "invalid_request"),
        (authorize("notes", &client, &[("code_challenge_method", "plain")]), "invalid_request"),
        (authorize("notes", &client, &[("code_challenge_method", "")]), "invalid_request"),
        (authorize("notes", &client, &[("code_challenge", "short")]), "invalid_request"),
        (authorize("notes", &client, &[("scope", "a\"b")]), "invalid_scope"),
        (authorize("notes", &client, &[("resource", "https://files.gw.example/mcp")]), "invalid_target"),
        (authorize("notes", &client, &[("resource", "https://notes.gw.example/mcp#f")]), "invalid_target"),
        (authorize("notes", &client, &[("prompt", "none")]), "interaction_required"),
        (repeated("scope=a&scope=b"), "invalid_request"),
        (repeated("resource=https%3A%2F%2Fnotes.gw.example&resource=https%3A%2F%2Fx.example"), "invalid_request"),
    ] {
        let reply = world.browse(&uri).await;
        let answer = reply.answer();
        assert!(reply.location().starts_with(CALLBACK));
        assert_eq!((answer["error"].as_str(), answer["iss"].as_str()), (error, NOTES), "{uri}");
        assert_eq!(answer["state"], "some state&");
        assert!(answer["error_description"].is_ascii() && !answer["error_description"].contains("files"));
    }
    let twice = world.browse(&repeated("state=other")).await.answer();
    assert_eq!((twice["error"].as_str(), twice.get("state")), ("invalid_request", None));
}

#[tokio::test]
async fn whoever_is_not_signed_in_goes_to_the_login_and_comes_back() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let uri = authorize("notes", &client, &[]);
    let reply = world.get(&format!("{ROOT}{uri}")).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER);
    let login = url::Url::parse(&format!("{ROOT}{}", reply.location())).unwrap();
    assert_eq!(login.path(), "/login");
    assert_eq!(login.query_pairs().next().unwrap(), ("return_to".into(), uri.as_str().into()));
    let silent = world.get(&format!("{ROOT}{}", authorize("notes", &client, &[("prompt", "none")]))).await;
    assert_eq!(silent.answer()["error"], "login_required");
}

#[tokio::test]
async fn b11_b12_b18_b37_from_consent_to_code() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let twice = "&resource=https%3A%2F%2Fnotes.gw.example%2Fmcp&resource=https%3A%2F%2Fnotes.gw.example%2Fmcp";
    let uri = format!("{}{twice}&unknown=x", authorize("notes", &client, &[("scope", "read write")]));
    let page = world.browse(&uri).await;
    assert_eq!(page.status, StatusCode::OK);
    for shown in ["Test client", "app.example", "read", "write", "The notes server", "alice"] {
        assert!(page.body.contains(shown), "{shown}");
    }
    let decided = world.decide("client", &page, "approve").await;
    assert_eq!(decided.status, StatusCode::SEE_OTHER);
    let reply = world.browse(decided.location()).await;
    let answer = reply.answer();
    assert_eq!((answer["iss"].as_str(), answer["state"].as_str()), (NOTES, "some state&"));
    assert_eq!(reply.header(header::REFERRER_POLICY), "no-referrer");
    assert_eq!(reply.header(header::CACHE_CONTROL), "no-store");
    // The sign-in is over: it cannot be answered twice.
    assert_eq!(world.browse(decided.location()).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn b1_a_native_client_chooses_its_port() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let loopback = "http://localhost:51234/callback";
    let page = world.browse(&authorize("notes", &client, &[("redirect_uri", loopback)])).await;
    let decided = world.decide("client", &page, "approve").await;
    let reply = world.browse(decided.location()).await;
    assert!(reply.location().starts_with(loopback), "{}", reply.location());
    // The code is bound to that very port.
    let code = &reply.answer()["code"];
    let other = [("redirect_uri", "http://localhost:51235/callback")];
    assert_eq!(world.exchange(&client, code, &other).await.error(), "invalid_grant");
    assert_eq!(world.exchange(&client, code, &[("redirect_uri", loopback)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_fault_of_ours_is_a_page_that_tells_no_detail() {
    let page = pages::FaultPage::from(Fault::gateway("the disk of host-7 is full")).into_response();
    assert_eq!(page.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = axum::body::to_bytes(page.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("Something went wrong") && !text.contains("host-7"), "{text}");
}

#[tokio::test]
async fn who_says_no_is_sent_back_with_access_denied() {
    let world = World::new().await;
    let client = world.client(NOTES).await;
    let page = world.browse(&authorize("notes", &client, &[])).await;
    assert_eq!(world.decide("client", &page, "deny").await.answer()["error"], "access_denied");
    let page = world.browse(&authorize("notes", &client, &[])).await;
    let cancel = world.browse(&format!("/authorize/notes?flow={}&cancel=failed", flow_of(&page))).await;
    assert_eq!(cancel.answer()["error"], "server_error");
    for (reason, told) in [
        ("denied", "the person refused"),
        ("forbidden", "the person may not use this server"),
        ("administrator", "only an administrator can grant the scope admin"),
    ] {
        let page = world.browse(&authorize("notes", &client, &[])).await;
        let cancel = world.browse(&format!("/authorize/notes?flow={}&cancel={reason}", flow_of(&page))).await.answer();
        assert_eq!((cancel["error"].as_str(), cancel["error_description"].as_str()), ("access_denied", told));
    }
}

#[tokio::test]
async fn b38_nothing_is_decided_without_the_session_its_token_and_a_decision() {
    let mut world = World::new().await;
    let client = world.client(NOTES).await;
    let page = world.browse(&authorize("notes", &client, &[])).await;
    let (flow, csrf_token) = (flow_of(&page), world.csrf_token().await);
    let submit = |token: &'static str, decision: &'static str| {
        let form = vec![("flow", flow.as_str()), ("csrf_token", token), ("decision", decision)];
        let world = &world;
        async move { world.submit("/authorize/notes?decide=client", &form).await.status }
    };
    assert_eq!(submit("wrong", "approve").await, StatusCode::FORBIDDEN);
    let form = [("flow", flow.as_str()), ("csrf_token", csrf_token.as_str()), ("decision", "maybe")];
    assert_eq!(world.submit("/authorize/notes?decide=client", &form).await.status, StatusCode::BAD_REQUEST);
    // Not at another realm, and without consent there is no code.
    assert_eq!(world.browse(&format!("/authorize/files?flow={flow}")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.browse(&format!("/authorize/notes?flow={flow}")).await.status, StatusCode::OK);
    // Another browser of the same person has no part in it.
    world.cookie = cookie_of(&world.issuer.sessions, &world.alice).await;
    assert_eq!(world.browse(&format!("/authorize/notes?flow={flow}")).await.status, StatusCode::BAD_REQUEST);
    let other = world.csrf_token().await;
    let form = [("flow", flow.as_str()), ("csrf_token", other.as_str()), ("decision", "approve")];
    assert_eq!(world.submit("/authorize/notes?decide=client", &form).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_unknown_upstream_waits_for_an_administrator() {
    let label = "nvrxaltborwgc43tnfqw4ltdn5wq-enc";
    let origin = format!("https://{label}.gw.example");
    let member = World::with(Unknown::Ask, Role::Member).await;
    let client = member.client(&origin).await;
    let reply = member.browse(&authorize(label, &client, &[])).await;
    assert_eq!((reply.status, reply.location()), (StatusCode::FORBIDDEN, ""));
    assert!(reply.body.contains("mcp.atlassian.com"));
    let wishes = member.issuer.store.upstream_requests(10).await.unwrap();
    assert_eq!(wishes.len(), 1, "administrators see who waits");
    assert_eq!((wishes[0].row.user, wishes[0].row.authority.as_str()), (member.alice.id, "mcp.atlassian.com"));

    let admin = World::with(Unknown::Ask, Role::Administrator).await;
    let client = admin.client(&origin).await;
    let page = admin.browse(&authorize(label, &client, &[])).await;
    assert!(page.body.contains("mcp.atlassian.com"), "{}", page.body);
    let approved = admin.decide_at(&format!("/authorize/{label}"), "upstream", &page, "approve").await;
    assert_eq!(approved.status, StatusCode::SEE_OTHER, "{}", approved.body);
    // Approving the upstream is not yet consent to the client.
    let consent = admin.browse(approved.location()).await;
    assert!(consent.body.contains("decide=client"), "{}", consent.body);
}

#[tokio::test]
async fn what_an_administrator_refuses_is_refused_from_then_on() {
    let label = "nvrxaltborwgc43tnfqw4ltdn5wq-enc";
    let world = World::with(Unknown::Ask, Role::Administrator).await;
    let client = world.client(&format!("https://{label}.gw.example")).await;
    let page = world.browse(&authorize(label, &client, &[])).await;
    let denied = world.decide_at(&format!("/authorize/{label}"), "upstream", &page, "deny").await;
    assert_eq!(denied.answer()["error"], "access_denied");
    let decided = world.issuer.store.upstreams().await.unwrap();
    assert_eq!(decided.iter().map(|row| row.decision).collect::<Vec<_>>(), [crate::store::Decision::Denied]);
    assert_eq!(world.browse(&authorize(label, &client, &[])).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_member_cannot_approve_an_upstream() {
    let label = "nvrxaltborwgc43tnfqw4ltdn5wq-enc";
    let world = World::with(Unknown::Ask, Role::Member).await;
    let client = world.client(&format!("https://{label}.gw.example")).await;
    let page = world.browse(&authorize(label, &client, &[])).await;
    let flow = page.body.split("flow=").nth(1).unwrap().split(['"', '&']).next().unwrap().to_owned();
    let csrf_token = world.csrf_token().await;
    for decision in ["approve", "deny"] {
        let form = [("flow", flow.as_str()), ("csrf_token", csrf_token.as_str()), ("decision", decision)];
        let reply = world.submit(&format!("/authorize/{label}?decide=upstream"), &form).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
    }
    assert!(world.issuer.store.upstreams().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_root_realm_needs_consent_and_nothing_else() {
    let world = World::new().await;
    let client = world.client(ROOT).await;
    let uri = authorize("", &client, &[]).replacen("/authorize/?", "/authorize?", 1);
    let page = world.browse(&uri).await;
    assert!(page.body.contains("all servers that you have connected"), "{}", page.body);
    let decided = world.decide_at("/authorize", "client", &page, "approve").await;
    let answer = world.browse(decided.location()).await.answer();
    assert_eq!(answer["iss"], ROOT);
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", client.as_str()),
        ("code", &answer["code"]),
        ("code_verifier", VERIFIER),
        ("resource", "https://gw.example/mcp"),
    ];
    // A code of the root domain is worth nothing at an upstream's hostname.
    assert_eq!(world.post(&format!("{NOTES}/token"), &form).await.error(), "invalid_client");
    let tokens = world.post(&format!("{ROOT}/token"), &form).await.json();
    let verified = world.issuer.tokens.verify(tokens["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(&*verified.audience, "https://gw.example/mcp");
}

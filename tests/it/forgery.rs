//! Links and forms of other people: nobody is sent elsewhere, and nothing is done that our own page did not ask for.

use crate::client::send;
use crate::gateway::{Gateway, PASSWORD, USER, label};
use crate::visitors::{call, csrf_token, encoded, setup, signed_in};
use http::{Method, StatusCode, header};
use portcullis::devkit::browser::Browser;
use std::collections::HashMap;

#[tokio::test]
async fn nobody_is_sent_elsewhere_after_signing_in() {
    let (_notes, gateway) = setup().await;
    let login = format!("{}/login", gateway.root());
    let (inside, _) = signed_in(&gateway).await;
    for bad in [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\r\n/evil.example",
        "/ /evil.example",
        "\u{2215}\u{2215}evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        ".evil.example",
        "@evil.example",
        "%2f%2fevil.example",
        "",
    ] {
        let url = format!("{login}?{}", encoded(&[("return_to", bad)]));
        let page = call(&inside, "GET", &url, &[]).await;
        assert_eq!(page.headers[header::LOCATION], "/", "{bad:?}");
        let browser = Browser::new().unwrap();
        let form = call(&browser, "GET", &url, &[]).await;
        let body = encoded(&[
            ("csrf_token", &csrf_token(&form)),
            ("username", USER),
            ("password", PASSWORD),
            ("return_to", bad),
        ]);
        let page = send(&browser, Method::POST, &login, &[], Some(body)).await;
        assert_eq!((page.status, &page.headers[header::LOCATION]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()));
    }
    let page = call(&inside, "GET", &format!("{login}?return_to=%2Fencode%3Fdomain%3Dx.example"), &[]).await;
    assert_eq!(page.headers[header::LOCATION], "/encode?domain=x.example");
}

#[tokio::test]
async fn forms_of_sibling_hosts_and_foreign_pages_do_nothing() {
    let (notes, gateway) = setup().await;
    let (browser, token) = signed_in(&gateway).await;
    let (root, mcp) = (gateway.root(), gateway.url_of(&notes.authority()));
    let label = label(&notes.authority());
    for path in [
        "/login".to_owned(),
        "/logout".to_owned(),
        "/connections/disconnect".to_owned(),
        "/connections/rename".to_owned(),
        "/start/outlook".to_owned(),
        "/grants/revoke".to_owned(),
        "/upstreams/approve".to_owned(),
        "/upstreams/remove".to_owned(),
        "/programs/clients/new".to_owned(),
        "/programs/clients/delete".to_owned(),
        "/programs/grants/revoke".to_owned(),
        "/programs/keys".to_owned(),
        "/programs/keys/revoke".to_owned(),
        "/programs/services/forge/disconnect".to_owned(),
        "/programs/services/forge/pat".to_owned(),
        "/programs/services/forge/pat/remove".to_owned(),
        "/system/keys/rotate".to_owned(),
        "/servers".to_owned(),
        "/servers/mcp.example/deny".to_owned(),
        "/servers/mcp.example/permit".to_owned(),
        "/servers/mcp.example/tools".to_owned(),
        "/people".to_owned(),
        "/people/x/password".to_owned(),
        "/people/x/sure/delete".to_owned(),
        "/oauth/start?server=mcp.example".to_owned(),
        "/authorize?decide=client".to_owned(),
        format!("/authorize/{label}?decide=upstream"),
    ] {
        let url = format!("{root}{path}");
        for fields in [
            &[("origin", mcp.as_str())][..],
            &[("origin", "null")],
            &[("origin", "https://evil.example")],
            &[("origin", root.as_str()), ("sec-fetch-site", "same-site")],
            &[("origin", root.as_str()), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", root.as_str()), ("sec-fetch-site", "same-origin"), ("x-token", "none")],
        ] {
            let token = if fields.len() == 3 { "" } else { token.as_str() };
            let body = encoded(&[("csrf_token", token), ("decision", "approve"), ("authority", "mcp.example")]);
            let page = send(&browser, Method::POST, &url, fields, Some(body)).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {fields:?}");
            assert!(!page.headers.contains_key(header::LOCATION), "{path} {fields:?}");
        }
    }
    assert!(call(&browser, "GET", &format!("{root}/"), &[]).await.text().contains(USER), "still signed in");
    assert!(gateway.app().store.upstreams().await.unwrap().is_empty());
    let own = [("origin", root.as_str()), ("sec-fetch-site", "same-origin")];
    let page =
        send(&browser, Method::POST, &format!("{root}/logout"), &own, Some(encoded(&[("csrf_token", &token)]))).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "its own form works");
}

#[tokio::test]
async fn claiming_needs_our_own_page_too() {
    let gateway = Gateway::unclaimed(HashMap::new(), |_| {}).await;
    let store = &gateway.app().store;
    let token = gateway.app().identity.setup_token().await.unwrap().unwrap();
    let browser = Browser::new().unwrap();
    let url = format!("{}/setup", gateway.root());
    let form = call(&browser, "GET", &format!("{url}?token={}", token.expose()), &[]).await;
    let csrf_token = csrf_token(&form);
    let claim = |csrf_token: &str| {
        encoded(&[
            ("token", token.expose()),
            ("csrf_token", csrf_token),
            ("username", "mallory"),
            ("password", PASSWORD),
            ("password_again", PASSWORD),
        ])
    };
    for fields in [&[("origin", "null")][..], &[("origin", "http://x.localhost")], &[("sec-fetch-site", "same-site")]] {
        let page = send(&browser, Method::POST, &url, fields, Some(claim(&csrf_token))).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{fields:?}");
    }
    let page = send(&browser, Method::POST, &url, &[], Some(claim(""))).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(!store.has_administrator().await.unwrap());
    let page = send(&browser, Method::POST, &url, &[], Some(claim(&csrf_token))).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text());
}

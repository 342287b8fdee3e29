//! Clients that send what they must not: every refusal is in the right place, in the right words, and costs nobody else.

use crate::client::{Client, mcp_url, send};
use crate::gateway::Gateway;
use crate::upstreams::Notes;
use http::{Method, StatusCode, header};
use portcullis::devkit::browser::{Arrived, Page};
use serde_json::{Value, json};
use url::Url;

const REDIRECT_URI: &str = "https://app.example/callback";
const CLAUDE: &str = "https://claude.ai/oauth/mcp-oauth-client-metadata";
const CLAUDE_REDIRECT: &str = "https://claude.ai/api/mcp/auth_callback";

async fn setup() -> (Notes, Gateway) {
    let notes = Notes::start().await;
    let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
    (notes, gateway)
}

async fn client(gateway: &Gateway, notes: &Notes) -> Client {
    let metadata = json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "none"});
    Client::discover(&mcp_url(gateway, &notes.authority()), REDIRECT_URI).await.register(metadata).await
}

/// An address with one parameter set to something else, or left out.
fn changed(url: &str, name: &str, value: Option<&str>) -> String {
    let mut url = Url::parse(url).unwrap();
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

fn refused(answer: &(StatusCode, Value), status: u16, error: &str) {
    assert_eq!((answer.0.as_u16(), answer.1["error"].as_str()), (status, Some(error)), "{}", answer.1);
}

async fn post(client: &Client, fields: &[(&str, &str)], body: &str) -> Page {
    send(&client.browser, Method::POST, &client.endpoint("token_endpoint"), fields, Some(body.to_owned())).await
}

#[tokio::test]
async fn b33_redirect_uris_that_nobody_may_register() {
    let (notes, gateway) = setup().await;
    let client = Client::discover(&mcp_url(&gateway, &notes.authority()), REDIRECT_URI).await;
    for bad in [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vbscript:x",
        "about:blank",
        "https://*.app.example/callback",
        "https://app.example/*",
        "https://user@app.example/callback",
        "https://user:pass@app.example/callback",
        "https://app.example/callback#x",
        "http://app.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://localhost.evil.example/callback",
        "http://10.0.0.1/callback",
        "//app.example/callback",
        "/callback",
        "callback",
        "https:",
        "https://",
        "",
        "https://app.example/a b",
        "https://app.example/\r\nSet-Cookie: x",
        "https://app.example/\u{202e}",
    ] {
        let body = json!({"redirect_uris": [REDIRECT_URI, bad]}).to_string();
        let endpoint = client.endpoint("registration_endpoint");
        let page = send(&client.browser, Method::POST, &endpoint, &[("content-type", "application/json")], Some(body));
        let page = page.await;
        let answer: Value = serde_json::from_str(&page.body).unwrap();
        refused(&(page.status, answer), 400, "invalid_redirect_uri");
    }
}

#[tokio::test]
async fn a1_b1_b2_nothing_goes_to_an_address_that_is_not_registered() {
    let (notes, gateway) = setup().await;
    let client = client(&gateway, &notes).await;
    let start = client.authorization_url(&[]);
    for bad in [
        "https://app.example/callback/",
        "https://app.example/callback?x=1",
        "https://app.example/CALLBACK",
        "https://app.example/callback/../evil",
        "https://app.example:443/callback",
        "HTTPS://app.example/callback",
        "https://app.example.evil.example/callback",
        "https://user@app.example/callback",
        "https://app.example/callback#x",
        "https://app.example/callback%00",
        "https://evil.example/",
        "http://app.example/callback",
        "http://127.0.0.1/callback",
        "javascript:alert(1)",
        "//evil.example/callback",
        "/callback",
    ] {
        page_only(&client, &changed(&start, "redirect_uri", Some(bad))).await;
        // Neither does an error.
        let wrong = changed(&changed(&start, "redirect_uri", Some(bad)), "response_type", Some("token"));
        page_only(&client, &wrong).await;
    }
    for bad in [Some("nobody"), Some(""), Some("https://app.example/client.json"), Some("http://evil.example/x"), None]
    {
        page_only(&client, &changed(&start, "client_id", bad)).await;
    }
    page_only(&client, &client.authorization_url(&[("client_id", "x")])).await;
    page_only(&client, &client.authorization_url(&[("redirect_uri", REDIRECT_URI)])).await;
}

async fn page_only(client: &Client, start: &str) {
    let page = send(&client.browser, Method::GET, start, &[], None).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{start}");
    assert!(page.headers.get(header::LOCATION).is_none(), "{start}");
    assert!(page.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/html"), "{start}");
    assert!(!page.text().is_empty() && !page.body.contains("evil.example/\""), "{start}: {}", page.body);
}

#[tokio::test]
async fn b3_b4_b17_errors_go_back_with_state_and_issuer() {
    let (notes, gateway) = setup().await;
    let client = client(&gateway, &notes).await;
    let start = client.authorization_url(&[]);
    for (name, value, error) in [
        ("code_challenge", None, "invalid_request"),
        ("code_challenge", Some(""), "invalid_request"),
        ("code_challenge", Some("short"), "invalid_request"),
        ("code_challenge", Some("!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"), "invalid_request"),
        ("code_challenge_method", None, "invalid_request"),
        ("code_challenge_method", Some("plain"), "invalid_request"),
        ("code_challenge_method", Some("s256"), "invalid_request"),
        ("response_type", None, "invalid_request"),
        ("response_type", Some("token"), "unsupported_response_type"),
        ("response_type", Some("code token"), "unsupported_response_type"),
        ("response_type", Some("id_token"), "unsupported_response_type"),
        ("response_mode", Some("fragment"), "invalid_request"),
        ("resource", Some("https://other.example/mcp"), "invalid_target"),
        ("resource", Some("not a URL"), "invalid_target"),
        ("scope", Some("\"quoted\""), "invalid_scope"),
        ("prompt", Some("none"), "login_required"),
    ] {
        let answer = sent_back(&client, &changed(&start, name, value)).await;
        assert!(answer.contains(&format!("error={error}")), "{name}={value:?}: {answer}");
        assert!(answer.contains("state=the-state"), "{name}={value:?}: {answer}");
    }
    for name in ["scope", "code_challenge", "response_type"] {
        let answer = sent_back(&client, &client.authorization_url(&[(name, "x"), (name, "y")])).await;
        assert!(answer.contains("error=invalid_request"), "{name}: {answer}");
    }
    let answer = sent_back(&client, &client.authorization_url(&[("state", "another")])).await;
    assert!(answer.contains("error=invalid_request") && !answer.contains("state="), "which one is right? {answer}");
}

/// The address at the client, which has the issuer and no code in it.
async fn sent_back(client: &Client, start: &str) -> String {
    let arrived = client.browser.open(start, &client.redirect_uri).await.unwrap();
    let Arrived::Stopped(url) = arrived else { panic!("not sent back: {start}") };
    let issuer = client.metadata["issuer"].as_str().unwrap();
    assert!(url.query_pairs().any(|(name, value)| name == "iss" && value == issuer), "{url}");
    assert!(!url.query_pairs().any(|(name, _)| name == "code"), "{url}");
    url.into()
}

#[tokio::test]
async fn b9_b10_b31_a_code_is_bound_and_mistakes_do_not_consume_it() {
    let (notes, other) = (Notes::start().await, Notes::start().await);
    let gateway = Gateway::with_upstreams(&[&notes.authority(), &other.authority()]).await;
    let url = mcp_url(&gateway, &notes.authority());
    let known = Client::discover(&url, CLAUDE_REDIRECT).await.with_document(CLAUDE);
    let code = known.authorize().await.code.unwrap();
    let with = |name: &str, value: &str| {
        let mut form = known.code_parameters(&code);
        form.iter_mut().filter(|(key, _)| *key == name).for_each(|pair| value.clone_into(&mut pair.1));
        form
    };
    let stranger = client(&gateway, &notes).await;
    refused(&known.token_request(&with("client_id", &stranger.client_id)).await, 400, "invalid_grant");
    let elsewhere = Client::discover(&mcp_url(&gateway, &other.authority()), CLAUDE_REDIRECT).await;
    let elsewhere = elsewhere.with_document(CLAUDE);
    refused(&elsewhere.token_request(&with("resource", &elsewhere.resource)).await, 400, "invalid_grant");
    refused(&elsewhere.token_request(&with("x", "")).await, 400, "invalid_grant");
    for resource in ["https://other.example/mcp", elsewhere.resource.as_str(), "nonsense"] {
        refused(&known.token_request(&with("resource", resource)).await, 400, "invalid_target");
    }
    refused(&known.token_request(&with("redirect_uri", "https://claude.com/x")).await, 400, "invalid_grant");
    refused(&known.token_request(&with("code_verifier", &"a".repeat(43))).await, 400, "invalid_grant");
    refused(&known.token_request(&with("code_verifier", "")).await, 400, "invalid_request");
    let ours = known.exchange(&code).await;
    assert_eq!(known.call(&ours.access, "whoami").await.0, StatusCode::OK);
    let refresh = [
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", ours.refresh.clone()),
        ("client_id", stranger.client_id.clone()),
    ];
    refused(&known.token_request(&refresh).await, 400, "invalid_grant");
    refused(&elsewhere.refresh(&ours.refresh).await, 400, "invalid_grant");
    let (status, answer) = known.refresh(&ours.refresh).await;
    assert_eq!(status, StatusCode::OK, "b27: the attempts have ended nothing: {answer}");
}

#[tokio::test]
async fn b25_refreshing_never_widens_the_scope() {
    let (notes, gateway) = setup().await;
    let client = client(&gateway, &notes).await;
    let start = client.authorization_url(&[("scope", "notes.read")]);
    let callback = client.browser.authorize(&start, &crate::client::alice(), &client.redirect_uri).await.unwrap();
    let ours = client.exchange(&callback.code.unwrap()).await;
    assert_eq!(ours.answer["scope"], "notes.read");
    let mut form = vec![
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", ours.refresh.clone()),
        ("client_id", client.client_id.clone()),
        ("scope", "notes.read notes.write".to_owned()),
    ];
    refused(&client.token_request(&form).await, 400, "invalid_scope");
    "notes.read".clone_into(&mut form[3].1);
    let (status, answer) = client.token_request(&form).await;
    assert_eq!((status, &answer["scope"]), (StatusCode::OK, &json!("notes.read")), "{answer}");
}

#[tokio::test]
async fn b3_b16_b17_what_the_token_endpoint_does_not_take() {
    let (notes, gateway) = setup().await;
    let client = client(&gateway, &notes).await;
    let id = client.client_id.as_str();
    for (grant, error) in [
        ("password", "unsupported_grant_type"),
        ("client_credentials", "unauthorized_client"),
        ("implicit", "unsupported_grant_type"),
        ("urn:ietf:params:oauth:grant-type:jwt-bearer", "unsupported_grant_type"),
        ("", "invalid_request"),
    ] {
        let form = [("grant_type", grant.to_owned()), ("client_id", id.to_owned()), ("username", "alice".to_owned())];
        refused(&client.token_request(&form).await, 400, error);
    }
    let twice = format!("grant_type=authorization_code&grant_type=password&client_id={id}&code=x&code_verifier=y");
    let page = post(&client, &[], &twice).await;
    refused(&(page.status, serde_json::from_str(&page.body).unwrap()), 400, "invalid_request");
    let code = format!("{{\"grant_type\":\"authorization_code\",\"client_id\":\"{id}\",\"code\":\"x\"}}");
    let page = post(&client, &[("content-type", "application/json")], &code).await;
    refused(&(page.status, serde_json::from_str(&page.body).unwrap()), 400, "invalid_request");
    let endpoint = client.endpoint("token_endpoint");
    let query = format!("{endpoint}?grant_type=authorization_code&client_id={id}&code=x&code_verifier=y");
    assert_eq!(send(&client.browser, Method::GET, &query, &[], None).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let page = send(&client.browser, Method::POST, &query, &[], Some(String::new())).await;
    refused(&(page.status, serde_json::from_str(&page.body).unwrap()), 401, "invalid_client");
}

#[tokio::test]
async fn b20_b21_b22_clients_that_do_not_prove_who_they_are() {
    let (notes, gateway) = setup().await;
    let public = client(&gateway, &notes).await;
    let endpoint = public.endpoint("registration_endpoint");
    let body =
        json!({"redirect_uris": [REDIRECT_URI], "token_endpoint_auth_method": "client_secret_basic"}).to_string();
    let page = send(&public.browser, Method::POST, &endpoint, &[], Some(body)).await;
    let registered: Value = serde_json::from_str(&page.body).unwrap();
    let (id, secret) = (registered["client_id"].as_str().unwrap(), registered["client_secret"].as_str().unwrap());
    let basic = |pair: String| format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()));
    let form = "grant_type=authorization_code&code=x&code_verifier=y";
    for (authorization, status, error) in [
        (basic(format!("{id}:wrong")), 401, "invalid_client"),
        (basic(format!("{id}:")), 401, "invalid_client"),
        (basic(format!("nobody:{secret}")), 401, "invalid_client"),
        (basic(format!("{}:", public.client_id)), 401, "invalid_client"),
        ("Basic !!!".to_owned(), 401, "invalid_client"),
        (format!("Bearer {secret}"), 401, "invalid_client"),
        (basic(format!("{id}:{secret}")), 400, "invalid_grant"),
    ] {
        let page = post(&public, &[("authorization", &authorization)], form).await;
        refused(&(page.status, serde_json::from_str(&page.body).unwrap()), status, error);
        let challenge = page.headers.get(header::WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
        assert_eq!(challenge.is_some_and(|text| text.starts_with("Basic ")), status == 401, "{challenge:?}");
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
    }
    for form in [
        format!("{form}&client_id={id}&client_secret={secret}"),
        format!("{form}&client_id={id}"),
        format!("{form}&client_id={}&client_secret=x", public.client_id),
        form.to_owned(),
    ] {
        let page = post(&public, &[], &form).await;
        refused(&(page.status, serde_json::from_str(&page.body).unwrap()), 401, "invalid_client");
    }
    let both = format!("{form}&client_secret={secret}");
    let page = post(&public, &[("authorization", &basic(format!("{id}:{secret}")))], &both).await;
    refused(&(page.status, serde_json::from_str(&page.body).unwrap()), 400, "invalid_request");
}

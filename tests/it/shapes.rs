//! Clients in the shapes of the ones in the field: each gets in by its own rules. The gateway reaches no other machine,
//! so the documents of the known ones come from the copies that are compiled in.

use crate::client::{Client, Tokens, alice, get_json, mcp_url, send, tokens};
use crate::gateway::Gateway;
use crate::upstreams::Notes;
use http::{Method, StatusCode};
use portcullis::devkit::browser::{Arrived, Browser, Page};
use serde_json::json;
use std::time::{Duration, Instant};

const CLAUDE: &str = "https://claude.ai/oauth/mcp-oauth-client-metadata";
const CLAUDE_CODE: &str = "https://claude.ai/oauth/claude-code-client-metadata";
const CHATGPT: &str = "https://chatgpt.com/oauth/client.json";
const CODEX: &str = "https://chatgpt.com/oauth/codex/client.json";
const VSCODE: &str = "https://vscode.dev/oauth/client-metadata.json";

/// Clients give up after ten seconds; three are ours to wait for a document, the rest is a slow machine.
const IN_TIME: Duration = Duration::from_secs(9);

struct Setup {
    notes: Notes,
    gateway: Gateway,
}

impl Setup {
    async fn start() -> Self {
        let notes = Notes::start().await;
        let gateway = Gateway::with_upstreams(&[&notes.authority()]).await;
        Self { notes, gateway }
    }

    fn url(&self) -> String {
        mcp_url(&self.gateway, &self.notes.authority())
    }

    async fn client(&self, document: &str, redirect_uri: &str) -> Client {
        Client::discover(&self.url(), redirect_uri).await.with_document(document)
    }
}

/// The whole way, with what the client adds to its authorization request.
async fn get_in(client: &Client, extra: &[(&str, &str)]) -> Tokens {
    let start = client.authorization_url(extra);
    let asked = Instant::now();
    let first = send(&client.browser, Method::GET, &start, &[], None).await;
    assert!(first.status.is_redirection() || first.status.is_success(), "{}: {}", first.status, first.text());
    assert!(asked.elapsed() < IN_TIME, "the first page took {:?}", asked.elapsed());
    let callback = client.browser.authorize(&start, &alice(), &client.redirect_uri).await.unwrap();
    assert_eq!(callback.error, None, "{:?}", callback.error_description);
    assert_eq!(callback.iss.as_deref(), client.metadata["issuer"].as_str());
    let ours = client.exchange(&callback.code.unwrap()).await;
    let (status, body) = client.call(&ours.access, "whoami").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    ours
}

#[tokio::test]
async fn claude() {
    let setup = Setup::start().await;
    for redirect_uri in ["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"] {
        let client = setup.client(CLAUDE, redirect_uri).await;
        // By these two it decides for its document and against registration.
        assert_eq!(client.metadata["client_id_metadata_document_supported"], true);
        let methods = client.metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
        assert!(methods.contains(&json!("none")), "{methods:?}");
        assert_eq!(client.resource, client.url, "the resource is the address that was typed in");
        let scopes = client.metadata["scopes_supported"].as_array().unwrap();
        assert!(scopes.contains(&json!("offline_access")), "{scopes:?}");
        let ours = get_in(&client, &[("scope", "offline_access")]).await;
        let (status, answer) = client.refresh(&ours.refresh).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

#[tokio::test]
async fn claude_with_a_root_url_whose_resource_ends_in_a_slash() {
    let setup = Setup::start().await;
    let mut client = setup.client(CLAUDE, "https://claude.ai/api/mcp/auth_callback").await;
    client.resource = format!("{}/", setup.gateway.url_of(&setup.notes.authority()));
    let code = client.authorize().await.code.unwrap();
    client.resource.pop();
    let ours = client.exchange(&code).await;
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::OK);
}

#[tokio::test]
async fn claude_registers_twice_when_it_registers() {
    let setup = Setup::start().await;
    let redirect_uri = "https://claude.ai/api/mcp/auth_callback";
    let metadata = json!({
        "client_name": "Claude",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": "offline_access",
    });
    let client = Client::discover(&setup.url(), redirect_uri).await.register(metadata.clone()).await;
    let first = client.client_id.clone();
    let client = client.register(metadata).await;
    assert_ne!(first, client.client_id);
    get_in(&client, &[]).await;
}

#[tokio::test]
async fn claude_code_and_codex_with_the_port_of_the_day() {
    let setup = Setup::start().await;
    for (document, redirect_uri) in [
        (CLAUDE_CODE, "http://localhost:54545/callback"),
        (CLAUDE_CODE, "http://127.0.0.1:3118/callback"),
        (CODEX, "http://127.0.0.1:1455/callback"),
    ] {
        let client = setup.client(document, redirect_uri).await;
        assert!(!get_in(&client, &[]).await.refresh.is_empty());
    }
    let mut client = setup.client(CLAUDE_CODE, "http://localhost:54545/elsewhere").await;
    let page = send(&client.browser, Method::GET, &client.authorization_url(&[]), &[], None).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "only the port is free");
    client.redirect_uri = "http://[::1]:54545/callback".to_owned();
    let page = send(&client.browser, Method::GET, &client.authorization_url(&[]), &[], None).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "only the port is free");
}

#[tokio::test]
async fn cursor_registers_three_kinds_of_redirect_uris_at_once() {
    let setup = Setup::start().await;
    let redirect_uris = [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ];
    let metadata = json!({
        "client_name": "Cursor",
        "client_uri": "https://cursor.com",
        "application_type": "web",
        "redirect_uris": redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let mut client = Client::discover(&setup.url(), "").await.register(metadata).await;
    for redirect_uri in redirect_uris {
        client.redirect_uri = redirect_uri.to_owned();
        get_in(&client, &[]).await;
    }
}

#[tokio::test]
async fn chatgpt_repeats_the_resource_and_never_asks_for_offline_access() {
    let setup = Setup::start().await;
    let client = setup.client(CHATGPT, "https://chatgpt.com/connector_platform_oauth_redirect").await;
    // By this it decides for its one stable document.
    assert_eq!(client.metadata["authorization_response_iss_parameter_supported"], true);
    let again = client.resource.clone();
    let start = client.authorization_url(&[("resource", &again), ("scope", "notes.read")]);
    let callback = client.browser.authorize(&start, &alice(), &client.redirect_uri).await.unwrap();
    let mut parameters = client.code_parameters(&callback.code.unwrap());
    parameters.push(("resource", again));
    let (status, answer) = client.token_request(&parameters).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let ours = tokens(answer);
    assert_eq!(client.call(&ours.access, "whoami").await.0, StatusCode::OK);
    let (status, answer) = client.refresh(&ours.refresh).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn vs_code_with_its_own_port_and_another_with_and_without_a_slash() {
    let setup = Setup::start().await;
    for redirect_uri in [
        "http://127.0.0.1:33418/",
        "http://127.0.0.1:33418",
        "http://127.0.0.1:61234/",
        "http://127.0.0.1:61234",
        "https://vscode.dev/redirect",
    ] {
        let client = setup.client(VSCODE, redirect_uri).await;
        get_in(&client, &[]).await;
    }
}

#[tokio::test]
async fn vs_code_that_registers() {
    let setup = Setup::start().await;
    let metadata = json!({
        "client_name": "Visual Studio Code",
        "client_uri": "https://code.visualstudio.com",
        "redirect_uris": [
            "https://insiders.vscode.dev/redirect",
            "https://vscode.dev/redirect",
            "http://127.0.0.1/",
            "http://127.0.0.1:33418/",
        ],
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    });
    let mut client = Client::discover(&setup.url(), "http://127.0.0.1:61235/").await.register(metadata).await;
    get_in(&client, &[]).await;
    client.redirect_uri = "https://insiders.vscode.dev/redirect".to_owned();
    get_in(&client, &[]).await;
}

const INSPECTOR: (&str, &str) = ("origin", "http://localhost:6274");

#[tokio::test]
async fn inspector_in_a_browser() {
    let setup = Setup::start().await;
    let origin = setup.gateway.url_of(&setup.notes.authority());
    let browser = Browser::new().unwrap();
    for (path, method) in [
        ("/.well-known/oauth-protected-resource/mcp", "GET"),
        ("/.well-known/oauth-authorization-server", "GET"),
        ("/.well-known/openid-configuration", "GET"),
        ("/register", "POST"),
        ("/token", "POST"),
        ("/revoke", "POST"),
        ("/mcp", "POST"),
    ] {
        let page = preflight(&browser, &format!("{origin}{path}"), method).await;
        assert!(page.status.is_success(), "{path}: {}", page.status);
        assert!(allows(&page), "{path}: {:?}", page.headers);
        let methods = page.headers["access-control-allow-methods"].to_str().unwrap();
        assert!(methods.contains(method), "{path}: {methods}");
        let fields = page.headers["access-control-allow-headers"].to_str().unwrap().to_lowercase();
        for field in ["authorization", "content-type", "mcp-protocol-version"] {
            assert!(fields.contains(field), "{path}: {fields}");
        }
    }
    let redirect_uri = "http://localhost:6274/oauth/callback";
    let metadata = json!({
        "client_name": "MCP Inspector",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let page = post_json(&browser, &format!("{origin}/register"), &metadata.to_string()).await;
    assert_eq!(page.status, StatusCode::CREATED);
    assert!(allows(&page), "{:?}", page.headers);
    let page = post_json(&browser, &format!("{origin}/mcp"), "{}").await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(allows(&page), "{:?}", page.headers);
    let exposed = page.headers["access-control-expose-headers"].to_str().unwrap().to_lowercase();
    assert!(exposed.contains("www-authenticate"), "a script must see the challenge: {exposed}");
    let client = Client::discover(&setup.url(), redirect_uri).await.register(metadata).await;
    get_in(&client, &[]).await;
}

async fn preflight(browser: &Browser, url: &str, method: &str) -> Page {
    let fields = [
        INSPECTOR,
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,content-type,mcp-protocol-version"),
    ];
    send(browser, Method::OPTIONS, url, &fields, None).await
}

async fn post_json(browser: &Browser, url: &str, body: &str) -> Page {
    send(browser, Method::POST, url, &[INSPECTOR, ("content-type", "application/json")], Some(body.to_owned())).await
}

fn allows(page: &Page) -> bool {
    page.headers.get("access-control-allow-origin").is_some_and(|value| value == "*" || value == INSPECTOR.1)
}

#[tokio::test]
async fn a_client_of_2025_03_26_that_only_knows_the_origin() {
    let setup = Setup::start().await;
    let redirect_uri = "http://127.0.0.1:33333/callback";
    let mut client = Client::guessing(&setup.url(), redirect_uri);
    let origin = setup.gateway.url_of(&setup.notes.authority());
    client.metadata = get_json(&client.browser, &format!("{origin}/.well-known/oauth-authorization-server")).await;
    assert_eq!(client.metadata["issuer"], origin);
    let client = client.register(json!({"redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none"})).await;
    let ours = get_in(&client, &[]).await;
    let (status, answer) = client.refresh(&ours.refresh).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn a_client_that_guesses_the_endpoints() {
    let setup = Setup::start().await;
    let redirect_uri = "http://127.0.0.1:33333/callback";
    let client = Client::guessing(&setup.url(), redirect_uri);
    let client = client.register(json!({"redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none"})).await;
    // Whatever it is, the person sees the root domain only.
    let Arrived::Page(login) = client.browser.open(&client.authorization_url(&[]), "").await.unwrap() else { panic!() };
    assert!(login.url.as_str().starts_with(&setup.gateway.root()), "{}", login.url);
    get_in(&client, &[]).await;
}

#[tokio::test]
async fn a_client_with_a_secret_in_either_place() {
    let setup = Setup::start().await;
    let redirect_uri = "https://app.example/callback";
    for method in ["client_secret_basic", "client_secret_post"] {
        let browser = Browser::new().unwrap();
        let client = Client::discover(&setup.url(), redirect_uri).await;
        let metadata = json!({"redirect_uris": [redirect_uri], "token_endpoint_auth_method": method}).to_string();
        let page = post_json(&browser, &client.endpoint("registration_endpoint"), &metadata).await;
        let registered: serde_json::Value = serde_json::from_str(&page.body).unwrap();
        let id = registered["client_id"].as_str().unwrap();
        let secret = registered["client_secret"].as_str().unwrap().to_owned();
        let client = client.with_document(id);
        let code = client.authorize().await.code.unwrap();
        let mut form = client.code_parameters(&code);
        let mut fields = Vec::new();
        let basic = format!("Basic {}", data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes()));
        if method == "client_secret_post" {
            form.push(("client_secret", secret));
        } else {
            form.retain(|(name, _)| *name != "client_id");
            fields.push(("authorization", basic.as_str()));
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let page = send(&browser, Method::POST, &client.endpoint("token_endpoint"), &fields, Some(body)).await;
        assert_eq!(page.status, StatusCode::OK, "{method}: {}", page.body);
    }
}

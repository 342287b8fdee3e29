use super::*;
use crate::devkit::browser::{Browser, Credentials};
use crate::oauth::pkce::Challenge;
use axum::http::StatusCode;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const BOTH: &str = "application/json, text/event-stream";

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn open() -> McpServer {
    McpServer::start(loopback(), Random::default(), Protection::Open).await.unwrap()
}

async fn protected() -> (AuthorizationServer, McpServer) {
    let authorization =
        AuthorizationServer::start(loopback(), Clock::standing(), Random::default(), Options::default()).await.unwrap();
    let protection = Protection::Bearer(authorization.tokens());
    (authorization, McpServer::start(loopback(), Random::default(), protection).await.unwrap())
}

fn client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let redirect = reqwest::redirect::Policy::none();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().redirect(redirect).build().unwrap()
}

async fn post(url: &str, headers: &[(&str, &str)], message: &Value) -> reqwest::Response {
    let mut request = client().post(url).header("content-type", "application/json");
    if !headers.iter().any(|(name, _)| *name == "accept") {
        request = request.header("accept", BOTH);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(message.to_string()).send().await.unwrap()
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
}

fn call(tool: &str, arguments: Value) -> Value {
    request("tools/call", json!({"name": tool, "arguments": arguments}))
}

fn modern(mut message: Value) -> Value {
    message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(MODERN_REVISION);
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    message
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_default()
}

/// The messages of a finished event stream.
fn events(body: &str) -> Vec<Value> {
    body.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

async fn session(server: &McpServer, revision: &str) -> String {
    let answer = post(&server.url("/mcp"), &[], &request("initialize", json!({"protocolVersion": revision}))).await;
    let id = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    assert_eq!(json_of(answer).await["result"]["protocolVersion"], revision);
    id
}

/// Reads from a stream until `wanted` has come.
async fn read_until(response: &mut reqwest::Response, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let chunk = tokio::time::timeout(Duration::from_secs(10), response.chunk()).await;
        let chunk = chunk.expect("nothing came").unwrap().unwrap_or_else(|| panic!("it ended after {text:?}"));
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

#[tokio::test]
async fn a_client_finds_its_way_from_the_challenge_to_the_tool() {
    let (authorization, notes) = protected().await;
    let url = notes.url("/mcp");
    let refused = post(&url, &[], &request("initialize", json!({}))).await;
    assert_eq!(refused.status(), 401);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    let metadata_url = notes.url("/.well-known/oauth-protected-resource/mcp");
    assert_eq!(challenge, format!("Bearer resource_metadata=\"{metadata_url}\", scope=\"notes.read\""));
    let metadata = json_of(client().get(&metadata_url).send().await.unwrap()).await;
    assert_eq!(
        (&metadata["resource"], &metadata["authorization_servers"][0]),
        (&json!(url), &json!(authorization.issuer()))
    );

    let redirect = "http://127.0.0.1:9/callback";
    let (id, secret) = authorization.register_client(redirect);
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let mut start = url::Url::parse(&format!("{}/authorize", authorization.issuer())).unwrap();
    start.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", &id),
        ("redirect_uri", redirect),
        ("code_challenge", Challenge::of(verifier).as_str()),
        ("code_challenge_method", "S256"),
        ("resource", &url),
    ]);
    let nobody = Credentials { user: String::new(), password: String::new() };
    let callback = Browser::new().unwrap().authorize(start.as_str(), &nobody, redirect).await.unwrap();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", &callback.code.unwrap()),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
            ("resource", &url),
        ])
        .finish();
    let basic = data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes());
    let answer = client()
        .post(format!("{}/token", authorization.issuer()))
        .header("authorization", format!("Basic {basic}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    let token = json_of(answer).await["access_token"].as_str().unwrap().to_owned();

    let bearer = format!("Bearer {token}");
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("mcp-protocol-version", MODERN_REVISION),
        ("mcp-method", "tools/call"),
        ("mcp-name", "whoami"),
    ];
    let answer = json_of(post(&url, &headers, &modern(call("whoami", json!({})))).await).await;
    assert_eq!(answer["result"]["structuredContent"], json!({"user": "demo", "scopes": "notes.read"}));
    assert!(!answer.to_string().contains(&token));
    assert_eq!(notes.control.recorder().bearers(), [token]);
    authorization.tokens().end_access();
    headers.truncate(1);
    let ended = post(&url, &headers, &request("ping", json!({}))).await;
    assert!(ended.headers()["www-authenticate"].to_str().unwrap().contains("error=\"invalid_token\""));
}

#[tokio::test]
async fn older_revisions_have_sessions() {
    let server = open().await;
    let url = server.url("/mcp");
    for revision in LEGACY_REVISIONS {
        let id = session(&server, revision).await;
        let headers = [("mcp-session-id", id.as_str()), ("mcp-protocol-version", revision)];
        let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(post(&url, &headers, &done).await.status(), 202);
        let answer = json_of(post(&url, &headers, &call("add", json!({"a": 2, "b": 3}))).await).await;
        assert_eq!(text(&answer), "5");
        assert!(answer["result"].get("resultType").is_none());
        let only = [headers[0], ("accept", "text/event-stream")];
        let streamed = post(&url, &only, &call("echo", json!({"text": "ü"}))).await;
        assert_eq!(text(&events(&streamed.text().await.unwrap())[0]), "ü");
        let ended = client().delete(&url).header("mcp-session-id", &id).send().await.unwrap();
        assert_eq!(ended.status(), 204);
        assert_eq!(post(&url, &headers, &request("ping", json!({}))).await.status(), 404);
    }
    assert_eq!(post(&url, &[], &request("ping", json!({}))).await.status(), 400);
    let unknown = post(&url, &[("mcp-protocol-version", "1999-01-01")], &request("ping", json!({}))).await;
    assert_eq!(unknown.status(), 400);
}

#[tokio::test]
async fn a_slow_tool_reports_its_progress_on_the_stream_of_its_answer() {
    let server = open().await;
    let id = session(&server, "2025-06-18").await;
    let mut message = call("slow", json!({"steps": 2, "delay_ms": 0}));
    message["params"]["_meta"]["progressToken"] = json!("p");
    let answer = post(&server.url("/mcp"), &[("mcp-session-id", &id)], &message).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let all = events(&answer.text().await.unwrap());
    assert_eq!(
        all.iter().map(|one| &one["params"]["progress"]).collect::<Vec<_>>(),
        [&json!(1), &json!(2), &Value::Null]
    );
    assert_eq!(text(&all[2]), "done");
    let alone = [("mcp-session-id", id.as_str()), ("accept", "application/json")];
    assert_eq!(text(&json_of(post(&server.url("/mcp"), &alone, &message).await).await), "done");
}

#[tokio::test]
async fn the_get_stream_is_silent_until_something_is_pushed_and_ends_with_its_session() {
    let server = open().await;
    let id = session(&server, "2025-11-25").await;
    let get = client().get(server.url("/mcp")).header("accept", "text/event-stream").header("mcp-session-id", &id);
    let mut stream = get.send().await.unwrap();
    assert_eq!(server.control.push(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})), 1);
    assert!(read_until(&mut stream, "\n\n").await.contains("notifications/tools/list_changed"));
    server.control.forget_sessions();
    assert_eq!(stream.chunk().await.unwrap(), None);
    server.stop().await;
}

#[tokio::test]
async fn the_stateless_revision_checks_its_headers() {
    let server = open().await;
    let url = server.url("/mcp");
    let version = ("mcp-protocol-version", MODERN_REVISION);
    let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "add"));
    let add = || modern(call("add", json!({"a": 2, "b": 3})));
    let discover = modern(request("server/discover", json!({})));
    let answer = json_of(post(&url, &[version, ("mcp-method", "server/discover")], &discover).await).await;
    assert_eq!(answer["result"]["supportedVersions"], json!([MODERN_REVISION]));
    let answer = json_of(post(&url, &[version, method, name], &add()).await).await;
    assert_eq!((text(&answer), &answer["result"]["resultType"]), ("5", &json!("complete")));

    let encoded = ("mcp-name", "=?base64?YWRk?=");
    assert_eq!(post(&url, &[version, method, encoded], &add()).await.status(), 200);
    let echo = modern(call("echo", json!({"text": "x"})));
    let (echo_name, other) = (("mcp-name", "echo"), ("mcp-param-text", "y"));
    let unknown = modern(request("nope/nope", json!({})));
    let future = modern(request("tools/list", json!({})));
    let naked = request("tools/list", json!({}));
    let listing = ("mcp-method", "tools/list");
    for (headers, message, status, code) in [
        (vec![method, name], add(), 400, -32020),
        (vec![version, name], add(), 400, -32020),
        (vec![version, method], add(), 400, -32020),
        (vec![version, method, ("mcp-name", "sub")], add(), 400, -32020),
        (vec![version, method, echo_name, other], echo, 400, -32020),
        (vec![version, ("mcp-method", "nope/nope")], unknown, 404, -32601),
        (vec![version, listing], naked, 400, -32602),
        (vec![("mcp-protocol-version", "2031-01-01"), listing], future, 400, -32022),
    ] {
        let answer = post(&url, &headers, &message).await;
        assert_eq!(answer.status(), status, "{headers:?}");
        assert_eq!(json_of(answer).await["error"]["code"], code, "{headers:?}");
    }
    let get =
        client().get(&url).header("accept", "text/event-stream").header(version.0, version.1).send().await.unwrap();
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_subscription_is_acknowledged_fed_and_finished() {
    let server = open().await;
    let message = modern(request("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})));
    let headers = [("mcp-protocol-version", MODERN_REVISION), ("mcp-method", "subscriptions/listen")];
    let mut stream = post(&server.url("/mcp"), &headers, &message).await;
    assert!(read_until(&mut stream, "\n\n").await.contains("notifications/subscriptions/acknowledged"));
    server.control.push(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
    let pushed = events(&read_until(&mut stream, "\n\n").await);
    assert_eq!(pushed[0]["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 7);
    server.stop().await;
    assert!(read_until(&mut stream, "\n\n").await.contains("resultType"));
}

#[tokio::test]
async fn http_sse_names_its_message_address_and_answers_on_the_stream() {
    let (authorization, server) = protected().await;
    let bearer = format!("Bearer {}", authorization.tokens().issue("ada", "notes.read", &server.url("/sse")));
    let get = client().get(server.url("/sse")).header("accept", "text/event-stream").header("authorization", &bearer);
    let mut stream = get.send().await.unwrap();
    let first = read_until(&mut stream, "\n\n").await;
    let path = first.strip_prefix("event: endpoint\ndata: ").unwrap().trim_end();
    assert!(path.starts_with("/messages?session="));
    let accepted = post(&server.url(path), &[("authorization", &bearer)], &call("whoami", json!({}))).await;
    assert_eq!(accepted.status(), 202);
    assert!(read_until(&mut stream, "\n\n").await.contains("You are ada"));
    assert_eq!(post(&server.url(path), &[], &call("whoami", json!({}))).await.status(), 401);
    let gone =
        post(&server.url("/messages?session=x"), &[("authorization", &bearer)], &call("whoami", json!({}))).await;
    assert_eq!(gone.status(), 404);
    server.stop().await;
    while let Ok(Some(_)) = stream.chunk().await {}
}

#[tokio::test]
async fn websockets_speak_mcp_and_echo() {
    let (authorization, server) = protected().await;
    let url = server.url("/ws").replace("http", "ws");
    assert!(tokio_tungstenite::connect_async(&url).await.is_err(), "without a token");
    let bearer = format!("Bearer {}", authorization.tokens().issue("ada", "notes.read", &server.url("/ws")));
    let with_token = |url: &str| {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        request
    };
    let mut request = with_token(&url);
    request.headers_mut().insert("sec-websocket-protocol", "mcp".parse().unwrap());
    let (mut socket, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "mcp");
    socket.send(Message::text(call("whoami", json!({})).to_string())).await.unwrap();
    let reply = socket.next().await.unwrap().unwrap();
    assert!(reply.to_text().unwrap().contains("You are ada"));

    let (mut echo, _) = tokio_tungstenite::connect_async(with_token(&url.replace("/ws", "/echo"))).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![0, 255, 7])] {
        echo.send(message.clone()).await.unwrap();
        assert_eq!(echo.next().await.unwrap().unwrap(), message);
    }
    server.stop().await;
    assert!(!matches!(echo.next().await, Some(Ok(Message::Text(_) | Message::Binary(_)))));
}

#[tokio::test]
async fn it_misbehaves_once_when_it_is_told_to() {
    let server = open().await;
    let url = server.url("/mcp");
    let hello = request("initialize", json!({}));
    let control = server.control.clone();
    control.misbehave(Misbehaviour::Unauthorized);
    control.misbehave(Misbehaviour::InsufficientScope);
    control.misbehave(Misbehaviour::Status(StatusCode::BAD_GATEWAY));
    control.misbehave(Misbehaviour::Redirect("https://elsewhere.invalid/".to_owned()));
    for status in [401, 403, 502, 307] {
        assert_eq!(post(&url, &[], &hello).await.status(), status);
    }
    control.misbehave(Misbehaviour::DropMidBody);
    assert!(post(&url, &[], &hello).await.text().await.is_err());
    control.misbehave(Misbehaviour::Headers(vec![("set-cookie", "a=1"), ("set-cookie", "b=2")]));
    assert_eq!(post(&url, &[("cookie", "c=3")], &hello).await.headers().get_all("set-cookie").iter().count(), 2);
    assert_eq!(control.recorder().cookies(), ["c=3"]);
    control.misbehave(Misbehaviour::NeverAnswer);
    let never = post(&url, &[], &hello);
    let stop = async {
        while control.recorder().requests().len() < 7 {
            tokio::task::yield_now().await;
        }
        server.stop().await;
    };
    let (late, ()) = tokio::join!(never, stop);
    assert_eq!(late.status(), 503);
}

#[tokio::test]
async fn a_server_of_2025_03_26_is_its_own_authorization_server() {
    let (authorization, control) =
        McpServer::start_combined(loopback(), Clock::standing(), Random::default()).await.unwrap();
    control.lie(Lie::NoResourceMetadata);
    let url = format!("{}/mcp", authorization.issuer());
    let refused = post(&url, &[], &request("initialize", json!({}))).await;
    assert_eq!(refused.headers()["www-authenticate"], "Bearer scope=\"notes.read\"");
    let bearer = format!("Bearer {}", authorization.tokens().issue("ada", "notes.read", &url));
    assert_eq!(post(&url, &[("authorization", &bearer)], &request("initialize", json!({}))).await.status(), 200);
}

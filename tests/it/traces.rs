//! Traces: from the caller's place in them over our spans to the upstream's, and to a collector that decodes what arrives. Without a
//! collector nothing is any different.

use crate::client::{Client, mcp_url};
use crate::gateway::{Gateway, USER, configured, upstream, without_rates};
use crate::logs;
use crate::raw::{Caller, RawUpstream, field, post, status};
use crate::unified::client::{Guest, LEGACY, MODERN, modern, request};
use crate::upstreams::Notes;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post as posted;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use portcullis::config::{Config, Otlp, UpstreamAuth};
use portcullis::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"whoami","arguments":{"text":"hunter2-argument"}}}"#;

/// A collector of OpenTelemetry: what it was sent, to the byte.
pub struct Collector {
    pub address: String,
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    task: JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Vec<(HeaderMap, Bytes)>>>::default();
        let take = async |State(seen): State<Arc<Mutex<Vec<_>>>>, headers: HeaderMap, body: Bytes| {
            seen.lock().push((headers, body));
            "{}"
        };
        let router = Router::new().route("/v1/traces", posted(take)).with_state(seen.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, task }
    }

    /// All spans so far.
    async fn spans(&self, gateway: &Gateway) -> Vec<Span> {
        // Spans end with their requests, and a request may be over for its caller a moment before it is for us.
        let connections = &gateway.app().metrics.open_streams;
        while connections.get() > 0 {
            tokio::task::yield_now().await;
        }
        gateway.app().tracer.flush().await;
        let seen = self.seen.lock();
        seen.iter().flat_map(|(_, body)| decoded(body)).collect()
    }

    /// Waits for a span that is called so.
    async fn span(&self, gateway: &Gateway, is_it: impl Fn(&Span) -> bool) -> Span {
        let found = async {
            loop {
                if let Some(span) = self.spans(gateway).await.into_iter().find(&is_it) {
                    return span;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(crate::raw::PATIENCE, found).await {
            Ok(span) => span,
            Err(_) => panic!("no such span: {:#?}", self.spans(gateway).await),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.seen.lock().iter().flat_map(|(_, body)| body.to_vec()).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A span as trace.proto has it in JSON; nothing else may be in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Span {
    trace_id: String,
    span_id: String,
    trace_state: String,
    parent_span_id: String,
    #[allow(dead_code)] // must be a number
    flags: u32,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    links: Vec<Value>,
    status: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    key: String,
    value: BTreeMap<String, String>,
}

impl Span {
    fn says(&self, key: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|attribute| attribute.key == key)?;
        found.value.values().next().map(String::as_str)
    }

    fn is(&self, kind: u8, name: &str) -> bool {
        self.kind == kind && self.name == name
    }
}

const SERVER: u8 = 2;
const CLIENT: u8 = 3;

fn decoded(body: &[u8]) -> Vec<Span> {
    let request: Value = serde_json::from_slice(body).unwrap();
    let resource = &request["resourceSpans"][0];
    let service = &resource["resource"]["attributes"][0];
    assert_eq!(service, &json!({ "key": "service.name", "value": { "stringValue": "gate" } }));
    let spans: Vec<Span> = serde_json::from_value(resource["scopeSpans"][0]["spans"].clone()).unwrap();
    for span in &spans {
        let [begin, end] = [&span.start_time_unix_nano, &span.end_time_unix_nano].map(|n| n.parse::<u64>().unwrap());
        assert!(begin > 1_700_000_000_000_000_000 && end >= begin, "{span:?}");
        assert!((span.trace_id.len(), span.span_id.len()) == (32, 16), "{span:?}");
        assert!(span.attributes.iter().all(|one| one.value.len() == 1), "{span:?}");
    }
    spans
}

fn exporting(config: &mut Config, collector: &str, sample: f64) {
    config.telemetry.otlp = Some(Otlp {
        endpoint: format!("http://{collector}/v1/traces").parse().unwrap(),
        headers: vec![(http::HeaderName::from_static("x-collector-key"), Secret::new("collector-hunter2".to_owned()))],
        sample,
        service_name: "gate".to_owned(),
    });
}

/// Posts with these fields besides the usual ones.
fn with(request: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    request.replacen("\r\n", &format!("\r\n{fields}"), 1)
}

#[tokio::test]
async fn a_call_is_one_trace_from_the_client_to_the_upstream_and_tells_no_secret() {
    let (notes, collector) = (Notes::start().await, Collector::start().await);
    let (authority, address) = (notes.authority(), collector.address.clone());
    let gateway = Gateway::with(move |config| {
        exporting(config, &address, 1.0);
        config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::default())));
    })
    .await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    let tokens = client.connect().await;
    let (code, body) = client.call(&tokens.access, "whoami").await;
    assert_eq!(code, StatusCode::OK, "{body}");
    let discovery = collector.span(&gateway, |span| span.is(CLIENT, "discovery")).await;
    assert_eq!(discovery.parent_span_id, "");
    // Whoever names no trace begins one.
    let began = collector.span(&gateway, |span| span.is(SERVER, "tools/call whoami")).await;
    assert_eq!(began.parent_span_id, "");

    // And whoever names one is in it.
    notes.mcp.control.recorder().clear();
    let host = gateway.host_of(&notes.authority());
    let fields = [
        ("Traceparent", PARENT),
        ("Tracestate", "rojo=00f067aa0ba902b7"),
        ("tracestate", "congo=t61"),
        ("Cookie", "session=hunter2-cookie"),
        ("MCP-Protocol-Version", MODERN),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "whoami"),
    ];
    let body =
        modern("tools/call", json!({ "name": "whoami", "arguments": { "text": "hunter2-argument" } })).to_string();
    let call =
        with(&post(&host, &tokens.access, &body), &fields).replace("POST /mcp ", "POST /mcp?secret=hunter2-query ");
    assert_eq!(Caller::connect(gateway.port()).await.send(call).await.status().await, 200);
    let server = collector.span(&gateway, |span| span.kind == SERVER && span.trace_id == TRACE).await;
    let child = collector.span(&gateway, |span| span.kind == CLIENT && span.trace_id == TRACE).await;
    assert_eq!((server.parent_span_id.as_str(), server.name.as_str()), ("00f067aa0ba902b7", "tools/call whoami"));
    assert_eq!((child.parent_span_id.as_str(), child.name.as_str()), (server.span_id.as_str(), "tools/call whoami"));
    assert!(server.trace_state == "rojo=00f067aa0ba902b7,congo=t61" && server.links.is_empty());
    for (key, value) in [
        ("http.request.method", "POST"),
        ("url.path", "/mcp"),
        ("server.address", host.split(':').next().unwrap()),
        ("http.response.status_code", "200"),
        ("mcp.method.name", "tools/call"),
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "whoami"),
    ] {
        assert_eq!(server.says(key), Some(value), "{key} of {server:?}");
    }
    assert_eq!(
        (child.says("server.address"), child.says("http.response.status_code")),
        (Some("127.0.0.1"), Some("200"))
    );
    assert_eq!(server.status, json!({}));
    let recorder = notes.mcp.control.recorder();
    assert_eq!(recorder.values("traceparent"), [format!("00-{TRACE}-{}-01", child.span_id)]);
    assert_eq!(recorder.values("tracestate"), ["rojo=00f067aa0ba902b7,congo=t61"]);
    assert!(logs::contain(&format!("trace_id={TRACE}")), "lines of the log are not marked");

    // A refresh is a span of its own.
    notes.clock.advance(Duration::from_secs(3600));
    gateway.clock.advance(Duration::from_secs(3600));
    let (code, body) = client.call(&tokens.access, "whoami").await;
    assert_eq!(code, StatusCode::OK, "{body}");
    let refresh = collector.span(&gateway, |span| span.is(CLIENT, "token refresh")).await;
    assert_eq!(refresh.says("portcullis.upstream"), Some(notes.authority().as_str()));
    assert_eq!(refresh.status, json!({}), "{refresh:?}");

    let bytes = collector.bytes();
    let mut secrets = recorder.bearers();
    secrets.extend([tokens.access, tokens.refresh]);
    secrets.extend(["hunter2-argument", "hunter2-cookie", "hunter2-query", "collector-hunter2"].map(str::to_owned));
    for secret in secrets {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is in the spans");
        assert!(!logs::contain(&secret), "{secret} is in the log");
    }
    assert_eq!(collector.seen.lock()[0].0["x-collector-key"], "collector-hunter2");
}

#[tokio::test]
async fn what_is_not_sampled_is_carried_and_not_exported() {
    let (notes, collector) = (RawUpstream::answering(OK).await, Collector::start().await);
    let (authority, address) = (notes.authority.clone(), collector.address.clone());
    let gateway = Gateway::with(move |config| {
        exporting(config, &address, 0.0);
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let mut notes = notes;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    let mut sent = async |fields: &[(&str, &str)]| {
        let mut caller = Caller::connect(gateway.port()).await;
        assert_eq!(caller.send(with(&post(&host, &token, CALL), fields)).await.status().await, 200);
        let received = notes.received().await;
        let of = |name| received.field(name).map(str::to_owned);
        (of("traceparent"), of("tracestate"))
    };
    let (parent, state) = sent(&[("traceparent", UNSAMPLED), ("tracestate", "a=b")]).await;
    let parent = parent.unwrap();
    assert!(parent.starts_with(&UNSAMPLED[..36]) && parent.ends_with("-00") && parent != UNSAMPLED, "{parent}");
    assert_eq!(state.as_deref(), Some("a=b"));
    // A trace that nobody can read ends here, with what belongs to it, and another begins.
    let (parent, state) = sent(&[("traceparent", "00-zz-00"), ("tracestate", "a=b")]).await;
    let parent = parent.unwrap();
    assert!(parent.len() == 55 && parent.ends_with("-02") && !parent.contains(TRACE) && state.is_none(), "{parent}");
    assert!(collector.spans(&gateway).await.is_empty());
    // Parent-based: whoever has decided decides.
    sent(&[("traceparent", PARENT)]).await;
    collector.span(&gateway, |span| span.kind == SERVER && span.trace_id == TRACE).await;
}

#[tokio::test]
async fn without_a_collector_what_callers_say_passes_as_it_is() {
    let mut notes = RawUpstream::answering(OK).await;
    let authority = notes.authority.clone();
    let gateway = Gateway::with(move |config| config.upstream.push(upstream(&authority, UpstreamAuth::None))).await;
    assert!(!gateway.app().tracer.is_on());
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    for (parent, state) in [(PARENT, "a=b"), ("nonsense", "A==")] {
        let call = with(&post(&host, &token, CALL), &[("traceparent", parent), ("tracestate", state)]);
        assert_eq!(Caller::connect(gateway.port()).await.send(call).await.status().await, 200);
        let received = notes.received().await;
        assert_eq!((received.field("traceparent"), received.field("tracestate")), (Some(parent), Some(state)));
    }
    Caller::connect(gateway.port()).await.send(post(&host, &token, CALL)).await.status().await;
    assert_eq!(notes.received().await.field("traceparent"), None);
}

#[tokio::test]
async fn a_collector_that_is_away_costs_counted_spans_and_a_line() {
    let notes = RawUpstream::answering(OK).await;
    let authority = notes.authority.clone();
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let gateway = Gateway::with(move |config| {
        exporting(config, &nowhere, 1.0);
        config.upstream.push(upstream(&authority, UpstreamAuth::None));
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let host = gateway.host_of(&notes.authority);
    for _ in 0..3 {
        let (head, _) = Caller::connect(gateway.port()).await.send(post(&host, &token, CALL)).await.response().await;
        assert_eq!((status(&head), field(&head, "traceparent")), (200, None));
        gateway.app().tracer.flush().await;
    }
    let metrics = &gateway.app().metrics;
    assert!(metrics.spans_dropped.get() >= 4, "{}", metrics.spans_dropped.get());
    assert_eq!(metrics.spans_exported.get(), 0);
    assert!(logs::contain("the collector takes no traces"));
    gateway.stop().await;
}

/// What a program got, line by line.
async fn lines(file: &std::path::Path) -> Vec<Value> {
    let text = tokio::fs::read_to_string(file).await.unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn messages_name_their_trace_to_us_to_upstreams_and_to_programs() {
    let (notes, collector) = (Notes::start().await, Collector::start().await);
    let directory = tempfile::tempdir().unwrap();
    let heard = directory.path().join("heard");
    let script = format!("tee {} | {} demo-stdio", heard.display(), env!("CARGO_BIN_EXE_portcullis"));
    let program =
        configured(&format!("[[upstream]]\ncommand = \"sh\"\nargs = [\"-c\", {script:?}]\nalias = \"time\"\n"));
    let (authority, address) = (notes.authority(), collector.address.clone());
    let program = Mutex::new(program.upstream);
    let gateway = Gateway::with(move |config| {
        without_rates(config);
        exporting(config, &address, 1.0);
        let mut notes = upstream(&authority, UpstreamAuth::OAuth(Box::default()));
        notes.alias = Some("notes".to_owned());
        config.upstream.push(notes);
        config.upstream.append(&mut program.lock());
    })
    .await;
    let client = Client::ready(&mcp_url(&gateway, &notes.authority())).await;
    client.connect().await;
    notes.mcp.control.recorder().clear();
    let guest = Guest::of(&gateway, USER).await;

    // The message alone names a trace: the request is in it.
    let mut message = modern("tools/call", json!({ "name": "notes_whoami", "arguments": {} }));
    message["params"]["_meta"]["traceparent"] = PARENT.into();
    message["params"]["_meta"]["tracestate"] = "a=b".into();
    let fields = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "notes_whoami")];
    let answer = guest.post(&fields, &message).await;
    assert!(answer.message()["result"]["content"].is_array(), "{}", answer.body);
    let server = collector.span(&gateway, |span| span.kind == SERVER && span.trace_id == TRACE).await;
    let call = collector.span(&gateway, |span| span.kind == CLIENT && span.trace_id == TRACE).await;
    assert_eq!((server.parent_span_id.as_str(), call.parent_span_id.as_str()), ("00f067aa0ba902b7", &*server.span_id));
    assert_eq!((call.says("gen_ai.tool.name"), call.says("mcp.method.name")), (Some("whoami"), Some("tools/call")));
    let place = format!("00-{TRACE}-{}-01", call.span_id);
    let messages = notes.mcp.control.recorder().messages();
    let carried = messages.iter().find(|message| message["method"] == "tools/call").unwrap();
    assert_eq!(carried["params"]["_meta"]["traceparent"], place.as_str());
    assert_eq!(carried["params"]["_meta"]["tracestate"], "a=b");
    assert!(notes.mcp.control.recorder().values("traceparent").contains(&place));

    // The header names another one: the message's is the parent, and the request is linked.
    message["id"] = 2.into();
    let other = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01";
    let fields = [&fields[..], &[("traceparent", other)]].concat();
    guest.post(&fields, &message).await;
    let server = collector.span(&gateway, |span| span.kind == SERVER && span.trace_id.starts_with("aaaa")).await;
    let linked = collector.span(&gateway, |span| span.kind == CLIENT && !span.links.is_empty()).await;
    assert_eq!((linked.trace_id.as_str(), linked.parent_span_id.as_str()), (TRACE, "00f067aa0ba902b7"));
    assert_eq!(linked.links[0]["spanId"], server.span_id.as_str());

    // A client of 2025, and a program.
    let session = guest.initialize().await;
    let list = guest.say(&session, &request(3, "tools/list", json!({}))).await.message();
    let names: Vec<_> = list["result"]["tools"].as_array().unwrap().iter().filter_map(|t| t["name"].as_str()).collect();
    let tool = names.iter().find(|name| name.starts_with("time")).unwrap_or_else(|| panic!("{names:?}"));
    let call = request(4, "tools/call", json!({ "name": tool, "arguments": {}, "_meta": { "traceparent": PARENT } }));
    let fields = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", LEGACY)];
    guest.post(&fields, &call).await;
    let found = lines(&heard).await.into_iter().find(|message| message["method"] == "tools/call").unwrap();
    let told = found["params"]["_meta"]["traceparent"].as_str().unwrap().to_owned();
    let span = collector.span(&gateway, |span| told.contains(&span.span_id)).await;
    assert!(span.kind == CLIENT && span.trace_id == TRACE && told.starts_with(&PARENT[..36]), "{told} {span:?}");
    gateway.stop().await;
}

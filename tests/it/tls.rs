//! TLS on both sides: HTTP/2 and HTTP/1.1 from clients, HTTP/2 and HTTP/1.1 to upstreams, and whose certificates count.

use crate::client::{Client, mcp_url};
use crate::gateway::{Gateway, label, upstream};
use crate::process::PATIENCE;
use crate::raw::{Caller, RawUpstream, get, post, status};
use crate::tls_peers::{Authority, Frames, TlsUpstream};
use crate::upstreams::Notes;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis::config::UpstreamAuth;
use portcullis::devkit::browser::Browser;
use portcullis::secret::Secret;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const DOMAIN: &str = "gw.test";

/// A gateway at `https://gw.test:<port>` in front of one upstream with a fixed header.
async fn gateway(authority: &Authority, upstreams: &[&str]) -> Gateway {
    let tls = authority.files(&[DOMAIN, &format!("*.{DOMAIN}")]);
    let upstreams: Vec<String> = upstreams.iter().map(|text| (*text).to_owned()).collect();
    Gateway::with(move |config| {
        config.tls = tls.clone();
        config.server.domain = DOMAIN.to_owned();
        config.upstream.extend(upstreams.iter().map(|authority| upstream(authority, fixed())));
    })
    .await
}

/// The same in front of an upstream with an authorization server.
async fn oauth_gateway(authority: &Authority, notes: &Notes) -> Gateway {
    let (tls, address) = (authority.files(&[DOMAIN, &format!("*.{DOMAIN}")]), notes.authority());
    Gateway::with(move |config| {
        config.tls = tls.clone();
        config.server.domain = DOMAIN.to_owned();
        config.upstream.push(upstream(&address, UpstreamAuth::OAuth(Box::default())));
    })
    .await
}

async fn claude(authority: &Authority, url: &str) -> Client {
    let browser = Browser::trusting(&[authority.issuer.der().clone()]).unwrap();
    let client = Client::discover_with(browser, url, "https://claude.ai/api/mcp/auth_callback").await;
    client.with_document("https://claude.ai/oauth/mcp-oauth-client-metadata")
}

fn fixed() -> UpstreamAuth {
    UpstreamAuth::Header { name: header::AUTHORIZATION, value: Secret::new("Bearer upstream-secret".to_owned()) }
}

pub fn host_of(authority: &str) -> String {
    format!("{}.{DOMAIN}", label(authority))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

/// One request over a connection of its own.
async fn ask(authority: &Authority, protocol: &str, url: &str, token: Option<&str>, body: &'static str) -> Answer {
    let url: http::Uri = url.parse().unwrap();
    let stream = authority.connect(url.port_u16().unwrap(), url.host().unwrap(), protocol).await;
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut request = Request::builder().method(method);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = send(stream, protocol, request, url, Bytes::from(body)).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
}

async fn send(
    stream: TlsStream<TcpStream>,
    protocol: &str,
    request: http::request::Builder,
    url: http::Uri,
    body: Bytes,
) -> Response<Incoming> {
    send_body(stream, protocol, request, url, Full::new(body)).await
}

/// Sends a request whose body may still be coming.
pub async fn send_body<B>(
    stream: TlsStream<TcpStream>,
    protocol: &str,
    request: http::request::Builder,
    url: http::Uri,
    body: B,
) -> Response<Incoming>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let io = TokioIo::new(stream);
    if protocol == "h2" {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request.uri(url).body(body).unwrap()).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let target = url.path_and_query().unwrap().as_str();
        let request = request.header(header::HOST, url.authority().unwrap().as_str()).uri(target);
        sender.send_request(request.body(body).unwrap()).await.unwrap()
    }
}

#[tokio::test]
async fn both_versions_of_http_find_the_root_and_the_upstream() {
    let authority = Authority::new("test");
    let mut notes = RawUpstream::answering(OK).await;
    let gateway = gateway(&authority, &[&notes.authority]).await;
    let (root, mcp) = (gateway.root(), gateway.url_of(&notes.authority));
    assert_eq!(root, format!("https://{DOMAIN}:{}", gateway.port()));
    let (token, _) = gateway.token_for(&notes.authority).await;
    for protocol in ["h2", "http/1.1"] {
        let answer = ask(&authority, protocol, &format!("{root}/health"), None, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "{\"status\":\"ok\"}"), "{protocol}");
        let answer = ask(&authority, protocol, &format!("{root}/login"), None, "").await;
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("__Host-") && cookie.contains("Secure"), "{protocol}: {cookie}");

        let answer = ask(&authority, protocol, &format!("{mcp}/mcp"), None, LIST).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{protocol}");
        let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
        let pointer = format!("resource_metadata=\"{mcp}/.well-known/oauth-protected-resource/mcp\"");
        assert!(challenge.contains(&pointer), "{protocol}: {challenge}");
        let answer = ask(&authority, protocol, &format!("{mcp}/mcp"), Some(&token), LIST).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "{}"), "{protocol}");
        let seen = notes.received().await;
        assert_eq!(seen.field("host"), Some(notes.authority.as_str()));
        assert_eq!(seen.field("authorization"), Some("Bearer upstream-secret"));
        assert_eq!(seen.body, LIST.as_bytes());

        let nowhere = format!("https://garbage-enc.{DOMAIN}:{}/mcp", gateway.port());
        assert_eq!(ask(&authority, protocol, &nowhere, Some(&token), LIST).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_whole_way_over_https() {
    let authority = Authority::new("test");
    let notes = Notes::start().await;
    let gateway = oauth_gateway(&authority, &notes).await;
    let client = claude(&authority, &mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    let (status, body) = client.call(&ours.access, "whoami").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, answer) = client.refresh(&ours.refresh).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn a_websocket_over_tls() {
    let authority = Authority::new("test");
    let notes = Notes::start().await;
    let gateway = oauth_gateway(&authority, &notes).await;
    let client = claude(&authority, &mcp_url(&gateway, &notes.authority())).await;
    let ours = client.connect().await;
    let host = host_of(&notes.authority());
    let stream = authority.connect(gateway.port(), &host, "http/1.1").await;
    let mut request = format!("wss://{host}:{}/echo", gateway.port()).into_client_request().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {}", ours.access).parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let echoed = tokio::time::timeout(PATIENCE, socket.next()).await.expect("no echo").unwrap().unwrap();
    assert_eq!(echoed.into_text().unwrap().as_str(), "hello");
}

fn request(port: u16, host: &str, token: &str) -> http::request::Builder {
    Request::post(format!("https://{host}:{port}/mcp")).header(header::AUTHORIZATION, format!("Bearer {token}"))
}

/// Pingora's issue #935: its proxy ended the body twice, and the second end became the beginning of the next request on
/// that connection.
#[tokio::test]
async fn an_empty_frame_at_the_end_ends_the_body_once() {
    let authority = Authority::new("test");
    let mut notes = RawUpstream::answering(OK).await;
    let gateway = gateway(&authority, &[&notes.authority]).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let client = Frames::connect(&authority, gateway.port(), DOMAIN).await;
    let host = host_of(&notes.authority);
    let large = Bytes::from(vec![b' '; 40_000]);
    for pieces in [vec![Bytes::from(LIST)], vec![large.clone(); 5], Vec::new(), vec![Bytes::new(), Bytes::from(LIST)]] {
        let sent: Vec<u8> = pieces.concat();
        for announced in [false, true] {
            let mut request = request(gateway.port(), &host, &token);
            if announced {
                request = request.header(header::CONTENT_LENGTH, sent.len());
            }
            let (status, body) = client.post(request, &pieces).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, "{}"), "{} bytes, {announced}", sent.len());
            let seen = notes.received().await;
            assert!(seen.head.starts_with("POST /mcp HTTP/1.1\r\n"), "{:?}", seen.head);
            assert_eq!(seen.body.len(), sent.len());
        }
    }
    assert_eq!(notes.connections(), 1, "the connection stays usable");
    assert!(!notes.has_received());
}

#[tokio::test]
async fn a30_every_request_of_a_shared_connection_goes_by_its_own_authority() {
    let authority = Authority::new("test");
    let (mut notes, mut other) = (RawUpstream::answering(OK).await, RawUpstream::answering(OK).await);
    let gateway = gateway(&authority, &[&notes.authority, &other.authority]).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let (other_token, _) = gateway.token_for(&other.authority).await;
    let client = Frames::connect(&authority, gateway.port(), DOMAIN).await;
    let (host, other_host) = (host_of(&notes.authority), host_of(&other.authority));
    let body = [Bytes::from(LIST)];
    let port = gateway.port();
    assert_eq!(client.post(request(port, &host, &token), &body).await.0, StatusCode::OK);
    assert_eq!(client.post(request(port, &other_host, &other_token), &body).await.0, StatusCode::OK);
    assert_eq!(client.post(request(port, &other_host, &token), &body).await.0, StatusCode::UNAUTHORIZED);
    notes.received().await;
    other.received().await;
    // Two names in one request: neither is believed.
    let contradictory = request(port, &host, &token).header(header::HOST, format!("{other_host}:{port}"));
    assert_eq!(client.post(contradictory, &body).await.0, StatusCode::BAD_REQUEST);
    assert!(!notes.has_received() && !other.has_received());
}

/// A plain gateway that knows `mcp.test` and trusts `ca` for upstreams.
async fn trusting(ca: &Path, upstream_authority: &str) -> Gateway {
    let (ca, authority) = (ca.to_owned(), upstream_authority.to_owned());
    Gateway::with_names(&["mcp.test"], move |config| {
        config.upstreams.ca_file = Some(ca.clone());
        config.upstream.push(upstream(&authority, fixed()));
    })
    .await
}

async fn post_through(gateway: &Gateway, authority: &str) -> (u16, String) {
    let (token, _) = gateway.token_for(authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    caller.send(post(&gateway.host_of(authority), &token, LIST)).await;
    let (head, body) = caller.response().await;
    (status(&head), body)
}

#[tokio::test]
async fn an_upstream_over_tls_speaks_what_it_can() {
    let authority = Authority::new("upstreams");
    for (protocols, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["h2"], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let upstream = TlsUpstream::start(&authority, "mcp.test", protocols).await;
        let name = format!("mcp.test:{}", upstream.port);
        let gateway = trusting(&authority.file(), &name).await;
        for _ in 0..2 {
            assert_eq!(post_through(&gateway, &name).await, (200, "{}".to_owned()), "{protocols:?}");
        }
        let seen = upstream.seen();
        assert_eq!(seen, [(version, name.clone()), (version, name)], "{protocols:?}");
    }
}

#[tokio::test]
async fn an_upstream_without_a_good_certificate_gets_nothing() {
    let (authority, stranger) = (Authority::new("upstreams"), Authority::new("strangers"));
    for (issuer, name) in [(&authority, "other.test"), (&authority, "sub.mcp.test"), (&stranger, "mcp.test")] {
        let upstream = TlsUpstream::start(issuer, name, &["h2", "http/1.1"]).await;
        let address = format!("mcp.test:{}", upstream.port);
        let gateway = trusting(&authority.file(), &address).await;
        let (status, body) = post_through(&gateway, &address).await;
        assert_eq!(status, 502, "{name}: {body}");
        assert!(body.contains("certificate"), "{name}: {body}");
        assert!(upstream.seen().is_empty(), "{name}");
    }
    // Plain HTTP where TLS is spoken, and a name that leads nowhere.
    let plain = RawUpstream::start(|_, mut connection| async move {
        connection.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let port = plain.authority.rsplit(':').next().unwrap();
    for address in [format!("mcp.test:{port}"), format!("nowhere.test:{port}")] {
        let gateway = trusting(&authority.file(), &address).await;
        let (status, body) = post_through(&gateway, &address).await;
        assert_eq!(status, 502, "{address}: {body}");
    }
}

#[tokio::test]
async fn the_outbound_client_trusts_the_same_authorities() {
    let (authority, stranger) = (Authority::new("upstreams"), Authority::new("strangers"));
    let server = TlsUpstream::start(&authority, "mcp.test", &["h2", "http/1.1"]).await;
    let host = format!("mcp.test:{}", server.port);
    for (trusted, expected) in [(&authority, 303), (&stranger, 400)] {
        let gateway = trusting(&trusted.file(), &host).await;
        let query = format!(
            "response_type=code&client_id=https%3A%2F%2Fmcp.test%3A{}%2Fclient.json&code_challenge_method=S256\
             &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            server.port
        );
        let mut caller = Caller::connect(gateway.port()).await;
        let target = format!("/authorize/{}?{query}", label(&host));
        caller.send(format!("GET {target} HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", gateway.port())).await;
        let (head, body) = caller.response().await;
        assert_eq!(status(&head), expected, "{head}{body}");
    }
}

/// A gateway with TLS on both sides, and a token for its upstream.
pub async fn between(authority: &Authority, upstream_port: u16) -> (Gateway, String, String) {
    let (tls, ca) = (authority.files(&[DOMAIN, &format!("*.{DOMAIN}")]), authority.file());
    let name = format!("mcp.test:{upstream_port}");
    let configured = name.clone();
    let gateway = Gateway::with_names(&["mcp.test"], move |config| {
        config.tls = tls.clone();
        config.server.domain = DOMAIN.to_owned();
        config.upstreams.ca_file = Some(ca.clone());
        config.upstream.push(upstream(&configured, fixed()));
    })
    .await;
    let (token, _) = gateway.token_for(&name).await;
    (gateway, name, token)
}

#[tokio::test]
async fn c_a_caller_that_leaves_while_its_upstream_is_connected_to_waits_for_nothing() {
    let authority = Authority::new("test");
    let (upstream, left) = RawUpstream::silent().await;
    let port = upstream.authority.rsplit(':').next().unwrap().parse().unwrap();
    let (gateway, name, token) = between(&authority, port).await;
    let host = host_of(&name);
    // Sooner than the gateway itself gives up, which is after five seconds.
    let is_closed = async |callers: usize| {
        let closed = tokio::time::timeout(Duration::from_secs(4), left.notified()).await;
        assert!(closed.is_ok() && upstream.connections() == callers, "{} of {callers}", upstream.connections());
    };
    let connecting = async |callers: usize| {
        while upstream.connections() < callers {
            tokio::task::yield_now().await;
        }
    };

    let mut caller = authority.connect(gateway.port(), DOMAIN, "http/1.1").await;
    caller.write_all(get(&host, &token, "/mcp").as_bytes()).await.unwrap();
    caller.flush().await.unwrap();
    connecting(1).await;
    drop(caller);
    is_closed(1).await;

    let caller = Frames::connect(&authority, gateway.port(), DOMAIN).await;
    let answer = caller.begin(request(gateway.port(), &host, &token)).await;
    connecting(2).await;
    drop(answer);
    is_closed(2).await;
}

pub const PAIRS: [(&str, &str); 4] = [("h2", "h2"), ("h2", "http/1.1"), ("http/1.1", "h2"), ("http/1.1", "http/1.1")];

#[tokio::test]
async fn bodies_of_every_size_pass_between_every_pair_of_versions() {
    let authority = Authority::new("test");
    for (downstream, spoken) in PAIRS {
        let upstream = TlsUpstream::start(&authority, "mcp.test", &[spoken]).await;
        let (gateway, name, token) = between(&authority, upstream.port).await;
        let host = host_of(&name);
        for (method, path, length) in [
            ("POST", "/echo", 0),
            ("POST", "/echo", 1),
            ("POST", "/echo", 65_536),
            ("POST", "/echo", 3_000_000),
            ("HEAD", "/echo", 0),
            ("POST", "/empty", 5),
            ("GET", "/", 0),
        ] {
            let what = format!("{downstream} to {spoken}: {method} {path} {length}");
            let stream = authority.connect(gateway.port(), &host, downstream).await;
            let request = Request::builder().method(method).header(header::AUTHORIZATION, format!("Bearer {token}"));
            let url = format!("https://{host}:{}{path}", gateway.port()).parse().unwrap();
            let sent: Vec<u8> = (0..length).map(|at: usize| (at % 251) as u8).collect();
            let body = Bytes::from(sent.clone());
            let response =
                tokio::time::timeout(PATIENCE, send(stream, downstream, request, url, body)).await.expect(&what);
            let expected = if path == "/empty" { StatusCode::NO_CONTENT } else { StatusCode::OK };
            assert_eq!(response.status(), expected, "{what}");
            let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.expect(&what).expect(&what);
            match path {
                "/echo" => assert!(body.to_bytes() == sent, "{what}"),
                "/empty" => assert!(body.to_bytes().is_empty(), "{what}"),
                _ => assert_eq!(body.to_bytes(), "{}", "{what}"),
            }
        }
        let version = if spoken == "h2" { Version::HTTP_2 } else { Version::HTTP_11 };
        assert!(upstream.seen().iter().all(|(seen, host)| *seen == version && *host == name), "{:?}", upstream.seen());
    }
}

#[tokio::test]
async fn events_arrive_at_once_and_a_reader_that_leaves_is_noticed_upstream() {
    let authority = Authority::new("test");
    for (downstream, spoken) in PAIRS {
        let mut upstream = TlsUpstream::start(&authority, "mcp.test", &[spoken]).await;
        let (gateway, name, token) = between(&authority, upstream.port).await;
        let host = host_of(&name);
        let stream = authority.connect(gateway.port(), &host, downstream).await;
        let request = Request::builder()
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT, "text/event-stream");
        let url = format!("https://{host}:{}/events", gateway.port()).parse().unwrap();
        let what = format!("{downstream} to {spoken}");
        let response = send(stream, downstream, request, url, Bytes::new());
        let mut events = tokio::time::timeout(PATIENCE, response).await.expect(&what).into_body();
        assert_eq!(next(&mut events, &what).await, "data: 1\n\n", "{what}");
        let source = upstream.streams.recv().await.unwrap();
        source.send(Bytes::from("data: 2\n\n")).await.unwrap();
        assert_eq!(next(&mut events, &what).await, "data: 2\n\n", "{what}");
        drop(events);
        tokio::time::timeout(PATIENCE, source.closed()).await.unwrap_or_else(|_| panic!("{what}: still open"));
    }
}

async fn next(events: &mut Incoming, what: &str) -> Bytes {
    let frame = tokio::time::timeout(PATIENCE, events.frame()).await.expect(what).expect(what).expect(what);
    frame.into_data().unwrap()
}

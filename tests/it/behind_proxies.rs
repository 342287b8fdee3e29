//! The gateway behind real proxies with the recipes of `deploy`, over TLS: `make test-proxies`. Where a recipe waits long, the
//! test waits as long as it takes to see the same with less.

use crate::forward_proxies::{Proxy, caddy_with, free_port, nginx_with, start};
use crate::gateway::{Gateway, label, upstream};
use crate::program::echo;
use crate::raw::{Caller, RawUpstream, field, get, post, status};
use crate::tls_peers::{Authority, Frames};
use futures_util::{SinkExt, StreamExt};
use portcullis::config::{Rate, Source, Tls, UpstreamAuth, load};
use portcullis::hostname::Scheme;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
/// What takes the place of a recipe's 330 seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
const HEARTBEAT: Duration = Duration::from_millis(300);
/// More than any proxy's own limit of a body, less than the gateway's.
const BODY: usize = 20 << 20;

#[tokio::test]
#[ignore = "needs nginx: make test-proxies"]
async fn behind_nginx() {
    let world = World::new().await;
    let directory = TempDir::new().unwrap();
    let listen = format!("listen 127.0.0.1:{} ssl http2;", world.port);
    let plain = format!("listen 127.0.0.1:{};", free_port());
    let Tls::Files { cert, key } = &world.certificate else { panic!() };
    let site = world.recipe(
        "nginx/portcullis.conf",
        &[
            ("listen 443 ssl http2;", &listen),
            ("listen 80;", &plain),
            ("server_name gw.example *.gw.example;", "server_name localhost *.localhost;"),
            ("/etc/letsencrypt/live/gw.example/fullchain.pem", cert.to_str().unwrap()),
            ("/etc/letsencrypt/live/gw.example/privkey.pem", key.to_str().unwrap()),
            ("330s", "2s"),
        ],
    );
    let proxy = start(nginx_with(&site, &directory), world.port, false, directory).await;
    world.works_behind(proxy).await;
}

#[tokio::test]
#[ignore = "needs caddy: make test-proxies"]
async fn behind_caddy() {
    let world = World::new().await;
    let directory = TempDir::new().unwrap();
    let sites = format!("https://localhost:{0}, https://*.localhost:{0} {{", world.port);
    let Tls::Files { cert, key } = &world.certificate else { panic!() };
    let site = world.recipe(
        "caddy/Caddyfile",
        &[
            ("gw.example, *.gw.example {", &sites),
            ("/etc/caddy/gw.example.pem", cert.to_str().unwrap()),
            ("/etc/caddy/gw.example.key", key.to_str().unwrap()),
            ("330s", "2s"),
        ],
    );
    let proxy = start(caddy_with(&site, &directory), world.port, false, directory).await;
    world.works_behind(proxy).await;
}

#[test]
fn the_gateways_side_of_every_recipe_is_valid() {
    let file = deploy().join("behind-a-proxy.toml");
    let config = load(&Source { file: Some(file), environment: [].into() }).unwrap();
    assert_eq!(config.server.public, Some((Scheme::Https, 443)));
    assert_eq!(config.server.listen, ["127.0.0.1:8080".parse().unwrap()]);
}

/// A gateway behind a port on which no proxy listens yet.
struct World {
    gateway: Gateway,
    notes: RawUpstream,
    echo: String,
    /// The second event of a stream is sent.
    go_on: Arc<Notify>,
    authority: Authority,
    certificate: Tls,
    port: u16,
}

impl World {
    async fn new() -> Self {
        let go_on = Arc::new(Notify::new());
        let (notes, echo) = (notes(go_on.clone()).await, echo().await);
        let (port, upstreams) = (free_port(), [notes.authority.clone(), echo.clone()]);
        let authority = Authority::new("behind a proxy");
        let names = upstreams.clone().map(|one| format!("{}.localhost", label(&one)));
        let certificate = authority.files(&["localhost", &names[0], &names[1]]);
        let gateway = Gateway::with(move |config| {
            config.server.public = Some((Scheme::Https, port));
            config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            config.streams.heartbeat = Some(HEARTBEAT);
            config.limits.registration = Rate { count: 1, period: Duration::from_secs(3600), burst: 3 };
            config.upstream.extend(upstreams.iter().map(|one| upstream(one, UpstreamAuth::None)));
        })
        .await;
        Self { gateway, notes, echo, go_on, authority, certificate, port }
    }

    /// A recipe with this gateway and these other changes.
    fn recipe(&self, name: &str, changes: &[(&str, &str)]) -> String {
        let mut text = std::fs::read_to_string(deploy().join(name)).unwrap();
        let gateway = format!("127.0.0.1:{}", self.gateway.port());
        for (from, to) in changes.iter().chain(&[("127.0.0.1:8080", &*gateway)]) {
            assert!(text.contains(from), "{name} has no {from}");
            text = text.replace(from, to);
        }
        text
    }

    async fn works_behind(mut self, _proxy: Proxy) {
        let host = format!("{}.localhost", label(&self.notes.authority));
        self.strangers_learn_where_to_sign_in(&host).await;
        self.large_bodies_arrive(&host).await;
        self.events_come_one_by_one_for_longer_than_the_proxy_waits(&host).await;
        self.a_websocket_opens().await;
        self.callers_have_their_own_addresses().await;
    }

    async fn strangers_learn_where_to_sign_in(&self, host: &str) {
        let authority = format!("{host}:{}", self.port);
        let mut caller = self.caller(host, "127.0.0.1").await;
        let (head, _) = caller.send(post(&authority, "nonsense", LIST)).await.response().await;
        assert_eq!(status(&head), 401, "{head}");
        let challenge = field(&head, "www-authenticate").unwrap();
        let metadata = format!("https://{authority}/.well-known/oauth-protected-resource/mcp");
        assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
        let path = metadata.strip_prefix(&format!("https://{authority}")).unwrap();
        let (head, body) = caller.send(get(&authority, "nonsense", path)).await.response().await;
        assert_eq!(status(&head), 200, "{head}");
        let metadata: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(metadata["resource"], format!("https://{authority}/mcp"));
        assert_eq!(metadata["authorization_servers"][0], format!("https://{authority}"));

        let frames = Frames::connect(&self.authority, self.port, host).await;
        let request = http::Request::post(format!("https://{authority}/mcp"));
        assert_eq!(frames.post(request, &[LIST.into()]).await.0, 401, "over HTTP/2");
    }

    async fn large_bodies_arrive(&mut self, host: &str) {
        let body = format!("{{\"text\":\"{}\"}}", "x".repeat(BODY));
        let mut caller = self.caller(host, "127.0.0.1").await;
        let request = post(&format!("{host}:{}", self.port), &self.token().await, &body);
        let (head, _) = caller.send(request).await.response_within(Duration::from_secs(60)).await;
        assert_eq!(status(&head), 200, "{head}");
        assert_eq!(self.notes.received().await.body.len(), body.len());
    }

    async fn events_come_one_by_one_for_longer_than_the_proxy_waits(&self, host: &str) {
        let mut caller = self.caller(host, "127.0.0.1").await;
        caller.send(get(&format!("{host}:{}", self.port), &self.token().await, "/mcp")).await;
        // The second one is not even sent until the first is here.
        let head = caller.until("data: one\n\n").await;
        assert_eq!(status(&head), 200, "{head}");
        let began = Instant::now();
        while began.elapsed() < READ_TIMEOUT * 2 {
            caller.until(":").await;
        }
        self.go_on.notify_one();
        caller.until("data: two\n\n").await;
    }

    async fn a_websocket_opens(&self) {
        let host = format!("{}.localhost", label(&self.echo));
        let token = self.gateway.token_for(&self.echo).await.0;
        let mut request = format!("ws://{host}:{}/mcp", self.port).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let stream = self.caller(&host, "127.0.0.1").await.into_stream();
        let (mut socket, _) = client_async(request, stream).await.unwrap();
        socket.send(Message::text("through two proxies")).await.unwrap();
        let said = loop {
            match socket.next().await.unwrap().unwrap() {
                message if message.is_text() => break message,
                _ => {}
            }
        };
        assert_eq!(said.into_text().unwrap(), "through two proxies");
    }

    async fn callers_have_their_own_addresses(&self) {
        let authority = format!("localhost:{}", self.port);
        let body = r#"{"redirect_uris":["http://127.0.0.1/callback"]}"#;
        let register = async |source: &str, claimed: usize| {
            let request = format!(
                "POST /register HTTP/1.1\r\nHost: {authority}\r\nX-Forwarded-For: 10.9.8.{claimed}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            self.caller("localhost", source).await.send(request).await.status().await
        };
        for (number, expected) in [201, 201, 201, 429].into_iter().enumerate() {
            assert_eq!(register("127.0.0.2", number).await, expected, "{number}");
        }
        assert_eq!(register("127.0.0.3", 0).await, 201, "somebody else");
    }

    async fn token(&self) -> String {
        self.gateway.token_for(&self.notes.authority).await.0
    }

    /// A caller whose bytes go through TLS to the proxy, from an address of this machine.
    async fn caller(&self, host: &str, source: &str) -> Caller {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
        let stream = socket.connect(([127, 0, 0, 1], self.port).into()).await.unwrap();
        let mut secured = self.authority.handshake(stream, host, "http/1.1").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let caller = Caller::connect(listener.local_addr().unwrap().port()).await;
        let (mut plain, _) = listener.accept().await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut plain, &mut secured).await });
        caller
    }
}

fn deploy() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// Answers POST, and sends two events to whoever sends GET: one at once, one when told to.
async fn notes(go_on: Arc<Notify>) -> RawUpstream {
    RawUpstream::start(move |_, mut connection| {
        let go_on = go_on.clone();
        async move {
            while let Some(head) = connection.request_head().await {
                if head.starts_with("POST") {
                    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
                    connection.send(answer).await;
                } else {
                    connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n").await;
                    go_on.notified().await;
                    connection.send("data: two\n\n").await;
                    connection.closed().await;
                }
            }
        }
    })
    .await
}

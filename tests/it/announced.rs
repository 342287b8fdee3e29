//! The PROXY protocol in front of a gateway: the announced address is the one that limits and the audit log go by.

use crate::gateway::Gateway;
use crate::raw::{Caller, field, status};
use crate::tls_peers::Authority;
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use portcullis::config::{Config, Rate};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

const REGISTRATION: &str = r#"{"client_name":"Test","redirect_uris":["https://claude.ai/api/mcp/auth_callback"]}"#;

/// Two requests of an address are let through; 127.0.0.1 is a load balancer.
fn behind_a_balancer(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    config.server.proxy_protocol = true;
    config.limits.per_ip = Rate { count: 1, period: Duration::from_secs(3600), burst: 2 };
}

fn version_1(source: &str) -> String {
    format!("PROXY TCP4 {source} 127.0.0.1 40000 443\r\n")
}

fn version_2(source: [u8; 4]) -> Vec<u8> {
    let head: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11";
    let addresses = [&source[..], &[127, 0, 0, 1, 0x9c, 0x40, 1, 187]].concat();
    [head, &addresses, b"\x04\0\x02ab"].concat()
}

fn health(gateway: &Gateway, forwarded: &str) -> String {
    let forwarded = if forwarded.is_empty() { String::new() } else { format!("X-Forwarded-For: {forwarded}\r\n") };
    format!("GET /health HTTP/1.1\r\nHost: localhost:{}\r\n{forwarded}\r\n", gateway.port())
}

#[tokio::test]
async fn the_announced_address_is_the_one_that_is_limited() {
    let gateway = Gateway::with(behind_a_balancer).await;
    let ask = async |header: Vec<u8>, forwarded: &str| {
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send([header, health(&gateway, forwarded).into_bytes()].concat()).await.status().await
    };
    assert_eq!(ask(version_1("203.0.113.1").into(), "").await, 200);
    assert_eq!(ask(version_2([203, 0, 113, 1]), "").await, 200);
    assert_eq!(ask(version_1("203.0.113.1").into(), "").await, 429);
    assert_eq!(
        ask(version_2([203, 0, 113, 1]), "203.0.113.77").await,
        429,
        "a stranger's X-Forwarded-For counts nothing"
    );
    assert_eq!(ask(version_1("203.0.113.2").into(), "").await, 200);
    // The balancer itself: a health check, or a proxy of the same machine that says whose request it is.
    assert_eq!(ask(b"PROXY UNKNOWN\r\n".into(), "").await, 200);
    assert_eq!(ask(version_1("127.0.0.1").into(), "203.0.113.1").await, 429);
    assert_eq!(ask(version_1("127.0.0.1").into(), "203.0.113.3").await, 200);
}

#[tokio::test]
async fn a_connection_keeps_its_address_and_the_audit_log_has_it() {
    let gateway = Gateway::with(|config| {
        behind_a_balancer(config);
        config.limits.per_ip.burst = 10;
    })
    .await;
    let mut caller = Caller::connect(gateway.port()).await;
    // Header by header, byte by byte: nothing depends on how the network cuts.
    for byte in version_1("203.0.113.9").bytes() {
        caller.send([byte]).await;
    }
    let post = format!(
        "POST /register HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{REGISTRATION}",
        gateway.port(),
        REGISTRATION.len()
    );
    for _ in 0..2 {
        let (head, body) = caller.send(&post).await.response().await;
        assert_eq!(status(&head), 201, "{body}");
    }
    gateway.app().audit.flush().await;
    let lines = gateway.app().store.audit(10).await.unwrap();
    let addresses: Vec<_> =
        lines.iter().filter(|line| line.action == "client.registered").map(|line| line.address.as_deref()).collect();
    assert_eq!(addresses, [Some("203.0.113.9"); 2]);
}

#[tokio::test]
async fn connections_without_a_header_and_from_strangers_are_closed() {
    let gateway = Gateway::with(behind_a_balancer).await;
    let mut bare = Caller::connect(gateway.port()).await;
    assert_eq!(bare.send(health(&gateway, "")).await.rest().await, "");
    let mut malformed = Caller::connect(gateway.port()).await;
    malformed.send(version_1("localhost")).await;
    assert_eq!(malformed.send(health(&gateway, "")).await.rest().await, "");
    let mut stranger = Caller::connect_from("127.0.0.2", gateway.port()).await;
    assert_eq!(stranger.send(version_1("203.0.113.9")).await.rest().await, "");
    let mut good = Caller::connect(gateway.port()).await;
    good.send(version_1("203.0.113.9")).await;
    assert_eq!(good.send(health(&gateway, "")).await.status().await, 200);
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let authority = Authority::new("test");
    let tls = authority.files(&["gw.test", "*.gw.test"]);
    let gateway = Gateway::with(move |config| {
        behind_a_balancer(config);
        config.tls = tls.clone();
        config.server.domain = "gw.test".to_owned();
    })
    .await;
    let mut statuses = Vec::new();
    for header in [version_1("203.0.113.1").into(), version_2([203, 0, 113, 1]), version_2([203, 0, 113, 1])] {
        let mut caller = Caller::connect(gateway.port()).await;
        caller.send(header).await;
        let stream = authority.handshake(caller.into_stream(), "gw.test", "http/1.1").await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("/health").header("host", format!("gw.test:{}", gateway.port()));
        let response = sender.send_request(request.body(Empty::<&[u8]>::new()).unwrap()).await.unwrap();
        statuses.push(response.status());
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(statuses, [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS]);
    let mut stranger = Caller::connect_from("127.0.0.2", gateway.port()).await;
    assert_eq!(stranger.send(version_1("203.0.113.9")).await.rest().await, "");
}

/// A real sender; `make test-proxies`.
#[tokio::test]
#[ignore = "needs haproxy: make test-proxies"]
async fn haproxy_announces_its_clients() {
    let gateway = Gateway::with(behind_a_balancer).await;
    for version in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,authority"] {
        let directory = TempDir::new().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = directory.path().join("haproxy.cfg");
        // `check` sends LOCAL, or UNKNOWN, and closes.
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
             listen front\n bind 127.0.0.1:{port}\n unique-id-format x\n\
             server gateway 127.0.0.1:{} check inter 100ms {version}\n",
            gateway.port()
        );
        std::fs::write(&file, text).unwrap();
        let mut haproxy = tokio::process::Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let number = version.len() as u8;
        for (expected, source) in [(200, 2), (200, 2), (429, 2), (200, 3)] {
            let mut caller = Caller::connect_from(&format!("127.0.{number}.{source}"), port).await;
            let (head, _) = caller.send(health(&gateway, "")).await.response().await;
            assert_eq!(status(&head), expected, "{version}: {head}");
            assert_eq!(field(&head, "retry-after").is_some(), expected == 429);
        }
        haproxy.kill().await.unwrap();
    }
}

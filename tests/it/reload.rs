//! Another configuration for a gateway that runs: what changes, what stays, and that nobody notices who is not meant to.

use crate::gateway::{Gateway, upstream};
use crate::raw::{Caller, RawUpstream, field, get, post, status};
use crate::tls_peers::{Authority, TlsUpstream};
use http::HeaderName;
use portcullis::app::Reloaded;
use portcullis::config::{Config, Rate, Unknown, UpstreamAuth};
use portcullis::secret::Secret;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const HOUR: Duration = Duration::from_secs(3600);

/// Lets the upstream be used by everybody.
fn open(config: &mut Config, authority: &str) {
    config.upstream.push(upstream(authority, UpstreamAuth::None));
}

/// A gateway for this upstream and no others.
async fn gateway_for(authority: &str) -> Gateway {
    let authority = authority.to_owned();
    Gateway::with(move |config| {
        config.upstreams.unknown = Unknown::Deny;
        open(config, &authority);
    })
    .await
}

/// The status of a request on a connection that is kept.
async fn ask(caller: &mut Caller, gateway: &Gateway, authority: &str, token: &str) -> u16 {
    caller.send(post(&gateway.host_of(authority), token, LIST)).await.status().await
}

#[tokio::test]
async fn open_streams_and_connections_go_on_while_upstreams_and_limits_change() {
    let speak = Arc::new(Notify::new());
    let told = speak.clone();
    let notes = RawUpstream::start(move |_, mut connection| {
        let speak = told.clone();
        async move {
            connection.request().await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n").await;
            speak.notified().await;
            connection.send("data: two\n\n").await;
        }
    })
    .await;
    let (old, new) = (RawUpstream::answering(OK).await, RawUpstream::answering(OK).await);
    let (first, second) = (notes.authority.clone(), old.authority.clone());
    let gateway = Gateway::with(move |config| {
        config.upstreams.unknown = Unknown::Deny;
        open(config, &first);
        open(config, &second);
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut stream = Caller::connect(gateway.port()).await;
    stream.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await.until("data: one\n\n").await;
    let (old_token, _) = gateway.token_for(&old.authority).await;
    let (new_token, _) = gateway.token_for(&new.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    assert_eq!(ask(&mut caller, &gateway, &old.authority, &old_token).await, 200);
    assert_eq!(ask(&mut caller, &gateway, &new.authority, &new_token).await, 404);

    let (gone, come) = (old.authority.clone(), new.authority.clone());
    let reloaded = gateway
        .reload(move |config| {
            config.upstream.retain(|upstream| upstream.authority.as_str() != gone);
            open(config, &come);
            config.server.max_body = 10;
        })
        .await
        .unwrap();
    assert_eq!(reloaded, Reloaded { changed: vec!["server.max_body", "upstream"], needs_restart: vec![] });
    assert_eq!(ask(&mut caller, &gateway, &old.authority, &old_token).await, 404, "on the same connection");
    let (head, _) = caller.send(post(&gateway.host_of(&new.authority), &new_token, LIST)).await.response().await;
    assert_eq!(status(&head), 413, "the request is longer than ten bytes");
    let mut caller = Caller::connect(gateway.port()).await;
    let small = post(&gateway.host_of(&new.authority), &new_token, "{}");
    assert_eq!(caller.send(small).await.status().await, 200);

    speak.notify_one();
    stream.until("data: two\n\n").await;
}

#[tokio::test]
async fn streams_of_an_upstream_that_is_no_more_end_between_two_events() {
    let notes = RawUpstream::start(|_, mut connection| async move {
        connection.request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n").await;
        connection.closed().await;
    })
    .await;
    let gateway = gateway_for(&notes.authority).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut stream = Caller::connect(gateway.port()).await;
    stream.send(get(&gateway.host_of(&notes.authority), &token, "/mcp")).await.until("data: one\n\n").await;
    gateway.reload(|config| config.upstream.clear()).await.unwrap();
    stream.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_limit_keeps_its_counts_until_its_rate_changes() {
    let notes = RawUpstream::answering(OK).await;
    let authority = notes.authority.clone();
    let twice = Rate { count: 1, period: HOUR, burst: 2 };
    let gateway = Gateway::with(move |config| {
        config.limits.per_user = twice;
        open(config, &authority);
    })
    .await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    for expected in [200, 200, 429] {
        assert_eq!(ask(&mut caller, &gateway, &notes.authority, &token).await, expected);
    }
    let once = Rate { count: 1, period: HOUR, burst: 1 };
    let reloaded = gateway.reload(move |config| config.limits.token_endpoint = once).await.unwrap();
    assert_eq!(reloaded.changed, ["limits"]);
    assert_eq!(ask(&mut caller, &gateway, &notes.authority, &token).await, 429, "nobody gets a new bucket");
    let form = format!(
        "POST /token HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n",
        gateway.host_of(&notes.authority)
    );
    for expected in [401, 429] {
        assert_eq!(caller.send(&form).await.status().await, expected, "the control plane has the new limit too");
    }
    gateway.reload(|config| config.limits.per_user.burst = 3).await.unwrap();
    for expected in [200, 200, 200, 429] {
        assert_eq!(ask(&mut caller, &gateway, &notes.authority, &token).await, expected);
    }
}

#[tokio::test]
async fn how_an_upstream_is_authorized_changes_with_the_next_request() {
    let mut notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes.authority).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    for key in [None, Some("first"), Some("second"), None] {
        let reloaded = gateway
            .reload(move |config| {
                let Some(key) = key else { return };
                let (name, value) = (HeaderName::from_static("x-api-key"), Secret::new(key.to_owned()));
                config.upstream[0].auth = UpstreamAuth::Header { name, value };
            })
            .await
            .unwrap();
        assert_eq!(ask(&mut caller, &gateway, &notes.authority, &token).await, 200);
        assert_eq!(notes.received().await.field("x-api-key"), key, "{reloaded:?}");
    }
    assert_eq!(gateway.reload(|_| {}).await.unwrap(), Reloaded::default(), "nothing has changed");
}

#[tokio::test]
async fn origins_and_proxies_are_believed_as_the_new_configuration_says() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes.authority).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    let from = |origin: &str| {
        post(&gateway.host_of(&notes.authority), &token, LIST).replacen("\r\n", &format!("\r\nOrigin: {origin}\r\n"), 1)
    };
    let page = from("https://app.example");
    assert_eq!(caller.send(&page).await.status().await, 403);
    let allow = |config: &mut Config| config.server.allowed_origins.push("https://app.example".to_owned());
    gateway.reload(allow).await.unwrap();
    let (head, _) = caller.send(&page).await.response().await;
    assert_eq!(status(&head), 200);
    assert_eq!(field(&head, "access-control-allow-origin").as_deref(), Some("https://app.example"));
    gateway.reload(|_| {}).await.unwrap();
    assert_eq!(caller.send(&page).await.status().await, 403);

    // With one request an hour and address, only who may name addresses has more than one.
    let once = Rate { count: 1, period: HOUR, burst: 1 };
    gateway.reload(move |config| config.limits.per_ip = once).await.unwrap();
    let named = |address: &str| {
        let field = format!("\r\nX-Forwarded-For: {address}\r\n");
        post(&gateway.host_of(&notes.authority), &token, LIST).replacen("\r\n", &field, 1)
    };
    for (address, expected) in [("192.0.2.1", 200), ("192.0.2.2", 429)] {
        assert_eq!(caller.send(named(address)).await.status().await, expected, "{address}");
    }
    let trusting = move |config: &mut Config| {
        config.limits.per_ip = once;
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    };
    assert_eq!(gateway.reload(trusting).await.unwrap().changed, ["server.trusted_proxies"]);
    for (address, expected) in [("192.0.2.3", 200), ("192.0.2.4", 200), ("192.0.2.4", 429)] {
        assert_eq!(caller.send(named(address)).await.status().await, expected, "{address}");
    }
}

#[tokio::test]
async fn other_certificate_authorities_are_trusted_from_then_on() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let notes = TlsUpstream::start(&theirs, "mcp.test", &["http/1.1"]).await;
    let (name, file) = (format!("mcp.test:{}", notes.port), ours.file());
    let configured = name.clone();
    let gateway = Gateway::with_names(&["mcp.test"], move |config| {
        config.upstreams.ca_file = Some(file.clone());
        open(config, &configured);
    })
    .await;
    let (token, _) = gateway.token_for(&name).await;
    let mut caller = Caller::connect(gateway.port()).await;
    assert_eq!(ask(&mut caller, &gateway, &name, &token).await, 502);
    std::fs::copy(theirs.file(), ours.file()).unwrap();
    assert_eq!(gateway.reload(|_| {}).await.unwrap().changed, ["upstreams.ca_file"]);
    assert_eq!(ask(&mut caller, &gateway, &name, &token).await, 200);

    let missing = |config: &mut Config| {
        config.server.max_body = 10;
        config.upstreams.ca_file = Some(PathBuf::from("missing.pem"));
    };
    let fault = gateway.reload(missing).await.unwrap_err();
    assert!(fault.private.contains("upstreams.ca_file missing.pem"), "{fault:?}");
    assert_eq!(ask(&mut caller, &gateway, &name, &token).await, 200, "all of it or nothing");
}

#[tokio::test]
async fn what_needs_a_restart_is_named_every_time_and_stays_as_it_is() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes.authority).await;
    let (token, _) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    for _ in 0..2 {
        let reloaded = gateway
            .reload(|config| {
                config.server.listen = vec!["127.0.0.1:1".parse().unwrap()];
                config.server.domain = "gw.example".to_owned();
                config.server.admin_listen = Some("127.0.0.1:2".parse().unwrap());
                config.store.url = Secret::new("sqlite::memory:".to_owned());
                config.store.connections = 3;
                config.telemetry.json = true;
                config.streams.heartbeat = Some(HOUR);
            })
            .await
            .unwrap();
        let fixed = [
            "server.domain",
            "server.listen",
            "server.admin_listen",
            "store.url",
            "store.connections",
            "telemetry.log_format",
        ];
        assert_eq!(reloaded.needs_restart, fixed);
        assert_eq!(ask(&mut caller, &gateway, &notes.authority, &token).await, 200);
    }
    assert_eq!(gateway.app().config().server.domain, "localhost");
    assert_eq!(gateway.app().config().streams.heartbeat, Some(HOUR));
}

#[tokio::test]
async fn a_revoked_token_stays_revoked_when_tokens_become_short_lived() {
    let notes = RawUpstream::answering(OK).await;
    let gateway = gateway_for(&notes.authority).await;
    let (token, grant) = gateway.token_for(&notes.authority).await;
    let mut caller = Caller::connect(gateway.port()).await;
    gateway.reload(|config| config.tokens.access_ttl = Duration::from_secs(1)).await.unwrap();
    assert_eq!(ask(&mut caller, &gateway, &notes.authority, &token).await, 200, "it is older than that");
    gateway.app().lives.end(grant);
    assert_eq!(ask(&mut caller, &gateway, &notes.authority, &token).await, 401);
}

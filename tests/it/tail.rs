//! The audit log as it grows, through real sockets: at another node than the one that wrote it, and to the end of its session and of the
//! gateway.

use crate::gateway::{Gateway, USER};
use crate::raw::Caller;
use http::{HeaderMap, header};
use portcullis::session::Means;

const END: &str = "\r\n0\r\n\r\n";

/// The cookie of a new session.
async fn session_at(gateway: &Gateway) -> HeaderMap {
    let app = gateway.app();
    let user = app.store.user_by_name(USER).await.unwrap().unwrap();
    let set_cookie = app.sessions.begin(&HeaderMap::new(), &user, Means::Passkey, None).await.unwrap();
    let cookie = set_cookie.to_str().unwrap().split(';').next().unwrap();
    HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())])
}

async fn follow(gateway: &Gateway, session: &HeaderMap, more: &str) -> Caller {
    let (root, cookie) = (gateway.root(), session[header::COOKIE].to_str().unwrap());
    let host = root.trim_start_matches("http://");
    let mut caller = Caller::connect(gateway.port()).await;
    let request = format!(
        "GET /activity/stream HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nCookie: {cookie}\r\n{more}\r\n"
    );
    caller.send(request).await;
    let head = caller.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    caller
}

async fn write(gateway: &Gateway, subject: &str) {
    let audit = &gateway.app().audit;
    audit.record(USER, "grant.created", subject, None);
    audit.flush().await;
}

#[tokio::test]
async fn a_tail_is_the_same_at_every_node_and_ends_with_its_session_and_its_gateway() {
    let gateway = Gateway::start().await;
    let other = gateway.beside().await;
    let session = session_at(&gateway).await;
    let mut tail = follow(&other, &session, "").await;
    tail.until("retry: 3000").await;
    write(&gateway, "first line").await;
    let told = tail.until("first line").await;
    let number: i64 = told.rsplit("id: ").next().unwrap().lines().next().unwrap().parse().unwrap();
    // Whoever comes back to another node goes on where the first one left off.
    write(&gateway, "second line").await;
    let mut again = follow(&gateway, &session, &format!("Last-Event-ID: {number}\r\n")).await;
    assert!(!again.until("second line").await.contains("first line"));

    gateway.app().sessions.end(&session).await.unwrap();
    write(&gateway, "after the end").await;
    assert!(!tail.until(END).await.contains("after the end"));
    assert!(!again.until(END).await.contains("after the end"));

    let mut last = follow(&other, &session_at(&gateway).await, "").await;
    last.until("retry: 3000").await;
    other.stop().await;
    last.until(END).await;
    gateway.stop().await;
}

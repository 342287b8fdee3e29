use super::scripted::{Scripted, open_stream};
use super::*;
use crate::devkit::mcp::Lie;
use http::Method;

fn tools() -> Filter {
    Filter { tools: true, ..Filter::default() }
}

fn about(uri: &str) -> Filter {
    Filter { subscribed: BTreeSet::from([uri.to_owned()]), ..Filter::default() }
}

/// Says it until somebody hears it: a stream may not be open yet.
async fn heard(server: &McpServer, from: &mut mpsc::Receiver<Event>) -> Notification {
    let said = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
    let heard = async {
        loop {
            server.control.push(&said);
            tokio::select! {
                event = from.recv() => match event.unwrap() {
                    Event::Notification(notification) => return notification,
                    Event::Request(request) => panic!("{request:?}"),
                },
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap()
}

#[tokio::test]
async fn changes_are_heard_of_from_every_kind_of_server() {
    for (legacy, transport, path) in
        [(false, Transport::Auto, None), (true, Transport::Auto, None), (false, Transport::Sse, Some("/sse"))]
    {
        let (server, authority) = demo().await;
        if legacy {
            server.control.lie(Lie::LegacyOnly);
        }
        let world = World::around(&[(&authority, transport, path)]).await;
        let client = world.open(&authority, "a").await.unwrap();
        let (to, mut from) = events();
        let all = Filter { prompts: true, ..tools() };
        let listening = client.listen(all, to).await.unwrap();
        assert_eq!(listening.acknowledged, tools(), "what the server can tell about");
        let notification = heard(&server, &mut from).await;
        assert_eq!(notification.method, "notifications/tools/list_changed");
        assert!(notification.params.is_empty(), "our subscription is nobody's business: {notification:?}");
        drop(listening);
        let over = async { while from.recv().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), over).await.unwrap();
    }
}

#[tokio::test]
async fn one_stream_serves_all_who_listen_and_ends_with_them() {
    let (server, authority) = demo().await;
    let world = World::around(&[(&authority, Transport::Auto, None)]).await;
    let client = world.open(&authority, "a").await.unwrap();
    let ((to_one, mut one), (to_other, mut other)) = (events(), events());
    let first = client.listen(tools(), to_one).await.unwrap();
    let _second = client.listen(tools(), to_other).await.unwrap();
    heard(&server, &mut one).await;
    heard(&server, &mut other).await;
    let subscriptions = || {
        let messages = server.control.recorder().messages();
        messages.iter().filter(|message| message["method"] == "subscriptions/listen").count()
    };
    assert_eq!(subscriptions(), 1);
    drop(first);
    // More than before is asked for with another subscription.
    let (to, _from) = events();
    let third = client.listen(Filter { resources: true, ..Filter::default() }, to).await.unwrap();
    assert_eq!((subscriptions(), third.acknowledged.clone()), (2, Filter::default()));
    heard(&server, &mut other).await;
}

#[tokio::test]
async fn a_lost_session_is_begun_anew_by_those_who_listen() {
    let (server, authority) = demo().await;
    server.control.lie(Lie::LegacyOnly);
    let world = World::around(&[(&authority, Transport::Auto, None)]).await;
    let client = world.open(&authority, "a").await.unwrap();
    let (to, mut from) = events();
    let _listening = client.listen(tools(), to).await.unwrap();
    heard(&server, &mut from).await;
    server.control.forget_sessions();
    // What was on its way on the old stream may come first.
    while server.control.sessions() == 0 {
        heard(&server, &mut from).await;
    }
    assert_eq!(server.control.sessions(), 1);
}

#[tokio::test]
async fn resources_are_subscribed_to_once_and_unsubscribed_when_nobody_listens() {
    let server = Scripted::start(|asked| {
        let updated =
            json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": "a:1" } });
        (asked.http == Method::GET).then(|| open_stream(format!("data: {updated}\n\n")))
    })
    .await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let client = world.open(&server.authority, "a").await.unwrap();
    let ((to, mut from), (to_other, _other)) = (events(), events());
    let first = client.listen(about("a:1"), to).await.unwrap();
    let second = client.listen(about("a:1"), to_other).await.unwrap();
    assert_eq!(first.acknowledged, about("a:1"));
    assert_eq!(next_notification(&mut from).await.params["uri"], "a:1");
    assert_eq!(server.asked("resources/subscribe").len(), 1);
    drop(first);
    assert_eq!(server.asked("resources/unsubscribe").len(), 0);
    drop(second);
    let gone = server.arrived("resources/unsubscribe", 1).await;
    assert_eq!(gone[0].message["params"]["uri"], "a:1");
}

#[tokio::test]
async fn a_server_without_a_stream_is_not_asked_again_and_again() {
    let server = Scripted::start(|_| None).await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let client = world.open(&server.authority, "a").await.unwrap();
    let (to, _from) = events();
    let _listening = client.listen(tools(), to).await.unwrap();
    let asked = || server.all().iter().filter(|asked| asked.http == Method::GET).count();
    let once = async {
        while asked() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), once).await.unwrap();
    for _ in 0..10 {
        client.request(call("tools/list", json!({})), &events().0).await.unwrap();
    }
    assert_eq!(asked(), 1);
}

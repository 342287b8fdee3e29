use super::scripted::{Scripted, event_stream, events_of, open_stream, result};
use super::*;
use axum::body::Body;
use axum::response::IntoResponse;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Opens a client at a server whose answer to the method `x` is scripted, and sends that.
async fn outcome_of(
    answer: impl Fn(&scripted::Asked) -> axum::response::Response + Send + Sync + 'static,
) -> Result<Value, CallError> {
    let server = Scripted::start(move |asked| (asked.method() == "x").then(|| answer(asked))).await;
    let limits = Limits { response_timeout: Duration::from_millis(500), max_message: 64 * 1024, ..Limits::default() };
    let world = World::with(&[(&server.authority, Transport::Auto, None)], limits).await;
    let client = world.open(&server.authority, "a").await.unwrap();
    let request = async { client.request(call("x", json!({})), &events().0).await };
    tokio::time::timeout(Duration::from_secs(10), request).await.expect("in time")
}

#[tokio::test]
async fn an_upstream_in_trouble_says_when_to_come_again() {
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
        let outcome = outcome_of(move |_| (status, [("retry-after", "7")], "later").into_response()).await;
        assert_eq!(unavailable(outcome).1, Some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn errors_of_the_upstream_are_its_answers_whatever_the_status() {
    let refused = |asked: &scripted::Asked| {
        let error = json!({ "code": -32601, "message": "no", "data": { "a": 1 } });
        let body = json!({ "jsonrpc": "2.0", "id": asked.message["id"], "error": error });
        (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
    };
    let Err(CallError::Rpc(error)) = outcome_of(refused).await else { panic!("an error of the upstream's") };
    assert_eq!((error.code, error.data), (-32601, Some(json!({ "a": 1 }))));
}

#[tokio::test]
async fn what_is_no_answer_is_refused() {
    let endless = || {
        let chunk = || Ok::<_, std::convert::Infallible>(bytes::Bytes::from(vec![b'x'; 8192]));
        Body::from_stream(futures_util::stream::repeat_with(chunk))
    };
    let json_of = |body: Body| ([("content-type", "application/json")], body).into_response();
    unavailable(outcome_of(move |_| json_of("{".into())).await);
    unavailable(outcome_of(move |_| json_of("[1,2]".into())).await);
    unavailable(outcome_of(move |_| json_of(endless())).await);
    unavailable(outcome_of(move |_| event_stream(endless())).await);
    unavailable(outcome_of(|_| event_stream("data: {\n\n")).await);
    unavailable(outcome_of(|_| event_stream("")).await);
    unavailable(outcome_of(|_| (StatusCode::OK, "a page").into_response()).await);
    unavailable(outcome_of(|_| StatusCode::ACCEPTED.into_response()).await);
    unavailable(outcome_of(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await);
    let announced = |_: &scripted::Asked| {
        let headers = [("content-type", "application/json"), ("content-length", "1073741824")];
        (headers, Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>()))
            .into_response()
    };
    unavailable(outcome_of(announced).await);
}

#[tokio::test]
async fn answers_to_what_was_never_asked_are_for_nobody_and_the_first_one_counts() {
    let two = |asked: &scripted::Asked| {
        let id = asked.message["id"].clone();
        events_of(&[
            json!({ "jsonrpc": "2.0", "id": 4711, "result": { "answer": "to another" } }),
            json!({ "jsonrpc": "2.0", "id": id.to_string(), "result": { "answer": "to a text" } }),
            json!({ "jsonrpc": "2.0", "id": id, "result": { "answer": 1 } }),
            json!({ "jsonrpc": "2.0", "id": id, "result": { "answer": 2 } }),
        ])
    };
    assert_eq!(outcome_of(two).await.unwrap(), json!({ "answer": 1 }));
}

#[tokio::test]
async fn nobody_waits_for_an_answer_for_ever() {
    let listener = tokio::net::TcpListener::bind(loopback()).await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let limits = Limits { response_timeout: Duration::from_millis(100), ..Limits::default() };
    let world = World::with(&[(&authority, Transport::Auto, None)], limits).await;
    let (fault, _) = unavailable(world.open(&authority, "a").await.map(|_| ()));
    assert_eq!(fault.culprit, crate::error::Culprit::UpstreamTimeout);
    for _ in 0..4 {
        unavailable(world.open(&authority, "a").await.map(|_| ()));
    }
    let (fault, retry_after) = unavailable(world.open(&authority, "a").await.map(|_| ()));
    assert!(fault.public.contains("out of order") && retry_after.is_some(), "{fault}");
    assert_eq!(world.health.notes()[0].failures, 5);
}

#[tokio::test]
async fn garbage_on_the_wire_is_refused() {
    let listener = tokio::net::TcpListener::bind(loopback()).await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"\0\x01\x02 this is not HTTP\r\n\r\n").await;
        }
    });
    let world = World::around(&[(&authority, Transport::Auto, None)]).await;
    unavailable(world.open(&authority, "a").await.map(|_| ()));
}

#[tokio::test]
async fn one_that_hangs_delays_nobody_else() {
    let hanging = Scripted::start(|asked| (asked.method() == "tools/list").then(|| open_stream(String::new()))).await;
    let (_server, authority) = demo().await;
    let world =
        World::around(&[(&hanging.authority, Transport::Auto, None), (&authority, Transport::Auto, None)]).await;
    let stuck = world.open(&hanging.authority, "a").await.unwrap();
    let (to, _from) = events();
    let waiting = (0..50).map(|_| stuck.request(call("tools/list", json!({})), &to));
    let waiting = futures_util::future::join_all(waiting);
    let working = async {
        let client = world.open(&authority, "a").await.unwrap();
        for _ in 0..50 {
            client.request(call("tools/list", json!({})), &to).await.unwrap();
        }
    };
    tokio::select! {
        _ = waiting => panic!("it hangs"),
        () = working => {}
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("the others wait"),
    }
}

#[tokio::test]
async fn many_at_once_get_their_own_answers() {
    let server = Scripted::start(|asked| {
        (asked.method() == "tools/call").then(|| result(asked, asked.message["params"]["arguments"].clone()))
    })
    .await;
    let world = World::around(&[(&server.authority, Transport::Auto, None)]).await;
    let client = world.open(&server.authority, "a").await.unwrap();
    let (to, _from) = events();
    let calls = (0..200).map(|n| {
        let (client, to) = (&client, &to);
        async move { client.request(tool("x", json!({ "n": n })), to).await.unwrap()["n"] == n }
    });
    assert!(futures_util::future::join_all(calls).await.into_iter().all(|own| own));
}

//! Both sessions over connections in memory, in pieces of every size.

use super::encode::{self, Answering};
use super::{ClientSession, Framing, Line, Malformed, NextHead, ServerSession, Wire, field};
use bytes::Bytes;
use http::{Method, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use std::cell::RefCell;
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const LONG: Duration = Duration::from_secs(30);
/// What a test waits for.
const SHORT: Duration = Duration::from_millis(40);

fn server(capacity: usize) -> (ServerSession, DuplexStream) {
    patient(capacity, LONG)
}

fn patient(capacity: usize, write_timeout: Duration) -> (ServerSession, DuplexStream) {
    let (ours, theirs) = duplex(capacity);
    (ServerSession::new(Wire::Pingora(Box::new(ours)), "127.0.0.1:1".parse().unwrap(), write_timeout), theirs)
}

fn client(capacity: usize) -> (ClientSession, DuplexStream) {
    let (ours, theirs) = duplex(capacity);
    (ClientSession::new(Wire::Pingora(Box::new(ours))), theirs)
}

fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
    let mut head = ResponseHeader::build_no_case(status, None).unwrap();
    for (name, value) in fields {
        head.append_header(*name, *value).unwrap();
    }
    head
}

/// Writes the head of a request with this one field.
fn ask(session: &mut ClientSession, method: &Method, framing: Framing) {
    let line = Line { method, target: "/mcp?a=b", framing, size: 64 };
    session.write_head(line, LONG, |out| {
        field(out, &header::HOST, b"x");
        match framing {
            Framing::Length(length) => field(out, &header::CONTENT_LENGTH, length.to_string().as_bytes()),
            Framing::Chunked => field(out, &header::TRANSFER_ENCODING, b"chunked"),
            Framing::None | Framing::Upgrade => {}
        }
    });
}

/// What a caller gets for what it sends, when every request is answered with its own body.
async fn echoed(sent: &str, step: usize) -> String {
    let (mut session, theirs) = server(step);
    let (mut reader, mut writer) = tokio::io::split(theirs);
    let sent = sent.to_owned();
    let writing = tokio::spawn(async move {
        let _ = writer.write_all(sent.as_bytes()).await;
        writer
    });
    let serving = tokio::spawn(async move {
        while session.read_head((LONG, LONG), |_| true).await == NextHead::Ready {
            let mut body = Vec::new();
            while let Ok(Some(piece)) = session.read_body().await {
                body.extend_from_slice(&piece);
            }
            let mut head = answer(200, &[("date", "x")]);
            head.insert_header("content-length", body.len()).unwrap();
            session.write_head(&head);
            session.write_body(body.into(), true).await.unwrap();
            if !session.finish().await {
                return;
            }
        }
    });
    let mut got = String::new();
    let reading = async {
        let mut piece = [0; 64];
        while let Ok(read @ 1..) = reader.read(&mut piece).await {
            got.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
    };
    let closing = async { drop(writing.await.unwrap().shutdown().await) };
    tokio::join!(reading, closing);
    serving.await.unwrap();
    got
}

#[tokio::test]
async fn requests_follow_each_other_however_they_arrive() {
    let sent = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
                POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfoo\r\n3;x\r\nbar\r\n0\r\nT: x\r\n\r\n\
                \r\nGET /c HTTP/1.1\r\nHost: x\r\n\r\n\
                POST /d HTTP/1.0\r\nContent-Length: 2\r\n\r\nhiGET /e HTTP/1.1\r\n\r\n";
    let ok = |body: &str, more: &str| {
        format!("HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: {}\r\n{more}\r\n{body}", body.len())
    };
    let expected = [ok("hello", ""), ok("foobar", ""), ok("", ""), ok("hi", "connection: close\r\n")].concat();
    for step in [1, 2, 3, 7, 64, 4096] {
        assert_eq!(echoed(sent, step).await, expected, "{step}");
    }
}

#[tokio::test]
async fn a_head_and_a_small_body_leave_together() {
    let (mut session, mut theirs) = server(4096);
    theirs.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(session.read_head((LONG, LONG), |_| true).await, NextHead::Ready);
    session.write_head(&answer(200, &[("content-length", "2"), ("date", "x")]));
    session.write_body(Bytes::from_static(b"hi"), true).await.unwrap();
    let mut piece = [0; 4096];
    let read = theirs.read(&mut piece).await.unwrap();
    assert_eq!(&piece[..read], b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: x\r\n\r\nhi");
}

#[tokio::test]
async fn what_is_written_and_not_ended_leaves_while_the_caller_is_waited_for() {
    let (mut session, mut theirs) = server(4096);
    theirs.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    session.read_head((LONG, LONG), |_| true).await;
    session.write_head(&answer(200, &[("transfer-encoding", "chunked"), ("date", "x")]));
    session.write_body(Bytes::from_static(b"data: x\n\n"), false).await.unwrap();
    let mut piece = [0; 4096];
    let read = tokio::select! { biased;
        left = session.read_body_or_leave(false) => panic!("{left:?}"),
        read = theirs.read(&mut piece) => read.unwrap(),
    };
    let text = std::str::from_utf8(&piece[..read]).unwrap();
    assert_eq!(text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ndate: x\r\n\r\n9\r\ndata: x\n\n\r\n");
    drop(theirs);
    session.read_body_or_leave(false).await.unwrap_err();
}

#[tokio::test]
async fn heads_that_are_none_are_told_apart() {
    for (sent, expected) in [
        ("\u{16}\u{3}\u{1}", Malformed::Head),
        ("GET / HTTP/1.1\r\nHost", Malformed::Head),
        ("GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", Malformed::Target),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Malformed::Head),
    ] {
        let (mut session, mut theirs) = server(1 << 20);
        theirs.write_all(sent.as_bytes()).await.unwrap();
        let next = match sent.ends_with("Host") {
            true => {
                drop(theirs);
                assert_eq!(session.read_head((LONG, LONG), |_| true).await, NextHead::Nothing);
                continue;
            }
            false => session.read_head((LONG, LONG), |_| true).await,
        };
        assert_eq!(next, NextHead::Malformed(expected), "{sent:?}");
    }
    let (mut session, mut theirs) = server(1 << 20);
    theirs.write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70_000)).as_bytes()).await.unwrap();
    assert_eq!(session.read_head((LONG, LONG), |_| true).await, NextHead::Malformed(Malformed::TooLarge));
}

#[tokio::test]
async fn a_head_in_pieces_is_read_on_as_long_as_there_is_room() {
    let (mut session, mut theirs) = server(64);
    let (whole, asked) =
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1000)), RefCell::new(Vec::new()));
    let note = |bytes| {
        asked.borrow_mut().push(bytes);
        asked.borrow().iter().sum::<usize>() < 500
    };
    let next = tokio::select! {
        next = session.read_head((LONG, LONG), note) => next,
        _ = theirs.write_all(whole.as_bytes()) => panic!("all of it was read"),
    };
    assert_eq!(next, NextHead::NoRoom);
    let asked = asked.into_inner();
    assert!(asked.iter().all(|bytes| *bytes > 0) && (500..=564).contains(&asked.iter().sum::<usize>()), "{asked:?}");
    // One that comes whole takes nothing that it does not give back at once.
    let (mut session, mut theirs) = server(4096);
    theirs.write_all(whole.as_bytes()).await.unwrap();
    assert_eq!(session.read_head((LONG, LONG), |_| false).await, NextHead::Ready);
}

#[tokio::test]
async fn a_head_has_its_time() {
    let (mut session, theirs) = server(4096);
    assert_eq!(session.read_head((SHORT, LONG), |_| true).await, NextHead::Nothing);
    drop(theirs);
    let (mut session, mut theirs) = server(4096);
    theirs.write_all(b"GET / HT").await.unwrap();
    assert_eq!(session.read_head((LONG, SHORT), |_| true).await, NextHead::Nothing, "from its first byte on");
}

#[tokio::test]
async fn a_caller_that_takes_nothing_is_given_up_also_while_something_else_is_waited_for() {
    let (mut session, mut theirs) = patient(64, SHORT);
    theirs.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    session.read_head((LONG, LONG), |_| true).await;
    session.write_head(&answer(200, &[("transfer-encoding", "chunked")]));
    // As a stream does it: something comes before the time is over, again and again.
    let failed = loop {
        let _ = session.write_body(Bytes::from_static(b": keep-alive\n\n"), false).await;
        tokio::select! { biased;
            left = session.read_body_or_leave(false) => break left.unwrap_err(),
            () = tokio::time::sleep(SHORT / 4) => {}
        }
    };
    assert_eq!(*failed.etype(), pingora::ErrorType::WriteTimedout);
    let (mut session, mut theirs) = patient(64, SHORT);
    theirs.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    session.read_head((LONG, LONG), |_| true).await;
    session.write_head(&answer(200, &[("content-length", "100000")]));
    let failed = session.write_body(vec![0; 100_000].into(), true).await.unwrap_err();
    assert_eq!(*failed.etype(), pingora::ErrorType::WriteTimedout);
}

#[tokio::test]
async fn no_more_is_written_than_was_announced_and_less_ends_the_connection() {
    for (announced, said) in [("1", "hello"), ("9", "hello")] {
        let (mut session, mut theirs) = server(4096);
        theirs.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        session.read_head((LONG, LONG), |_| true).await;
        session.write_head(&answer(200, &[("content-length", announced)]));
        let written = session.write_body(Bytes::from_static(said.as_bytes()), true).await;
        assert_eq!(written.is_ok(), announced == "9");
        drop(theirs);
        assert!(!session.finish().await);
    }
}

#[tokio::test]
async fn a27_an_unread_body_is_never_taken_for_the_next_request() {
    let (mut session, mut theirs) = server(4096);
    theirs
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nGET /evil HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    session.read_head((LONG, LONG), |_| true).await;
    session.write_head(&answer(413, &[("content-length", "0")]));
    session.write_body(Bytes::new(), true).await.unwrap();
    let closed = tokio::join!(session.finish(), async {
        let mut got = String::new();
        let mut piece = [0; 512];
        while let Ok(read @ 1..) = theirs.read(&mut piece).await {
            got.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        drop(theirs);
        got
    });
    assert!(!closed.0);
    assert!(closed.1.contains("connection: close") && closed.1.matches("HTTP/1.1").count() == 1, "{}", closed.1);
}

/// The answer to a request, and whether the connection can be used again.
async fn exchanged(method: Method, answer: &str, step: usize) -> pingora::Result<(StatusCode, String, bool)> {
    let (mut session, theirs) = client(step);
    let (mut reader, mut writer) = tokio::io::split(theirs);
    let answer = answer.to_owned();
    let upstream = tokio::spawn(async move {
        let (mut scrap, mut asked) = ([0; 4096], Vec::new());
        while let Ok(read @ 1..) = reader.read(&mut scrap).await {
            asked.extend_from_slice(&scrap[..read]);
            if asked.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let _ = writer.write_all(answer.as_bytes()).await;
        let until_close = !answer.to_ascii_lowercase().contains("content-length") && !answer.contains("chunked");
        if until_close {
            let _ = writer.shutdown().await;
        }
        // Kept open until nobody asks any more.
        while let Ok(1..) = reader.read(&mut scrap).await {}
    });
    ask(&mut session, &method, Framing::None);
    let result = async {
        session.send_whole(b"").await?;
        session.read_head(LONG).await?;
        let status = session.head().map(|head| head.status).unwrap_or_default();
        let mut body = Vec::new();
        while let Some(piece) = poll_fn(|context| session.poll_body(context)).await? {
            body.extend_from_slice(&piece);
        }
        Ok((status, String::from_utf8(body).unwrap_or_default(), session.is_reusable()))
    };
    let result = result.await;
    drop(session);
    upstream.await.unwrap_or_default();
    result
}

#[tokio::test]
async fn answers_are_read_however_they_arrive() {
    let ok = |body: &str, reusable| Some((StatusCode::OK, body.to_owned(), reusable));
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", ok("hello", true)),
        (
            "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            ok("hi", true),
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", ok("hi", true)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", ok("hello", false)),
        ("HTTP/1.1 200 OK\r\n\r\nhello", ok("hello", false)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", ok("hi", false)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more", ok("hi", false)),
        ("nonsense\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi", None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense", None),
    ] {
        for step in [1, 5, 4096] {
            let got = exchanged(Method::GET, text, step).await.ok();
            // What came behind an answer may not have been read yet: then the pool finds it.
            let got = got.map(|(status, body, reusable)| (status, body, reusable && !text.ends_with("more")));
            assert_eq!(got, expected, "{text:?} {step}");
        }
    }
    let got = exchanged(Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 4096).await.unwrap();
    assert_eq!(got, (StatusCode::OK, String::new(), true));
}

#[tokio::test]
async fn a_torn_answer_is_an_error_and_not_its_end() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\nX",
    ] {
        let (mut session, mut theirs) = client(4096);
        ask(&mut session, &Method::GET, Framing::None);
        session.send_whole(b"").await.unwrap();
        theirs.write_all(text.as_bytes()).await.unwrap();
        drop(theirs);
        let read = async {
            session.read_head(LONG).await?;
            while poll_fn(|context| session.poll_body(context)).await?.is_some() {}
            Ok::<_, Box<pingora::Error>>(())
        };
        read.await.unwrap_err();
        assert!(!session.is_reusable());
    }
}

#[tokio::test]
async fn a_request_is_written_in_one_piece_and_a_streamed_one_as_it_comes() {
    let (mut session, mut theirs) = client(4096);
    let mut piece = [0; 4096];
    ask(&mut session, &Method::POST, Framing::Length(2));
    session.send_whole(b"hi").await.unwrap();
    let read = theirs.read(&mut piece).await.unwrap();
    assert_eq!(&piece[..read], b"POST /mcp?a=b HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi");
    ask(&mut session, &Method::POST, Framing::Chunked);
    for part in [&b""[..], b"hello", b" world"] {
        session.send(Bytes::from_static(part)).await.unwrap();
    }
    session.send_end().await.unwrap();
    let read = theirs.read(&mut piece).await.unwrap();
    let text =
        "POST /mcp?a=b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert_eq!(std::str::from_utf8(&piece[..read]).unwrap(), text);
    ask(&mut session, &Method::POST, Framing::Length(3));
    session.send(Bytes::from_static(b"four")).await.unwrap_err();
    session.send_end().await.unwrap_err();
}

#[tokio::test]
async fn an_upstream_has_its_time_for_head_and_pieces() {
    let (mut session, mut theirs) = client(4096);
    ask(&mut session, &Method::GET, Framing::None);
    session.send_whole(b"").await.unwrap();
    theirs.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").await.unwrap();
    session.read_head(SHORT).await.unwrap();
    assert_eq!(poll_fn(|context| session.poll_body(context)).await.unwrap().unwrap(), "hello");
    let late = poll_fn(|context| session.poll_body(context)).await.unwrap_err();
    assert_eq!(*late.etype(), pingora::ErrorType::ReadTimedout);
    ask(&mut session, &Method::GET, Framing::None);
    assert_eq!(*session.read_head(SHORT).await.unwrap_err().etype(), pingora::ErrorType::ReadTimedout);
}

#[tokio::test]
async fn a28_what_follows_an_upgrade_belongs_to_it_and_not_before() {
    let (mut session, mut theirs) = server(4096);
    theirs
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00")
        .await
        .unwrap();
    session.read_head((LONG, LONG), |_| true).await;
    assert!(session.asks_for_upgrade() && session.is_body_done());
    session.write_head(&answer(101, &[("upgrade", "websocket")]));
    assert_eq!(session.read_body_or_leave(true).await.unwrap().unwrap(), &b"\x81\x00"[..]);
    session.write_body(Bytes::from_static(b"\x8a\x00"), false).await.unwrap();
    session.flush().await.unwrap();
    let mut piece = [0; 4096];
    let read = theirs.read(&mut piece).await.unwrap();
    assert_eq!(&piece[..read], b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n\x8a\x00");
    drop(theirs);
    assert!(session.read_body_or_leave(true).await.unwrap().is_none());
    assert!(!session.finish().await);
}

#[tokio::test]
async fn a28_only_a_websocket_handshake_asks_for_another_protocol() {
    for (request, asks) in [
        ("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket", true),
        ("GET / HTTP/1.1\r\nConnection: keep-alive, upgrade\r\nUpgrade: h2c, WebSocket", true),
        ("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c", false),
        ("DELETE / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket", false),
        ("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocketish", false),
        ("GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket", false),
    ] {
        let (mut session, mut theirs) = server(4096);
        theirs.write_all(format!("{request}\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        session.read_head((LONG, LONG), |_| true).await;
        assert_eq!(session.asks_for_upgrade(), asks, "{request}");
    }
}

#[test]
fn fields_are_kept_in_their_order() {
    let head = answer(200, &[("a", "1"), ("b", "2"), ("a", "3")]);
    let mut out = Vec::new();
    let answering = Answering { status: head.status, version: Version::HTTP_10, dated: true, close: false };
    encode::answer(&mut out, answering, |out| encode::fields(out, &head.headers));
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, "HTTP/1.1 200 OK\r\na: 1\r\na: 3\r\nb: 2\r\nconnection: keep-alive\r\n\r\n");
    assert_eq!(encode::size_of(&head.headers), 18);
}

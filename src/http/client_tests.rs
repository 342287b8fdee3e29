use super::*;
use axum::Router;
use axum::body::Body;
use axum::response::Redirect;
use axum::routing::get;
use std::collections::HashMap;
use std::convert::Infallible;

fn client() -> HttpClient {
    let names = [("evil.example", "127.0.0.1"), ("metadata.example", "169.254.169.254")];
    let names: HashMap<_, _> =
        names.iter().map(|(name, address)| ((*name).to_owned(), vec![address.parse().unwrap()])).collect();
    HttpClient::new(Resolver::fixed(names), None).unwrap()
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

fn fetch(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

fn endless() -> Body {
    let chunks = futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 8192])));
    Body::new(http_body_util::StreamBody::new(futures_util::StreamExt::map(chunks, |chunk| {
        chunk.map(http_body::Frame::data)
    })))
}

#[test]
fn a32_only_https_and_loopback_are_urls_to_fetch() {
    for good in ["https://mcp.example/x?y", "https://8.8.8.8/", "https://[2606:4700::1]/"] {
        assert!(check_url(good, false).is_ok(), "{good}");
    }
    for local in ["http://127.0.0.1:9000/", "http://localhost/", "http://a.localhost:1/", "http://[::1]/"] {
        assert!(matches!(check_url(local, false), Err(FetchError::Url(_))), "{local}");
        assert!(check_url(local, true).is_ok(), "{local}");
    }
    for never in [
        "http://mcp.example/",
        "http://10.0.0.1/",
        "ftp://mcp.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://user@mcp.example/",
        "https://user:password@mcp.example/",
        "https://:password@mcp.example/",
        "https://",
        "mcp.example",
        "",
        "https://169.254.169.254/latest/meta-data",
        "https://2852039166/",
        "https://0xa9.0xfe.0xa9.0xfe/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::1]/",
    ] {
        assert!(check_url(never, true).is_err(), "{never}");
    }
    for private in ["https://10.0.0.1/", "https://127.1/", "https://[::1]/", "https://2130706433/"] {
        assert!(matches!(check_url(private, false), Err(FetchError::Address { .. })), "{private}");
    }
}

/// Servers close idle connections whenever they like: Node after five seconds, some after two.
#[tokio::test]
async fn what_cannot_be_sent_twice_never_meets_a_connection_that_is_being_closed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                // Keeps the connection, takes the next request and hangs up.
                let _ = stream.read(&mut request).await;
            });
        }
    });
    let client = client();
    for _ in 0..3 {
        assert_eq!(client.send(fetch(&url), true).await.unwrap().body, "ok");
        let post = http::Request::post(&url).body(Bytes::from_static(b"grant_type=refresh_token")).unwrap();
        assert_eq!(client.send(post, true).await.unwrap().body, "ok");
    }
}

#[tokio::test]
async fn an_answer_comes_back_as_it_is() {
    let router = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/away", get(|| async { Redirect::to("/hello") }));
    let origin = serve(router).await;
    let fetched = client().send(fetch(&format!("{origin}/hello")), true).await.unwrap();
    assert_eq!((fetched.status.as_u16(), &fetched.body[..]), (200, &b"hello"[..]));
    let fetched = client().send(fetch(&format!("{origin}/away")), true).await.unwrap();
    assert_eq!((fetched.status.as_u16(), &fetched.headers["location"]), (303, &"/hello".parse().unwrap()));
}

/// Security case C "SSRF": a name that leads to a forbidden address is not connected to.
#[tokio::test]
async fn forbidden_addresses_are_not_connected_to() {
    let origin = serve(Router::new().route("/", get(|| async { "reached" }))).await;
    let port = origin.rsplit(':').next().unwrap();
    for (url, allow_private) in
        [(format!("https://evil.example:{port}/"), false), (format!("https://metadata.example:{port}/"), true)]
    {
        let error = client().send(fetch(&url), allow_private).await.unwrap_err();
        assert!(matches!(error, FetchError::Address { why: ResolveError::Forbidden(_), .. }), "{error}");
    }
    assert!(matches!(client().send(fetch(&origin), false).await, Err(FetchError::Url(_))));
    let unknown = client().send(fetch("https://unknown.example/"), false).await.unwrap_err();
    assert!(matches!(unknown, FetchError::Address { why: ResolveError::NotFound, .. }), "{unknown}");
}

#[tokio::test]
async fn bodies_without_end_are_given_up() {
    let origin = serve(Router::new().route("/", get(|| async { endless() }))).await;
    assert!(matches!(client().send(fetch(&origin), true).await, Err(FetchError::TooLarge(_))));
    assert_eq!(client().send_for_head(fetch(&origin), true).await.unwrap().status, 200);
}

#[tokio::test]
async fn servers_that_never_answer_are_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let impatient = client().waiting_at_most(Duration::from_millis(50));
    assert!(matches!(impatient.send(fetch(&origin), true).await, Err(FetchError::Timeout(_))));
    drop(listener);
    let error = client().send(fetch(&origin), true).await.unwrap_err();
    assert!(matches!(error, FetchError::Connection { .. }), "{error}");
    assert!(error.to_string().starts_with("127.0.0.1 cannot be reached"), "{error}");
}

#[test]
fn a_file_without_certificates_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = HttpClient::new(Resolver::fixed(HashMap::new()), Some(file.path())).err().unwrap();
    assert!(error.private.contains("holds no certificate"), "{error}");
}

#[tokio::test]
async fn certificates_are_checked_against_the_given_authorities() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key.cert.pem()).unwrap();
    let private = rustls_pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![key.cert.der().clone()], private).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, Infallible>(http::Response::new(http_body_util::Full::new(Bytes::from_static(b"secure"))))
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    let resolver = Resolver::fixed(HashMap::new());
    let trusting = HttpClient::new(resolver, Some(file.path())).unwrap();
    assert_eq!(&trusting.send(fetch(&url), true).await.unwrap().body[..], b"secure");
    let error = client().send(fetch(&url), true).await.unwrap_err();
    assert!(matches!(error, FetchError::Connection { .. }), "{error}");
}

//! Bound tokens on MCP hostnames (RFC 9449): nothing goes on without a proof that fits, and the proof goes no further.

use crate::client::{mcp_url, send};
use crate::gateway::{Gateway, upstream, without_rates};
use crate::raw::{Caller, RawUpstream, field, status};
use http::{Method, StatusCode, header};
use portcullis::clock::Timestamp;
use portcullis::config::UpstreamAuth;
use portcullis::devkit::browser::{Browser, Page};
use portcullis::devkit::prover::Prover;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDPoP-Nonce: theirs\r\n\r\n{}";

/// A gateway, an upstream that needs nothing, and a caller with a bound token.
struct World {
    upstream: RawUpstream,
    gateway: Gateway,
    browser: Browser,
    key: Prover,
    token: String,
    url: String,
}

impl World {
    async fn new() -> Self {
        Self::with(RawUpstream::answering(ANSWER).await).await
    }

    async fn with(behind: RawUpstream) -> Self {
        let authority = behind.authority.clone();
        let gateway = Gateway::with(move |config| {
            without_rates(config);
            config.upstream.push(upstream(&authority, UpstreamAuth::None));
        })
        .await;
        let (browser, key) = (Browser::new().unwrap(), Prover::new().unwrap());
        let token = gateway.bound_token_for(&behind.authority, &key.thumbprint()).await;
        let url = mcp_url(&gateway, &behind.authority);
        Self { upstream: behind, gateway, browser, key, token, url }
    }

    fn now(&self) -> Timestamp {
        self.gateway.clock.now()
    }

    fn claims(&self) -> Value {
        self.key.claims("POST", &self.url, Some(&self.token), self.now())
    }

    fn signed(&self, claims: &Value) -> String {
        self.key.sign(&self.key.header(), claims)
    }

    async fn post(&self, authorization: &str, proofs: &[&str]) -> Page {
        let mut fields = vec![("authorization", authorization), ("content-type", "application/json")];
        fields.extend(proofs.iter().map(|proof| ("dpop", *proof)));
        send(&self.browser, Method::POST, &self.url, &fields, Some("{}".to_owned())).await
    }

    async fn prove(&self, claims: &Value) -> Page {
        self.post(&format!("DPoP {}", self.token), &[&self.signed(claims)]).await
    }

    /// A proof in which one claim is wrong is refused with a challenge that says so, and nothing else happens.
    async fn refuses(&mut self, claim: &str, value: Value) {
        let mut claims = self.claims();
        claims[claim] = value;
        let page = self.prove(&claims).await;
        assert_challenged(&page, "invalid_dpop_proof");
        assert!(page.headers.contains_key("dpop-nonce"), "{claims}");
        assert!(!self.upstream.has_received(), "{claims}");
    }
}

/// One challenge, of the scheme that was used.
fn assert_challenged(page: &Page, error: &str) {
    assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{}", page.body);
    let challenges: Vec<_> = page.headers.get_all(header::WWW_AUTHENTICATE).iter().collect();
    let [challenge] = challenges[..] else { panic!("{challenges:?}") };
    let challenge = challenge.to_str().unwrap();
    assert!(challenge.starts_with("DPoP algs=\"ES256 "), "{challenge}");
    assert!(challenge.contains(&format!("error=\"{error}\"")), "{challenge}");
    assert!(challenge.contains("resource_metadata="), "{challenge}");
}

#[tokio::test]
async fn b47_b56_a_proof_opens_the_way_and_goes_no_further() {
    let mut world = World::new().await;
    let page = world.prove(&world.claims()).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(!page.headers.contains_key("dpop-nonce"), "the upstream's nonce is not for our caller");
    let received = world.upstream.received().await;
    assert_eq!((received.field("dpop"), received.field("authorization")), (None, None));
    // Whoever has no need of a proof is not judged by it, and it goes no further either.
    let (bearer, _) = world.gateway.token_for(&world.upstream.authority).await;
    let page = world.post(&format!("Bearer {bearer}"), &["nonsense"]).await;
    assert_eq!((page.status, world.upstream.received().await.field("dpop")), (StatusCode::OK, None));
}

#[tokio::test]
async fn b47_htm() {
    let mut world = World::new().await;
    for method in ["GET", "post", ""] {
        world.refuses("htm", json!(method)).await;
    }
    world.refuses("htm", Value::Null).await;
}

#[tokio::test]
async fn b47_htu() {
    let mut world = World::new().await;
    let elsewhere = world.url.replace("/mcp", "/other");
    for url in [elsewhere.as_str(), "https://files.gw.example/mcp", &world.url.replace("http:", "https:"), "/mcp"] {
        world.refuses("htu", json!(url)).await;
    }
    let mut claims = world.claims();
    claims["htu"] = json!(format!("{}?query=1#fragment", world.url));
    assert_eq!(world.prove(&claims).await.status, StatusCode::OK);
}

#[tokio::test]
async fn b47_iat() {
    let mut world = World::new().await;
    let now = world.now().seconds();
    for iat in [json!(now - 90), json!(now + 90), json!("now"), Value::Null] {
        world.refuses("iat", iat).await;
    }
    // A client whose clock is wrong goes on with our nonce.
    let mut claims = world.claims();
    claims["iat"] = json!(now - 3600);
    let refused = world.prove(&claims).await;
    claims["nonce"] = json!(refused.headers["dpop-nonce"].to_str().unwrap());
    assert_eq!(world.prove(&claims).await.status, StatusCode::OK);
    let mut claims = world.claims();
    claims["nonce"] = json!("of somebody else");
    assert_challenged(&world.prove(&claims).await, "use_dpop_nonce");
}

#[tokio::test]
async fn b47_jti() {
    let mut world = World::new().await;
    let claims = world.claims();
    assert_eq!(world.prove(&claims).await.status, StatusCode::OK);
    world.upstream.received().await;
    world.refuses("jti", claims["jti"].clone()).await;
    world.refuses("jti", json!("")).await;
    world.refuses("jti", Value::Null).await;
}

#[tokio::test]
async fn b47_jti_of_many_at_once_one_wins_at_whatever_process_and_none_after_a_restart() {
    let world = World::new().await;
    let other = world.gateway.beside().await;
    let (authorization, proof) = (format!("DPoP {}", world.token), world.signed(&world.claims()));
    let host = world.gateway.host_of(&world.upstream.authority);
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\nDPoP: {proof}\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let attempt = async |number: usize| {
        let port = if number.is_multiple_of(2) { world.gateway.port() } else { other.port() };
        Caller::connect(port).await.send(&request).await.status().await
    };
    let statuses = futures_util::future::join_all((0..20).map(attempt)).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    other.stop().await;
    let gateway = world.gateway.restart().await;
    assert_eq!(Caller::connect(gateway.port()).await.send(&request).await.status().await, 401);
}

#[tokio::test]
async fn b47_ath() {
    let mut world = World::new().await;
    let other = world.gateway.bound_token_for(&world.upstream.authority, &world.key.thumbprint()).await;
    let of_another = world.key.claims("POST", &world.url, Some(&other), world.now())["ath"].clone();
    for ath in [of_another, json!(world.token), json!(""), Value::Null] {
        world.refuses("ath", ath).await;
    }
}

#[tokio::test]
async fn b47_the_key_must_be_the_token_s() {
    let mut world = World::new().await;
    let stranger = Prover::new().unwrap();
    let authorization = format!("DPoP {}", world.token);
    for proof in [
        stranger.sign(&stranger.header(), &world.claims()),
        stranger.sign(&world.key.header(), &world.claims()),
        "nonsense".to_owned(),
    ] {
        assert_challenged(&world.post(&authorization, &[&proof]).await, "invalid_dpop_proof");
    }
    assert_challenged(&world.post(&authorization, &[]).await, "invalid_dpop_proof");
    let (one, two) = (world.signed(&world.claims()), world.signed(&world.claims()));
    assert_challenged(&world.post(&authorization, &[&one, &two]).await, "invalid_dpop_proof");
    assert!(!world.upstream.has_received());
}

#[tokio::test]
async fn b48_a_bound_token_is_worth_nothing_as_bearer_nor_another_one_with_a_proof() {
    let mut world = World::new().await;
    for proofs in [&[][..], &[world.signed(&world.claims()).as_str()]] {
        let page = world.post(&format!("Bearer {}", world.token), proofs).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        let challenges: Vec<_> =
            page.headers.get_all(header::WWW_AUTHENTICATE).iter().map(|value| value.to_str().unwrap()).collect();
        assert!(challenges[0].starts_with("Bearer ") && challenges[0].contains("invalid_token"), "{challenges:?}");
        assert!(challenges[1].starts_with("DPoP algs="), "{challenges:?}");
    }
    let (bearer, _) = world.gateway.token_for(&world.upstream.authority).await;
    let proof = world.key.proof("POST", &world.url, Some(&bearer), world.now());
    assert_challenged(&world.post(&format!("DPoP {bearer}"), &[&proof]).await, "invalid_token");
    assert!(!world.upstream.has_received());
}

#[tokio::test]
async fn b47_event_streams_and_websockets_need_proofs_too() {
    let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let world = World::with(RawUpstream::answering(stream).await).await;
    let host = world.gateway.host_of(&world.upstream.authority);
    let get = async |proof: &str| {
        let head = format!("GET /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: DPoP {}\r\n{proof}\r\n", world.token);
        Caller::connect(world.gateway.port()).await.send(head).await.status().await
    };
    let proof = world.key.proof("GET", &world.url, Some(&world.token), world.now());
    assert_eq!((get("").await, get(&format!("DPoP: {proof}\r\n")).await), (401, 200));

    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut world = World::with(RawUpstream::answering(switch).await).await;
    let url = format!("ws://{}/mcp", world.gateway.host_of(&world.upstream.authority));
    let open = async |proof: Option<String>| {
        let mut request = url.as_str().into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("DPoP {}", world.token).parse().unwrap());
        if let Some(proof) = proof {
            request.headers_mut().insert("dpop", proof.parse().unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", world.gateway.port())).await.unwrap();
        client_async(request, stream).await.map(drop).map_err(|error| error.to_string())
    };
    assert!(open(None).await.unwrap_err().contains("401"));
    assert!(!world.upstream.has_received());
    // Which answer an upstream has for the handshake does not matter: it was asked.
    let proof = world.key.proof("GET", &url, Some(&world.token), world.now());
    let _ = tokio::time::timeout(Duration::from_secs(2), open(Some(proof))).await;
    assert_eq!(world.upstream.received().await.field("dpop"), None);
}

#[tokio::test]
async fn pages_may_send_proofs_and_read_nonces() {
    let world = World::new().await;
    let host = world.gateway.host_of(&world.upstream.authority);
    let preflight = format!(
        "OPTIONS /mcp HTTP/1.1\r\nHost: {host}\r\nOrigin: http://localhost:6274\r\n\
         Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, dpop\r\n\r\n"
    );
    let (head, _) = Caller::connect(world.gateway.port()).await.send(preflight).await.response().await;
    assert_eq!(status(&head), 204);
    assert!(field(&head, "access-control-allow-headers").unwrap().contains("dpop"), "{head}");
    let refused = format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nOrigin: http://localhost:6274\r\nAuthorization: DPoP {}\r\n\
         Content-Length: 0\r\n\r\n",
        world.token
    );
    let (head, _) = Caller::connect(world.gateway.port()).await.send(refused).await.response().await;
    assert!(field(&head, "access-control-expose-headers").unwrap().contains("DPoP-Nonce"), "{head}");
    assert!(field(&head, "dpop-nonce").is_some(), "{head}");
    let token = format!("OPTIONS /token HTTP/1.1\r\nHost: {host}\r\nOrigin: https://app.example\r\n\r\n");
    let (head, _) = Caller::connect(world.gateway.port()).await.send(token).await.response().await;
    assert!(field(&head, "access-control-allow-headers").unwrap().contains("dpop"), "{head}");
}

#[tokio::test]
async fn metadata_say_which_algorithms_proofs_may_have() {
    let world = World::new().await;
    let origin = world.gateway.url_of(&world.upstream.authority);
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp"] {
        let metadata = crate::client::get_json(&world.browser, &format!("{origin}{path}")).await;
        let algorithms = json!(["ES256", "ES384", "EdDSA", "RS256", "PS256"]);
        assert_eq!(metadata["dpop_signing_alg_values_supported"], algorithms, "{path}");
    }
}

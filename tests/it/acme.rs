//! Certificates from an authority: ordered before the first client comes, for approved names only, renewed while streams stay open, and
//! what happens when the authority does not want.

use crate::acme_peers::{
    DOMAIN, EXTERNAL, KEY, KEY_NAME, Knot, Names, Pebble, Refusing, all_valid, connect, names_of, order_at, port,
    presented, reaches,
};
use crate::client::alice;
use crate::gateway::{Gateway, label, upstream};
use crate::postgres::Cluster;
use crate::raw::PATIENCE;
use crate::tls_peers::{Authority, TlsUpstream};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use portcullis::certificates::CertificateStatus;
use portcullis::clock::{Clock, Timestamp};
use portcullis::config::{Acme, Challenge, Config, ExternalAccount, Records, Rfc2136, TsigAlgorithm, UpstreamAuth};
use portcullis::devkit::browser::{Arrived, Browser, Credentials, Page};
use portcullis::secret::Secret;
use portcullis::store::{AcmeChallenge, Decision, Issued, Upstream};
use portcullis::vault::Place;
use rcgen::{CertificateParams, KeyPair};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NOTES: &str = "notes.example";
/// Longer than two thirds of what pebble's certificates live.
const FIVE_YEARS: Duration = Duration::from_secs(5 * 365 * 86_400);

/// A gateway in front of one upstream, and its authority.
struct Setup {
    gateway: Gateway,
    pebble: Pebble,
    _names: Names,
    http: u16,
    tls: u16,
}

impl Setup {
    async fn with(challenge: Challenge, edit: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let (names, http, tls) = (Names::start().await, port(), port());
        let pebble = Pebble::start(names.dns, http, tls, false).await;
        let acme = pebble.acme(challenge);
        let gateway = gateway(acme, http, tls, edit).await;
        Self { gateway, pebble, _names: names, http, tls }
    }

    async fn reaches(&self, is_so: impl Fn(&[CertificateStatus]) -> bool) {
        reaches(|| self.gateway.app().certificates.status(), is_so).await;
    }
}

async fn gateway(acme: Acme, http: u16, tls: u16, edit: impl Fn(&mut Config) + Send + Sync + 'static) -> Gateway {
    Gateway::with_names(&["localhost", "mcp.test"], move |config| {
        order_at(config, &acme, http, tls);
        config.upstream.push(upstream(NOTES, UpstreamAuth::None));
        edit(config);
    })
    .await
}

fn host_of(authority: &str) -> String {
    format!("{}.{DOMAIN}", label(authority))
}

/// What a gateway says over plain HTTP.
pub async fn plain(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it does not close").unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_01_covers_what_was_approved_before_anybody_comes_and_nothing_else() {
    let (names, http, tls) = (Names::start().await, port(), port());
    let mut pebble = Pebble::start(names.dns, http, tls, true).await;
    let mut acme = pebble.acme(Challenge::Http01);
    let hmac_key = Secret::new(EXTERNAL.1.to_owned());
    acme.external_account = Some(ExternalAccount { key_id: EXTERNAL.0.to_owned(), hmac_key });
    let gateway = gateway(acme, http, tls, |_| {}).await;
    let status = || gateway.app().certificates.status();
    reaches(status, |status| status.len() == 2 && all_valid(status)).await;

    let root = presented(tls, DOMAIN).await;
    let (names, issuer) = names_of(&root);
    assert_eq!(names, [DOMAIN]);
    assert!(issuer.contains("Pebble Intermediate"), "{issuer}");
    assert_eq!(names_of(&presented(tls, &host_of(NOTES)).await).0, [host_of(NOTES)]);
    let other = "other.example";
    assert_eq!(presented(tls, &host_of(other)).await, root, "nobody can make us order for a name");

    let approved = Upstream {
        authority: other.to_owned(),
        decision: Decision::Approved,
        alias: Some("other".to_owned()),
        name: None,
        decided_by: None,
        decided_at: gateway.clock.now(),
    };
    gateway.app().revocations.decide(&approved).await.unwrap();
    reaches(status, |status| status.len() == 4 && all_valid(status)).await;
    for host in [host_of(other), format!("other.{DOMAIN}")] {
        assert_eq!(names_of(&presented(tls, &host).await).0, [host]);
    }
    let rows = gateway.app().store.certificates().await.unwrap();
    assert_eq!(rows.len(), 4);
    assert!(gateway.app().store.acme_challenges("http-01").await.unwrap().is_empty(), "answers are removed");
    let expiry = format!("portcullis_certificate_expiry_timestamp_seconds{{name=\"{DOMAIN}\"}}");
    assert!(gateway.app().metrics.encode().contains(&expiry), "{}", gateway.app().metrics.encode());

    // After a restart they are there before anything is asked.
    let mut gateway = gateway;
    pebble.halt().await;
    gateway.halt().await;
    let gateway = gateway.resume(tls, |_| {}).await;
    assert!(all_valid(&gateway.app().certificates.status()));
    assert_eq!(presented(tls, DOMAIN).await, root);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_alpn_01_needs_no_port_80() {
    let setup = Setup::with(Challenge::TlsAlpn01, |config| config.server.http_listen = None).await;
    setup.reaches(|status| status.len() == 2 && all_valid(status)).await;
    assert_eq!(names_of(&presented(setup.tls, &host_of(NOTES)).await).0, [host_of(NOTES)]);
    assert!(TcpStream::connect(("127.0.0.1", setup.http)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_01_gives_a_wildcard_by_signed_updates() {
    let (knot, http, tls) = (Knot::start().await, port(), port());
    let pebble = Pebble::start(knot.address, http, tls, false).await;
    let server = |key: &str| {
        Challenge::Dns01(Records::Update(Rfc2136 {
            server: knot.address,
            zone: DOMAIN.to_owned(),
            key_name: KEY_NAME.to_owned(),
            algorithm: TsigAlgorithm::HmacSha256,
            key: Secret::new(key.to_owned()),
        }))
    };
    let gateway = gateway(pebble.acme(server("d3Jvbmc=")), http, tls, |_| {}).await;
    let status = || gateway.app().certificates.status();
    reaches(status, |status| status.iter().any(|one| one.last_error.is_some())).await;
    let [status_of_one] = &*status() else { panic!("one for all") };
    let error = status_of_one.last_error.clone().unwrap();
    assert!(error.contains("check zone, key_name, key"), "{error}");
    assert!(status_of_one.needs_attention());
    assert!(connect(tls, DOMAIN).await.is_none(), "there is nothing to present");

    let acme = pebble.acme(server(KEY));
    gateway.reload(|config| config.tls = portcullis::config::Tls::Acme(Box::new(acme))).await.unwrap();
    gateway.app().store.renew_certificates(None).await.unwrap();
    reaches(status, |status| status.len() == 1 && all_valid(status)).await;
    let wildcard = presented(tls, &host_of("never.seen.example")).await;
    let mut names = names_of(&wildcard).0;
    names.sort();
    assert_eq!(names, [format!("*.{DOMAIN}"), DOMAIN.to_owned()]);
    let kdig = ["+short", "TXT", "_acme-challenge.gw.test", "@127.0.0.1", "-p", &knot.address.port().to_string()];
    let left = tokio::process::Command::new("kdig").args(kdig).output().await.unwrap();
    assert!(left.status.success() && left.stdout.is_empty(), "records are removed: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_01_works_with_a_program_of_ones_own() {
    let (names, http, tls) = (Names::start().await, port(), port());
    let pebble = Pebble::start(names.dns, http, tls, false).await;
    let directory = tempfile::tempdir().unwrap();
    let (hook, log) = (directory.path().join("hook"), directory.path().join("log"));
    let script = format!(
        "#!/bin/sh -e\necho \"$2\" >> {log}\n[ \"$2\" = present ] && what=set-txt || what=clear-txt\n\
         curl -sf -d \"{{\\\"host\\\":\\\"$3.\\\",\\\"value\\\":\\\"$4\\\"}}\" http://{management}/$what\n",
        log = log.display(),
        management = names.management
    );
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let command = vec![hook.display().to_string(), "an argument".to_owned()];
    let gateway = gateway(pebble.acme(Challenge::Dns01(Records::Hook(command))), http, tls, |_| {}).await;
    reaches(|| gateway.app().certificates.status(), |status| status.len() == 1 && all_valid(status)).await;
    assert_eq!(std::fs::read_to_string(log).unwrap(), "present\npresent\ncleanup\ncleanup\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewal_cuts_no_stream_and_an_unknown_account_is_made_anew() {
    let authority = Authority::new("upstreams");
    let mut events = TlsUpstream::start(&authority, "mcp.test", &["http/1.1"]).await;
    let (ca, events_authority) = (authority.file(), format!("mcp.test:{}", events.port));
    let upstream_authority = events_authority.clone();
    let mut setup = Setup::with(Challenge::Http01, move |config| {
        config.upstreams.ca_file = Some(ca.clone());
        config.upstream.push(upstream(&upstream_authority, UpstreamAuth::None));
    })
    .await;
    setup.reaches(|status| status.len() == 3 && all_valid(status)).await;
    let host = host_of(&events_authority);
    let before = presented(setup.tls, &host).await;
    let (token, _) = setup.gateway.token_for(&events_authority).await;
    let mut stream = open_stream(setup.tls, &host, &token).await;
    let upstream_end = events.streams.recv().await.unwrap();

    // The authority is gone when it is time: what there is stays, and somebody is told.
    setup.pebble.halt().await;
    setup.gateway.clock.advance(FIVE_YEARS * 3 / 4);
    setup.reaches(|status| status.iter().all(|one| one.last_error.is_some() && one.needs_attention())).await;
    assert_eq!(presented(setup.tls, &host).await, before);

    // It is back, and does not know us any more.
    setup.pebble.resume().await;
    setup.gateway.app().store.renew_certificates(None).await.unwrap();
    setup.reaches(|status| status.iter().all(|one| one.last_error.is_none())).await;
    let after = presented(setup.tls, &host).await;
    assert_ne!(after, before);

    upstream_end.send(Bytes::from("data: still here\n\n")).await.unwrap();
    assert_eq!(next_event(&mut stream).await, "data: still here\n\n");
    assert_eq!(presented(setup.tls, &host).await, after, "and it is not renewed over and over");
}

/// A stream of events over TLS, after its first event.
async fn open_stream(port: u16, host: &str, token: &str) -> Incoming {
    let stream = connect(port, host).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move {
        let _connection = connection.await;
    });
    let request = Request::get("/events")
        .header(header::HOST, format!("{host}:{port}"))
        .header(header::ACCEPT, "text/event-stream")
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // The connection lives as long as somebody may still ask on it.
    std::mem::forget(sender);
    let mut body = response.into_body();
    assert_eq!(next_event(&mut body).await, "data: 1\n\n");
    body
}

/// The next one that is no heartbeat.
async fn next_event(body: &mut Incoming) -> String {
    loop {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("no event").expect("the stream was cut");
        let text = String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap();
        if !text.starts_with(':') {
            return text;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_has_had_enough_is_left_alone() {
    let (refusing, http, tls) = (Refusing::start(Duration::from_secs(7200)).await, port(), port());
    let gateway = gateway(refusing.acme(), http, tls, |_| {}).await;
    let status = || gateway.app().certificates.status();
    reaches(status, |status| status.iter().any(|one| one.last_error.is_some())).await;
    let failed = status().into_iter().find(|one| one.last_error.is_some()).unwrap();
    assert_eq!(failed.last_error.as_deref(), Some("rateLimited: no"));
    let rows = gateway.app().store.certificates().await.unwrap();
    let row = rows.iter().find(|row| row.name == failed.names[0]).unwrap();
    assert!(row.renew_at >= gateway.clock.now().after(Duration::from_secs(7100)), "{row:?}");
    // Both certificates were due at the same time; since then nobody has ordered.
    reaches(status, |status| status.iter().all(|one| one.last_error.is_some())).await;
    let counts = refusing.counts();
    assert!(counts.accounts >= 2, "the account that was not taken any more was replaced");
    gateway.clock.advance(Duration::from_secs(1800));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(refusing.counts(), counts);
    assert!(counts.orders <= 4, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_may_have_a_certificate_renewed_early() {
    let (refusing, http, tls) = (Refusing::start(Duration::from_secs(1)).await, port(), port());
    let acme = refusing.acme();
    let directory = acme.directory.clone();
    let gateway = Gateway::with_names(&["localhost"], move |config| order_at(config, &acme, http, tls)).await;
    let status = || gateway.app().certificates.status();
    reaches(status, |status| status.iter().all(|one| one.last_error.is_some())).await;

    let (authority, key) = (Authority::new("test"), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new([DOMAIN.to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let (app, now) = (gateway.app(), gateway.clock.now());
    let place = Place { table: "certificates", row: DOMAIN, column: "sealed", person: "", upstream: "" };
    let month = Duration::from_secs(30 * 86_400);
    let issued = Issued {
        names: DOMAIN,
        directory: &directory,
        chain: &certificate.pem(),
        sealed: &app.vault.seal(&place, &key.serialize_der()),
        validity: (now, now.after(3 * month)),
        renew_at: now.after(2 * month),
        ask_at: Some(now.after(Duration::from_secs(3600))),
    };
    let lease = (now, now.after(Duration::from_secs(60)));
    app.store.claim_certificate((DOMAIN, DOMAIN, &directory), "test", lease).await.unwrap().unwrap();
    assert!(app.store.finish_certificate(DOMAIN, "test", &issued).await.unwrap());
    reaches(status, all_valid).await;
    let before = refusing.counts();
    assert_eq!(before.renewals, 0);
    gateway.clock.advance(Duration::from_secs(2 * 3600));
    reaches(status, |status| status.iter().all(|one| one.last_error.is_some())).await;
    let after = refusing.counts();
    assert!(after.renewals == 1 && after.orders > before.orders, "{after:?}");
    assert!(!names_of(&presented(tls, DOMAIN).await).0.is_empty(), "what there is stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_orders_and_all_serve_and_answer() {
    let url = Cluster::shared().empty().await;
    let on_postgres = move |config: &mut Config| config.store.url = Secret::new(url.clone());
    let setup = Setup::with(Challenge::Http01, on_postgres).await;
    let (http, tls, public) = (port(), port(), setup.tls);
    let other = setup
        .gateway
        .another(move |config| {
            config.server.listen = vec![([127, 0, 0, 1], tls).into()];
            config.server.http_listen = Some(([127, 0, 0, 1], http).into());
            config.server.public = Some((portcullis::hostname::Scheme::Https, public));
        })
        .await;
    setup.reaches(all_valid).await;
    reaches(|| other.app().certificates.status(), all_valid).await;
    for host in [DOMAIN.to_owned(), host_of(NOTES)] {
        assert_eq!(presented(setup.tls, &host).await, presented(tls, &host).await, "{host}");
    }
    // Whatever one of them is to be asked, the other one answers.
    let answer = AcmeChallenge {
        kind: "http-01".to_owned(),
        key: "dG9rZW4tb2YtdGhlLWNoYWxsZW5nZQ".to_owned(),
        name: DOMAIN.to_owned(),
        answer: "the answer".to_owned(),
        expires_at: other.clock.now().after(Duration::from_secs(60)),
    };
    setup.gateway.app().store.put_acme_challenge(&answer).await.unwrap();
    let asked = format!("GET /.well-known/acme-challenge/{} HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n", answer.key);
    for port in [setup.http, http] {
        let answered = plain(port, &asked).await;
        assert!(answered.starts_with("HTTP/1.1 200 OK\r\n") && answered.ends_with("\r\n\r\nthe answer"), "{answered}");
    }
    // Renewal on one node reaches the other within a second or so.
    let before = presented(tls, DOMAIN).await;
    setup.gateway.app().store.renew_certificates(Some(DOMAIN)).await.unwrap();
    let began = std::time::Instant::now();
    while presented(tls, DOMAIN).await == before || presented(setup.tls, DOMAIN).await == before {
        assert!(began.elapsed() < PATIENCE, "the new certificate is not presented");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(presented(tls, DOMAIN).await, presented(setup.tls, DOMAIN).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_leads_to_https_also_beside_files() {
    let (authority, http) = (Authority::new("test"), port());
    let tls = authority.files(&[DOMAIN, &format!("*.{DOMAIN}")]);
    let gateway = Gateway::with(move |config| {
        config.tls = tls.clone();
        config.server.domain = DOMAIN.to_owned();
        config.server.http_listen = Some(([127, 0, 0, 1], http).into());
        config.limits.connections.head_timeout = Duration::from_secs(2);
    })
    .await;
    let root = gateway.root();
    let answer = plain(http, &format!("GET /login?next=1 HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n")).await;
    assert!(
        answer.starts_with("HTTP/1.1 301 ") && answer.contains(&format!("Location: {root}/login?next=1\r\n")),
        "{answer}"
    );
    let answer = plain(http, &format!("POST /token HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Length: 3\r\n\r\na=b")).await;
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    let answer = plain(http, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.contains("Location"), "{answer}");
    let token = "/.well-known/acme-challenge/dG9rZW4tb2YtdGhlLWNoYWxsZW5nZQ";
    let answer = plain(http, &format!("GET {token} HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "nothing is ordered here: {answer}");
    let answer = plain(http, &format!("GET / HTTP/1.1\r\nHost: {DOMAIN}\r\nX: {}\r\n\r\n", "x".repeat(9000))).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let [status] = &*gateway.app().certificates.status() else { panic!() };
    assert_eq!(status.names, [DOMAIN.to_owned(), format!("*.{DOMAIN}")]);
    gateway.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", http)).await.is_err(), "it stops with the gateway");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_see_that_a_certificate_is_about_to_end() {
    let authority = Authority::new("test");
    let tls =
        authority.files_until(&[DOMAIN], Timestamp::after(Clock::system().now(), Duration::from_secs(2 * 86_400)));
    let gateway = Gateway::with(move |config| {
        config.tls = tls.clone();
        config.server.domain = DOMAIN.to_owned();
    })
    .await;
    gateway.add("bob").await;
    let bob = Credentials { user: "bob".to_owned(), ..alice() };
    for (who, told) in [(alice(), true), (bob, false)] {
        let browser = Browser::trusting(&[authority.issuer.der().clone()]).unwrap();
        let login = page(browser.open(&format!("{}/login", gateway.root()), "").await.unwrap());
        let home = page(browser.fill_login(&login, &who, "").await.unwrap());
        assert_eq!(home.status, StatusCode::OK);
        let says = home.text().contains(&format!("The certificate for {DOMAIN} expires"));
        assert_eq!(says, told, "{}: {}", who.user, home.text());
    }
}

fn page(arrived: Arrived) -> Page {
    let Arrived::Page(page) = arrived else { panic!("{arrived:?}") };
    page
}

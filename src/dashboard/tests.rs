//! The routes, driven as a browser drives them.

mod access;
mod account;
mod activity;
mod factors;
mod programs;
mod start;

use super::*;
use crate::administration::Signing;
use crate::apikey::ApiKeys;
use crate::certificates::CertificatesParts;
use crate::config::{AuditedRequests, Limits, Login, Rate, SecondFactor, SessionLives, Tls, Unknown, Upstreams};
use crate::connect::ConnectionsParts;
use crate::hostname::Realm;
use crate::http::{HttpClient, Resolver};
use crate::identity::providers::Tools;
use crate::ids::{GrantId, Random};
use crate::jwks::RemoteKeys;
use crate::mcp_client::ClientsParts;
use crate::request::Arrival;
use crate::revocation::Memory;
use crate::secret::Secret;
use crate::services::{Pats, Services, ServicesParts};
use crate::store::{Connection, ConnectionState, Role, User};
use crate::vault::Vault;
use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use std::collections::HashMap;
use std::time::Duration;
use tower::ServiceExt;

const PASSWORD: &str = "correct horse";

struct House {
    dashboard: Arc<Dashboard>,
    router: Router,
}

/// A browser: it keeps cookies, sends its origin with forms, and fills `csrf_token` in from the page before.
struct Browser<'a> {
    house: &'a House,
    cookies: HashMap<String, String>,
    origin: &'static str,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl House {
    async fn new() -> Self {
        Self::ruled(SecondFactor::Optional, 5).await
    }

    /// With another rule for second factors, and so many attempts to sign in.
    async fn ruled(second_factor: SecondFactor, attempts: u32) -> Self {
        let store = Store::open("sqlite::memory:").await.unwrap();
        let (clock, random) = (Clock::standing(), Random::default());
        let site = Site::new("gw.example", Scheme::Https, 443);
        let policy = Upstreams { unknown: Unknown::Ask, allow_private: false, ca_file: None, max_requests: 1024 };
        let registry = Arc::new(Registry::new(&policy, Vec::new(), site.clone(), store.clone()).await.unwrap());
        let vault = Vault::new(&Vault::generate_key(&random), &[]).unwrap();
        let factors = Factors::new(store.clone(), vault.clone(), clock.clone(), random.clone(), &site);
        let http = HttpClient::new(Resolver::fixed(HashMap::new()), None).unwrap();
        let connections = Arc::new(Connections::new(ConnectionsParts {
            store: store.clone(),
            vault: vault.clone(),
            http: http.clone(),
            registry: registry.clone(),
            site: site.clone(),
            clock: clock.clone(),
            random: random.clone(),
            metrics: Arc::default(),
            tracer: Default::default(),
            activity: Default::default(),
            spool: None,
        }));
        let memory = Memory { lives: Arc::default(), connections: connections.clone(), registry: registry.clone() };
        let tools = Tools {
            keys: Arc::new(RemoteKeys::new(http.clone(), clock.clone())),
            http,
            store: store.clone(),
            vault: vault.clone(),
            site: site.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let login = Login {
            password: true,
            local: None,
            github: None,
            oidc: Vec::new(),
            sessions: SessionLives::default(),
            second_factor: SecondFactor::Optional,
        };
        let identity = Arc::new(Identity::new(store.clone(), clock.clone(), random.clone(), None).await.unwrap());
        let lives = SessionLives::default();
        let sessions = Arc::new(Sessions::new(store.clone(), clock.clone(), random.clone(), &site, lives));
        let audit = Audit::new(store.clone(), clock.clone(), Arc::default(), AuditedRequests::None);
        let revocations = Arc::new(Revocations::new(store.clone(), clock.clone(), memory));
        let administration = Administration {
            store: store.clone(),
            identity: identity.clone(),
            revocations: revocations.clone(),
            registry: registry.clone(),
            sessions: sessions.clone(),
            api_keys: Arc::new(ApiKeys::new(store.clone(), clock.clone(), random.clone())),
            services: connections.services().clone(),
            pats: Some(Pats::new(store.clone(), vault.clone(), clock.clone())),
            personal: Some(connections.personal_credentials().clone()),
            signing: Some(Signing { vault: vault.clone(), config: tokens() }),
            audit: audit.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let pats = Pats::new(store.clone(), vault.clone(), clock.clone());
        let services = Services::new(ServicesParts {
            connections: connections.clone(),
            revocations: revocations.clone(),
            store: store.clone(),
            pats,
            site: site.clone(),
        });
        let parts = CertificatesParts {
            store: store.clone(),
            vault: vault.clone(),
            registry: registry.clone(),
            resolver: Resolver::fixed(HashMap::new()),
            site: site.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let health = HealthTable::new(clock.clone(), random.clone(), 1024);
        let mcp = Clients::new(ClientsParts {
            http: tools.http.clone(),
            connections: connections.clone(),
            health: health.clone(),
            processes: Arc::new(crate::stdio::Processes::new(Default::default(), Arc::default(), None)),
            random: random.clone(),
            limits: Default::default(),
        });
        let dashboard = Arc::new(Dashboard {
            activity: Arc::new(Activity::new(store.clone(), clock.clone(), &random)),
            mcp,
            certificates: Certificates::new(parts, &Tls::Off).await.unwrap(),
            services: Arc::new(services),
            administration: Arc::new(administration),
            providers: Arc::new(Providers::new(tools, &login)),
            passwords: login.password,
            identity,
            sessions,
            connections,
            audit,
            revocations,
            limits: Arc::new(RateLimits::new(&limits(attempts))),
            factors: Arc::new(factors),
            second_factor,
            unified: true,
            in_force: Arc::new(programs::in_force()),
            node: NodeId::random(&random),
            doctor: Kit::new(site.root_origin(), Resolver::fixed(HashMap::new()), None, clock.clone(), random.clone()),
            health,
            site,
            store,
            registry,
            clock,
        });
        Self { router: routes(dashboard.clone()), dashboard }
    }

    async fn with(people: &[(&str, Role)]) -> Self {
        let house = Self::new().await;
        for (name, role) in people {
            house.dashboard.identity.create(name, &Secret::new(PASSWORD.to_owned()), *role).await.unwrap();
        }
        house
    }

    fn browser(&self) -> Browser<'_> {
        Browser { house: self, cookies: HashMap::new(), origin: "https://gw.example" }
    }

    async fn user(&self, name: &str) -> User {
        self.dashboard.store.user_by_name(name).await.unwrap().unwrap()
    }
}

impl Browser<'_> {
    async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap()).await
    }

    /// Sends the form of `page` to `path`, with `fields` filled in.
    async fn submit(&mut self, page: &Answer, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = page.body.split("name=\"csrf_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf_token", token.unwrap_or_default()).extend_pairs(fields);
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, self.origin)
            .header("sec-fetch-site", if self.origin == "https://gw.example" { "same-origin" } else { "same-site" });
        self.send(request.body(Body::from(form.finish())).unwrap()).await
    }

    async fn sign_in(&mut self, name: &str, password: &str, return_to: &str) -> Answer {
        let page = self.get("/login").await;
        let fields = [("username", name), ("password", password), ("return_to", return_to)];
        self.submit(&page, "/login", &fields).await
    }

    async fn send(&mut self, mut request: Request<Body>) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request.headers_mut().insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        }
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        request.extensions_mut().insert(Arrival { realm: Realm::Root, client });
        let (parts, body) = self.house.router.clone().oneshot(request).await.unwrap().into_parts();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

impl Answer {
    fn location(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        self.headers[header::LOCATION].to_str().unwrap()
    }
}

fn limits(attempts: u32) -> Limits {
    let wide = Rate { count: 100, period: Duration::from_secs(1), burst: 200 };
    let login = Rate { count: attempts, period: Duration::from_secs(3600), burst: attempts };
    Limits {
        per_ip: wide,
        per_user: wide,
        per_user_upstream: wide,
        per_client: wide,
        token_endpoint: wide,
        registration: wide,
        login,
        shared: false,
        memory: None,
        connections: Default::default(),
    }
}

fn tokens() -> crate::config::Tokens {
    let day = Duration::from_secs(86_400);
    crate::config::Tokens {
        access_ttl: day,
        refresh_ttl: day,
        rotation_grace: Duration::from_secs(60),
        signing_algorithm: crate::jose::SigningAlgorithm::Es256,
        key_rotation: None,
    }
}

fn connection(user: &User) -> Connection {
    let now = Clock::standing().now();
    Connection {
        id: crate::ids::ConnectionId::random(&Random::default()),
        user: user.id,
        authority: "mcp.example.com".to_owned(),
        account: "work".to_owned(),
        state: ConnectionState::NeedsConsent,
        sealed: vec![1],
        scope: "read write".to_owned(),
        expires_at: None,
        version: 1,
        personal: None,
        refreshing_since: None,
        last_error: Some("the server ended it".to_owned()),
        created_at: now,
        updated_at: now,
        last_used_at: None,
    }
}

#[tokio::test]
async fn a_new_installation_is_claimed_once_and_the_claimant_is_signed_in() {
    let house = House::new().await;
    let token = house.dashboard.identity.setup_token().await.unwrap().unwrap();
    let mut browser = house.browser();
    assert!(browser.get("/").await.body.contains("one-time link"));
    let page = browser.get(&format!("/setup?token={}", token.expose())).await;
    let claim =
        |again| [("token", token.expose()), ("username", "root"), ("password", PASSWORD), ("password_again", again)];
    let refused = browser.submit(&page, "/setup", &claim("something else")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(browser.submit(&page, "/setup", &claim(PASSWORD)).await.location(), "/");
    assert_eq!(browser.get("/servers").await.status, StatusCode::OK, "the claimant sees what administrators see");
    assert_eq!(house.browser().get("/setup?token=x").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_with_a_page() {
    let house = House::new().await;
    let page = house.browser().get("/login?return_to=a&return_to=b").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.body.starts_with("<!doctype html>") && page.body.contains("cannot be read"), "{}", page.body);
}

#[tokio::test]
async fn sign_in_leads_back_but_never_elsewhere() {
    let house = House::with(&[("alice", Role::Member)]).await;
    let mut browser = house.browser();
    let start = "/oauth/start?server=mcp.example.com";
    assert_eq!(browser.get(start).await.location(), "/login?return_to=%2Foauth%2Fstart%3Fserver%3Dmcp.example.com");
    assert_eq!(browser.sign_in("alice", PASSWORD, start).await.location(), start);
    assert_eq!(browser.get("/login?return_to=//evil.example").await.location(), "/");
    let page = browser.get("/").await;
    assert_eq!(browser.submit(&page, "/logout", &[]).await.location(), "/");
    assert_eq!(house.browser().sign_in("alice", PASSWORD, "https://evil.example/").await.location(), "/");
}

#[tokio::test]
async fn every_refusal_is_the_same_and_guessing_ends() {
    let house = House::with(&[("alice", Role::Member)]).await;
    let mut browser = house.browser();
    let wrong = browser.sign_in("alice", "wrong password", "/").await;
    let unknown = browser.sign_in("nobody", "wrong password", "/").await;
    assert_eq!((wrong.status, unknown.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    let sentence = "That name and that password do not belong together.";
    assert!(wrong.body.contains(sentence) && unknown.body.contains(sentence));
    for _ in 0..3 {
        browser.sign_in("alice", "wrong password", "/").await;
    }
    let limited = browser.sign_in("alice", PASSWORD, "/").await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(limited.headers.contains_key(header::RETRY_AFTER) && limited.headers.contains_key("ratelimit-policy"));
}

#[tokio::test]
async fn forms_from_a_sibling_or_without_the_token_do_nothing() {
    let house = House::with(&[("alice", Role::Administrator)]).await;
    let mut browser = house.browser();
    let page = browser.get("/login").await;
    browser.origin = "https://x-enc.gw.example";
    let fields = [("username", "alice"), ("password", PASSWORD)];
    assert_eq!(browser.submit(&page, "/login", &fields).await.status, StatusCode::FORBIDDEN);
    browser.origin = "https://gw.example";
    browser.sign_in("alice", PASSWORD, "/").await.location();
    let home = browser.get("/").await;
    let empty = Answer { body: String::new(), ..browser.get("/health").await };
    for path in ["/logout", "/connections/disconnect", "/grants/revoke", "/upstreams/approve", "/upstreams/remove"] {
        let fields = [("id", "0"), ("authority", "mcp.example.com")];
        assert_eq!(browser.submit(&empty, path, &fields).await.status, StatusCode::FORBIDDEN, "{path}");
        browser.origin = "https://x-enc.gw.example";
        assert_eq!(browser.submit(&home, path, &fields).await.status, StatusCode::FORBIDDEN, "{path}");
        browser.origin = "https://gw.example";
    }
    assert!(house.dashboard.store.upstreams().await.unwrap().is_empty());
}

#[tokio::test]
async fn people_see_and_end_their_own_connections_only() {
    let house = House::with(&[("alice", Role::Member), ("mallory", Role::Member)]).await;
    let connection = connection(&house.user("alice").await);
    let id = house.dashboard.store.put_connection(&connection).await.unwrap().to_string();
    let mut mallory = house.browser();
    mallory.sign_in("mallory", PASSWORD, "/").await.location();
    let page = mallory.get("/connections").await;
    assert!(!page.body.contains("mcp.example.com</"));
    let answer = mallory.submit(&page, "/connections/disconnect", &[("id", &id)]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let mut alice = house.browser();
    alice.sign_in("alice", PASSWORD, "/").await.location();
    let page = alice.get("/connections").await;
    assert!(page.body.contains("Needs your consent again") && page.body.contains("the server ended it"));
    assert_eq!(alice.submit(&page, "/connections/disconnect", &[("id", &id)]).await.location(), "/connections");
    assert!(house.dashboard.store.connections().await.unwrap().is_empty());
    let unknown = GrantId::random(&Random::default()).to_string();
    assert_eq!(alice.submit(&page, "/grants/revoke", &[("id", &unknown)]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn administrators_approve_what_others_must_ask_for() {
    let house = House::with(&[("root", Role::Administrator), ("alice", Role::Member)]).await;
    let start = "/oauth/start?server=mcp.example.com";
    let mut alice = house.browser();
    alice.sign_in("alice", PASSWORD, "/").await.location();
    let told = alice.get(start).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN);
    assert!(told.body.contains("An administrator has to approve mcp.example.com"));
    assert_eq!(alice.get("/servers").await.status, StatusCode::FORBIDDEN);
    let home = alice.get("/").await;
    let tried = alice.submit(&home, "/upstreams/approve", &[("authority", "mcp.example.com")]).await;
    assert_eq!(tried.status, StatusCode::FORBIDDEN);
    let mut root = house.browser();
    root.sign_in("root", PASSWORD, "/").await.location();
    let page = root.get(start).await;
    assert!(page.body.contains("Let this server in?"));
    assert_eq!(root.submit(&page, start, &[("decision", "deny")]).await.location(), "/servers");
    assert_eq!(root.submit(&page, start, &[("decision", "approve")]).await.location(), start);
    let home = root.get("/servers").await;
    assert!(home.body.contains("Approved"));
    assert_eq!(
        root.submit(&home, "/upstreams/remove", &[("authority", "mcp.example.com")]).await.location(),
        "/servers"
    );
    assert!(root.get(start).await.body.contains("Let this server in?"));
}

#[tokio::test]
async fn the_public_addresses_answer_strangers() {
    let house = House::new().await;
    let mut browser = house.browser();
    assert_eq!(browser.get("/health").await.body, "{\"status\":\"ok\"}");
    assert!(browser.get("/assets/portcullis.css?v=1").await.status.is_success());
    let missing = browser.get("/nothing/here").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.headers.contains_key(header::CONTENT_SECURITY_POLICY));
    assert_eq!(browser.get("/oauth/callback?state=x&code=y").await.status, StatusCode::BAD_REQUEST);
    let metadata = browser.get("/oauth/client-metadata.json").await;
    assert_eq!(metadata.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let document: serde_json::Value = serde_json::from_str(&metadata.body).unwrap();
    assert_eq!(document["client_id"], "https://gw.example/oauth/client-metadata.json");
    assert_eq!(document["redirect_uris"][0], "https://gw.example/oauth/callback");
}

#[tokio::test]
async fn encoding_answers_programs_and_people() {
    let house = House::new().await;
    let mut browser = house.browser();
    let path = "/encode?domain=MCP.Atlassian.com:443&path=/v1/mcp";
    let page = browser.get(path).await;
    let url = "https://nvrxaltborwgc43tnfqw4ltdn5wq-enc.gw.example/v1/mcp";
    assert!(page.body.contains(&format!("claude mcp add --transport http atlassian {url}")), "{}", page.body);
    assert_eq!(browser.get("/encode?domain=%3Cscript%3E").await.status, StatusCode::BAD_REQUEST);
    let ask = |path: &str| {
        let request = Request::builder().method(Method::GET).uri(path).header(header::ACCEPT, "application/json");
        request.body(Body::empty()).unwrap()
    };
    let json = browser.send(ask(path)).await;
    let document: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!((&document["url"], &document["alias"]), (&url.into(), &serde_json::Value::Null));
    let problem = browser.send(ask("/encode?domain=gw.example")).await;
    assert_eq!(problem.status, StatusCode::BAD_REQUEST);
    assert_eq!(problem.headers[header::CONTENT_TYPE], "application/problem+json");
}

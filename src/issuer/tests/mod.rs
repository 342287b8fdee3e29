//! The doors of the issuer, asked over their routers. Names carry the numbers of the security assertions they hold.

mod administration;
mod assertions;
mod authorize;
mod clients;
mod crashing;
mod device;
mod discovery;
mod exchange;
mod identity_assertions;
mod introspection;
mod machines;
mod permissions;
mod possession;
mod refresh_model;
mod registration;
mod remembered;
mod token;

use super::*;
use crate::config::{
    AuditedRequests, Limits, Login, OidcLogin, Rate, SecondFactor, SessionLives, Unknown, UpstreamAuth, UpstreamConfig,
    Upstreams,
};
use crate::connect::ConnectionsParts;
use crate::hostname::{Authority, Label, Realm, Scheme};
use crate::http::Resolver;
use crate::identity::providers::Tools;
use crate::ids::{GrantId, UserId};
use crate::jose::SigningAlgorithm;
use crate::oauth::pkce::Challenge;
use crate::ratelimit::tests::plenty;
use crate::request::Arrival;
use crate::revocation::Memory;
use crate::session::Means;
use crate::store::{Grant, Role, User};
use crate::tokens::{GrantLives, SigningKeys};
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use tower::ServiceExt;

const ROOT: &str = "https://gw.example";
const NOTES: &str = "https://notes.gw.example";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "https://app.example/callback";

/// A gateway with two upstreams that need no authorization of their own, `notes` and `files`, and a person.
struct World {
    issuer: Arc<Issuer>,
    alice: User,
    /// Her `Cookie` header.
    cookie: String,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn location(&self) -> &str {
        self.header(header::LOCATION)
    }

    /// The query of the address that the browser is sent to.
    fn answer(&self) -> HashMap<String, String> {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        url::Url::parse(self.location()).unwrap().query_pairs().into_owned().collect()
    }

    fn error(&self) -> String {
        assert_eq!(self.header(header::CACHE_CONTROL), "no-store");
        assert!(self.json()["error_description"].as_str().unwrap().is_ascii());
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

impl World {
    async fn new() -> Self {
        Self::with(Unknown::Ask, Role::Member).await
    }

    async fn with(unknown: Unknown, role: Role) -> Self {
        let vault = Vault::new(&Vault::generate_key(&Random::default()), &[]).unwrap();
        Self::on("sqlite::memory:", vault, unknown, role).await
    }

    /// On a database that may be there already, and Alice with it.
    async fn on(url: &str, vault: Vault, unknown: Unknown, role: Role) -> Self {
        let (clock, random) = (Clock::standing(), Random::default());
        let site = Site::new("gw.example", Scheme::Https, 443);
        let store = Store::open(url).await.unwrap();
        let (lifetimes, time, dice) = (lifetimes(), clock.clone(), random.clone());
        let keys = SigningKeys::load(store.clone(), vault.clone(), time, dice, &lifetimes).await.unwrap();
        let policy = Upstreams { unknown, allow_private: false, ca_file: None, max_requests: 1024 };
        let upstreams = ["notes", "files"].map(upstream).into();
        let registry = Arc::new(Registry::new(&policy, upstreams, site.clone(), store.clone()).await.unwrap());
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
        let newcomer = User {
            id: UserId::random(&random),
            name: "alice".into(),
            password_hash: None,
            email: Some("alice@example.com".into()),
            role,
            disabled: false,
            created_at: clock.now(),
        };
        let alice = match store.user_by_name("alice").await.unwrap() {
            Some(alice) => alice,
            None => {
                store.create_user(&newcomer).await.unwrap();
                newcomer
            }
        };
        let sessions =
            Arc::new(Sessions::new(store.clone(), clock.clone(), random.clone(), &site, SessionLives::default()));
        let cookie = cookie_of(&sessions, &alice).await;
        let lives = Arc::<GrantLives>::default();
        let memory = Memory { lives: lives.clone(), connections: connections.clone(), registry: registry.clone() };
        let tokens = Arc::new(AccessTokens::new(Arc::new(keys), lives, clock.clone(), random.clone()));
        tokens.recall_revocations(&store).await.unwrap();
        let remote_keys = Arc::new(RemoteKeys::new(http.clone(), clock.clone()));
        let tools = Tools {
            http: http.clone(),
            keys: remote_keys.clone(),
            store: store.clone(),
            vault: vault.clone(),
            site: site.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let issuer = Issuer {
            tokens,
            revocations: Arc::new(Revocations::new(store.clone(), clock.clone(), memory)),
            api_keys: Arc::new(ApiKeys::new(store.clone(), clock.clone(), random.clone())),
            lifetimes,
            audit: Audit::new(store.clone(), clock.clone(), Arc::default(), AuditedRequests::None),
            allow_private_documents: false,
            providers: Arc::new(Providers::new(tools, &login(Vec::new()))),
            remote_keys,
            registration: Registration::default(),
            limits: Arc::new(RateLimits::new(&plenty())),
            site,
            clock,
            random,
            store,
            vault,
            sessions,
            registry,
            connections,
            http,
        };
        Self { issuer: Arc::new(issuer), alice, cookie }
    }

    /// Another person at another browser, in the same gateway.
    async fn joined_by(&self, name: &str, role: Role) -> World {
        let alice = User { id: UserId::random(&self.issuer.random), name: name.into(), role, ..self.alice.clone() };
        self.issuer.store.create_user(&alice).await.unwrap();
        let cookie = cookie_of(&self.issuer.sessions, &alice).await;
        World { issuer: self.issuer.clone(), alice, cookie }
    }

    /// Asks on the root domain, or with an address that begins with [`NOTES`] or another hostname, there.
    async fn send(&self, mut request: Request<Body>) -> Reply {
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or("gw.example").strip_suffix(".gw.example").map(str::to_owned);
        let realm = host.map_or(Realm::Root, |label| Realm::Mcp(Label::parse(&label).unwrap()));
        let router = match realm {
            Realm::Root => root_routes(self.issuer.clone()),
            Realm::Mcp(_) => mcp_routes(self.issuer.clone()),
        };
        *request.uri_mut() = uri.path_and_query().unwrap().as_str().parse().unwrap();
        request.extensions_mut().insert(Arrival { realm, client: IpAddr::from([203, 0, 113, 7]) });
        let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, uri: &str) -> Reply {
        self.send(Request::get(uri).body(Body::empty()).unwrap()).await
    }

    /// As the signed-in browser.
    async fn browse(&self, uri: &str) -> Reply {
        let uri = if uri.starts_with('/') { format!("{ROOT}{uri}") } else { uri.to_owned() };
        self.send(Request::get(uri).header(header::COOKIE, &self.cookie).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, uri: &str, form: &[(&str, &str)]) -> Reply {
        self.post_with(uri, form, None).await
    }

    async fn post_with(&self, uri: &str, form: &[(&str, &str)], authorization: Option<&str>) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post(uri).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = match authorization {
            Some(value) => request.header(header::AUTHORIZATION, value),
            None => request,
        };
        self.send(request.body(Body::from(form)).unwrap()).await
    }

    async fn register(&self, origin: &str, metadata: Value) -> Reply {
        let body = Body::from(metadata.to_string());
        self.send(Request::post(format!("{origin}/register")).body(body).unwrap()).await
    }

    /// The `client_id` of a new public client of an issuer.
    async fn client(&self, origin: &str) -> String {
        let metadata = json!({
            "client_name": "Test client",
            "redirect_uris": [CALLBACK, "http://localhost/callback"],
            "token_endpoint_auth_method": "none",
        });
        self.register(origin, metadata).await.json()["client_id"].as_str().unwrap().to_owned()
    }

    /// Submits a page's form with a decision, as a browser on the root domain does.
    async fn decide(&self, what: &str, page: &Reply, decision: &str) -> Reply {
        self.decide_at("/authorize/notes", what, page, decision).await
    }

    async fn decide_at(&self, path: &str, what: &str, page: &Reply, decision: &str) -> Reply {
        let csrf_token = self.csrf_token().await;
        let flow = flow_of(page);
        let form = [("flow", flow.as_str()), ("csrf_token", &csrf_token), ("decision", decision)];
        self.submit(&format!("{path}?decide={what}"), &form).await
    }

    /// How often this was done, by the audit log.
    async fn recorded(&self, action: &str) -> usize {
        self.issuer.audit.flush().await;
        let events = self.issuer.store.audit(100).await.unwrap();
        events.iter().filter(|event| event.action == action).count()
    }

    async fn submit(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post(format!("{ROOT}{path}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, ROOT)
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, &self.cookie);
        self.send(request.body(Body::from(form)).unwrap()).await
    }

    async fn csrf_token(&self) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, self.cookie.parse().unwrap());
        self.issuer.sessions.find(&headers).await.unwrap().unwrap().csrf_token
    }

    /// A grant of Alice's to a client of `notes`, not kept yet.
    fn grant(&self, client: &str) -> Grant {
        Grant {
            id: GrantId::random(&self.issuer.random),
            user: self.alice.id,
            client_id: client.to_owned(),
            client_name: String::new(),
            realm: "notes".to_owned(),
            resource: format!("{NOTES}/mcp"),
            scope: String::new(),
            created_at: self.issuer.clock.now(),
            revoked_at: None,
        }
    }

    /// From the authorization request to the code.
    async fn code(&self, client: &str, scope: &str) -> String {
        let page = self.browse(&authorize("notes", client, &[("scope", scope)])).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        let decided = self.decide("client", &page, "approve").await;
        assert_eq!(decided.status, StatusCode::SEE_OTHER, "{}", decided.body);
        self.browse(decided.location()).await.answer()["code"].clone()
    }

    /// The answer of the token endpoint to a fresh code.
    async fn signed_in(&self, client: &str, scope: &str) -> Value {
        let code = self.code(client, scope).await;
        let reply = self.exchange(client, &code, &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        reply.json()
    }

    /// Exchanges a code at `notes`; `changes` replace or add parameters.
    async fn exchange(&self, client: &str, code: &str, changes: &[(&str, &str)]) -> Reply {
        let usual = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.post(&format!("{NOTES}/token"), &changed(&usual, changes)).await
    }

    async fn refresh(&self, client: &str, token: &str, changes: &[(&str, &str)]) -> Reply {
        let usual = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)];
        self.post(&format!("{NOTES}/token"), &changed(&usual, changes)).await
    }
}

/// Sign-in at these providers.
fn login(oidc: Vec<OidcLogin>) -> Login {
    let (sessions, second_factor) = (SessionLives::default(), SecondFactor::Optional);
    Login { password: true, local: None, github: None, oidc, sessions, second_factor }
}

fn upstream(name: &str) -> UpstreamConfig {
    UpstreamConfig {
        authority: Authority::parse(&format!("{name}.example")).unwrap(),
        name: Some(format!("The {name} server")),
        alias: Some(name.to_owned()),
        kind: Default::default(),
        path: Some("/mcp".to_owned()),
        auth: UpstreamAuth::None,
        allow_private: None,
        tools: None,
        allowed: None,
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}"))
}

async fn cookie_of(sessions: &Sessions, user: &User) -> String {
    let set_cookie = sessions.begin(&HeaderMap::new(), user, Means::Password, None).await.unwrap();
    set_cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
}

/// The path of an authorization request; `changes` replace or add parameters.
fn authorize(label: &str, client: &str, changes: &[(&str, &str)]) -> String {
    let challenge = Challenge::of(VERIFIER);
    let usual = [
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", CALLBACK),
        ("state", "some state&"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(changed(&usual, changes)).finish();
    format!("/authorize/{label}?{query}")
}

/// Pairs with others in their place; an empty value leaves one out.
fn changed<'a>(usual: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = usual.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    kept.chain(changes.iter().filter(|(_, value)| !value.is_empty())).copied().collect()
}

/// The handle in a page's form.
fn flow_of(page: &Reply) -> String {
    let at = page.body.find("name=\"flow\"").unwrap_or_else(|| panic!("no form: {}", page.body));
    let value = page.body[at..].split("value=\"").nth(1).unwrap();
    value.split('"').next().unwrap().to_owned()
}

fn lifetimes() -> Tokens {
    Tokens {
        access_ttl: Duration::from_secs(24 * 3600),
        refresh_ttl: Duration::from_secs(30 * 24 * 3600),
        rotation_grace: Duration::from_secs(60),
        signing_algorithm: SigningAlgorithm::Es256,
        key_rotation: None,
    }
}

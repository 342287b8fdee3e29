use super::*;
use crate::devkit::browser::{Browser, Callback, Credentials, Page};
use crate::oauth::pkce::Challenge;
use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};

const REDIRECT: &str = "http://127.0.0.1:9/callback";
const RESOURCE: &str = "http://127.0.0.1:7/mcp";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

struct Fixture {
    server: AuthorizationServer,
    browser: Browser,
    clock: Clock,
    client: String,
}

impl Fixture {
    async fn new() -> Self {
        let clock = Clock::standing();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server =
            AuthorizationServer::start(address, clock.clone(), Random::default(), Options::default()).await.unwrap();
        server.tokens().add_resource_origin("http://127.0.0.1:7");
        let browser = Browser::new().unwrap();
        let mut fixture = Self { server, browser, clock, client: String::new() };
        let body = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "client_name": "<Test>"});
        let answer = fixture.post("/register", "application/json", body.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        fixture.client = json(&answer)["client_id"].as_str().unwrap().to_owned();
        fixture
    }

    async fn post(&self, path: &str, kind: &'static str, body: String) -> Page {
        let headers = HeaderMap::from_iter([(axum::http::header::CONTENT_TYPE, kind.parse().unwrap())]);
        let url = format!("{}{path}", self.server.issuer());
        self.browser.request(Method::POST, &url, headers, Some(body)).await.unwrap()
    }

    fn authorization_url(&self, changes: &[(&str, &str)]) -> String {
        let challenge = Challenge::of(VERIFIER);
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", &self.client),
            ("redirect_uri", REDIRECT),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("resource", RESOURCE),
            ("scope", "notes.read"),
            ("state", "st&te"),
        ];
        parameters.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        parameters.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        format!("{}/authorize?{query}", self.server.issuer())
    }

    async fn authorize(&self, changes: &[(&str, &str)]) -> Result<Callback, String> {
        self.browser.authorize(&self.authorization_url(changes), &nobody(), REDIRECT).await
    }

    async fn code(&self) -> String {
        self.authorize(&[]).await.unwrap().code.unwrap()
    }

    async fn token(&self, pairs: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.post("/token", "application/x-www-form-urlencoded", body).await
    }

    async fn exchange(&self, code: &str, verifier: &str, resource: &str) -> Page {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", &self.client),
            ("redirect_uri", REDIRECT),
            ("code_verifier", verifier),
            ("resource", resource),
        ])
        .await
    }

    async fn refresh(&self, token: &str) -> Page {
        let fixed = [("grant_type", "refresh_token"), ("client_id", self.client.as_str()), ("resource", RESOURCE)];
        self.token(&[&fixed[..], &[("refresh_token", token)]].concat()).await
    }
}

fn nobody() -> Credentials {
    Credentials { user: String::new(), password: String::new() }
}

fn json(page: &Page) -> Value {
    serde_json::from_str(&page.body).unwrap_or_else(|_| panic!("{} {}", page.status, page.body))
}

fn error_of(page: &Page) -> String {
    json(page)["error"].as_str().unwrap_or_default().to_owned()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_person_allows_and_the_client_gets_tokens_for_the_resource_alone() {
    let fixture = Fixture::new().await;
    let callback = fixture.authorize(&[]).await.unwrap();
    assert_eq!((callback.state.as_deref(), callback.iss), (Some("st&te"), Some(fixture.server.issuer())));
    let answer = json(&fixture.exchange(&callback.code.unwrap(), VERIFIER, RESOURCE).await);
    assert_eq!((text(&answer, "scope"), answer["expires_in"].as_u64()), ("notes.read".to_owned(), Some(300)));
    let (tokens, access) = (fixture.server.tokens(), text(&answer, "access_token"));
    let server = "http://127.0.0.1:7".to_owned();
    let caller = Caller { user: "demo".to_owned(), scopes: "notes.read".to_owned(), server };
    assert_eq!(tokens.check(&access, "http://127.0.0.1:7"), Some(caller));
    assert_eq!(tokens.check(&access, "http://127.0.0.1:8"), None);
    fixture.clock.advance(Duration::from_secs(301));
    assert_eq!(tokens.check(&access, "http://127.0.0.1:7"), None);
    assert_eq!(fixture.server.counters().code_exchanges, 1);
    assert!(fixture.server.seen().iter().any(|seen| seen.parameter("code_verifier") == Some(VERIFIER)));
}

#[tokio::test]
async fn what_is_wrong_with_an_authorization_request_reaches_the_client() {
    let fixture = Fixture::new().await;
    for (changes, error) in [
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("resource", ""), "invalid_target"),
        (("resource", "http://127.0.0.1:6/mcp"), "invalid_target"),
        (("scope", "notes.burn"), "invalid_scope"),
        (("response_type", "token"), "unsupported_response_type"),
    ] {
        let callback = fixture.authorize(&[changes]).await.unwrap();
        assert_eq!(callback.error.as_deref(), Some(error), "{changes:?}");
        assert_eq!((callback.state.as_deref(), callback.code), (Some("st&te"), None), "{changes:?}");
    }
    for changes in [("client_id", "unknown"), ("redirect_uri", "http://127.0.0.1:9/other")] {
        let stuck = fixture.authorize(&[changes]).await.unwrap_err();
        assert!(stuck.contains("400") && stuck.contains("That did not work"), "{stuck}");
    }
    let refused = fixture.browser.refuse(&fixture.authorization_url(&[]), &nobody(), REDIRECT).await.unwrap();
    assert_eq!(refused.error.as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn a_code_works_once_for_a_minute_with_its_verifier_and_resource() {
    let fixture = Fixture::new().await;
    let code = fixture.code().await;
    assert_eq!(error_of(&fixture.exchange(&code, &VERIFIER.replace('d', "e"), RESOURCE).await), "invalid_grant");
    assert_eq!(error_of(&fixture.exchange(&code, VERIFIER, "").await), "invalid_target");
    let access = text(&json(&fixture.exchange(&code, VERIFIER, RESOURCE).await), "access_token");
    assert_eq!(error_of(&fixture.exchange(&code, VERIFIER, RESOURCE).await), "invalid_grant");
    assert_eq!(fixture.server.tokens().check(&access, "http://127.0.0.1:7"), None, "a replay ends the first exchange");
    let late = fixture.code().await;
    fixture.clock.advance(Duration::from_secs(61));
    assert_eq!(error_of(&fixture.exchange(&late, VERIFIER, RESOURCE).await), "invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_dies_at_once_and_its_reuse_ends_the_family() {
    let fixture = Fixture::new().await;
    let first = json(&fixture.exchange(&fixture.code().await, VERIFIER, RESOURCE).await);
    let second = json(&fixture.refresh(&text(&first, "refresh_token")).await);
    assert_ne!(text(&first, "refresh_token"), text(&second, "refresh_token"));
    assert_eq!(error_of(&fixture.refresh(&text(&first, "refresh_token")).await), "invalid_grant");
    assert_eq!(error_of(&fixture.refresh(&text(&second, "refresh_token")).await), "invalid_grant");
    assert!(fixture.server.tokens().live().is_empty());
    let counters = fixture.server.counters();
    assert_eq!((counters.refreshes, counters.refused_refreshes, counters.replays), (1, 2, 1));
}

#[tokio::test]
async fn a_revoked_refresh_token_takes_its_family_along() {
    let fixture = Fixture::new().await;
    let tokens = json(&fixture.exchange(&fixture.code().await, VERIFIER, RESOURCE).await);
    let pairs = [("token", text(&tokens, "refresh_token")), ("client_id", fixture.client.clone())];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    assert_eq!(fixture.post("/revoke", "application/x-www-form-urlencoded", body).await.status, 200);
    assert!(fixture.server.tokens().live().is_empty());
}

#[tokio::test]
async fn confidential_clients_must_authenticate() {
    let fixture = Fixture::new().await;
    let (id, secret) = fixture.server.register_client(REDIRECT);
    let wrong = fixture.token(&[("grant_type", "refresh_token"), ("client_id", &id), ("client_secret", "no")]).await;
    assert_eq!((wrong.status.as_u16(), error_of(&wrong)), (401, "invalid_client".to_owned()));
    let right = [("grant_type", "refresh_token"), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
    assert_eq!(error_of(&fixture.token(&right).await), "invalid_grant");
}

#[tokio::test]
async fn it_misbehaves_when_it_is_told_to() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    let get = async || {
        let url = format!("{}/.well-known/oauth-authorization-server", server.issuer());
        fixture.browser.request(Method::GET, &url, HeaderMap::new(), None).await.unwrap()
    };
    assert_eq!(text(&json(&get().await), "issuer"), server.issuer());
    server.misbehave(Misbehaviour::WrongIssuer);
    server.misbehave(Misbehaviour::WithoutS256);
    server.misbehave(Misbehaviour::NoRegistration);
    let metadata = json(&get().await);
    assert_ne!(text(&metadata, "issuer"), server.issuer());
    assert!(metadata.get("code_challenge_methods_supported").is_none());
    assert!(metadata.get("registration_endpoint").is_none());
    server.misbehave(Misbehaviour::HugeMetadata);
    assert!(get().await.body.len() > 2 * 1024 * 1024);
    server.misbehave(Misbehaviour::NoMetadata);
    assert_eq!(get().await.status, 404);
    server.misbehave(Misbehaviour::IssMissing);
    assert_eq!(fixture.authorize(&[]).await.unwrap().iss, None);
    server.behave();
    assert_eq!(get().await.status, 200);
    for (how, status) in [(Misbehaviour::TokenServerError, 500), (Misbehaviour::TokenGarbage, 200)] {
        server.misbehave(how);
        let answer = fixture.token(&[]).await;
        assert_eq!(answer.status, status);
        assert!(serde_json::from_str::<Value>(&answer.body).is_err());
        server.behave();
    }
    server.misbehave(Misbehaviour::RefreshRefused);
    let tokens = json(&fixture.exchange(&fixture.code().await, VERIFIER, RESOURCE).await);
    assert_eq!(error_of(&fixture.refresh(&text(&tokens, "refresh_token")).await), "invalid_grant");
    server.behave();
    assert_eq!(fixture.refresh(&text(&tokens, "refresh_token")).await.status, 200, "it was told to say so, no more");
}

#[tokio::test]
async fn a_stalled_token_endpoint_answers_when_the_server_behaves_again() {
    let fixture = Fixture::new().await;
    fixture.server.misbehave(Misbehaviour::TokenStalls);
    let pairs = [("client_id", fixture.client.as_str())];
    let answer = fixture.token(&pairs);
    let behave = async {
        while fixture.server.counters().token_requests == 0 {
            tokio::task::yield_now().await;
        }
        fixture.server.behave();
    };
    let (answer, ()) = tokio::join!(answer, behave);
    assert_eq!(error_of(&answer), "unsupported_grant_type");
}

#[tokio::test]
async fn an_issuer_with_a_path_is_found_in_every_place() {
    let options = Options { issuer_path: "/tenant".to_owned(), ..Options::default() };
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = AuthorizationServer::start(address, Clock::standing(), Random::default(), options).await.unwrap();
    let browser = Browser::new().unwrap();
    for path in [
        "/.well-known/oauth-authorization-server/tenant",
        "/.well-known/openid-configuration/tenant",
        "/tenant/.well-known/openid-configuration",
    ] {
        let url = format!("http://{}{path}", server.address());
        let page = browser.request(Method::GET, &url, HeaderMap::new(), None).await.unwrap();
        assert_eq!(text(&json(&page), "issuer"), server.issuer(), "{path}");
    }
    server.stop().await;
}

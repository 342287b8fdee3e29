//! An MCP client's side of OAuth, as the specification tells it: challenge, metadata, registration, browser, token.

use crate::gateway::{Gateway, PASSWORD, USER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use portcullis::devkit::browser::{Browser, Callback, Credentials, Page};
use portcullis::ids::Random;
use portcullis::oauth::pkce::{self, Challenge};
use portcullis::secret::Secret;
use serde_json::{Value, json};
use url::Url;

/// A client before its first request to one MCP URL.
pub struct Client {
    /// Where requests go.
    pub url: String,
    pub resource: String,
    pub metadata: Value,
    pub client_id: String,
    pub redirect_uri: String,
    pub browser: Browser,
    verifier: Secret,
}

/// What the token endpoint gave.
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    pub answer: Value,
}

impl Client {
    /// Follows the challenge of `url` to the metadata of its authorization server; has no `client_id` yet.
    pub async fn discover(url: &str, redirect_uri: &str) -> Self {
        Self::discover_with(Browser::new().unwrap(), url, redirect_uri).await
    }

    /// The same in a browser of one's own, which may trust another certificate authority.
    pub async fn discover_with(browser: Browser, url: &str, redirect_uri: &str) -> Self {
        let refused = send(&browser, Method::POST, url, &[], Some(INITIALIZE.to_owned())).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{}", refused.body);
        let challenge = refused.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
        let pointer = challenge.split("resource_metadata=\"").nth(1).unwrap().split('"').next().unwrap();
        let resource = get_json(&browser, pointer).await;
        let issuer = resource["authorization_servers"][0].as_str().unwrap();
        let metadata = get_json(&browser, &format!("{issuer}/.well-known/oauth-authorization-server")).await;
        assert_eq!(metadata["issuer"], issuer);
        Self {
            url: url.to_owned(),
            resource: resource["resource"].as_str().unwrap().to_owned(),
            metadata,
            client_id: String::new(),
            redirect_uri: redirect_uri.to_owned(),
            browser,
            verifier: pkce::verifier(&Random::default()),
        }
    }

    /// Registers dynamically (RFC 7591) with these members.
    pub async fn register(mut self, metadata: Value) -> Self {
        let endpoint = self.endpoint("registration_endpoint");
        let headers = [("content-type", "application/json")];
        let page = send(&self.browser, Method::POST, &endpoint, &headers, Some(metadata.to_string())).await;
        assert_eq!(page.status, StatusCode::CREATED, "{}", page.body);
        let registered: Value = serde_json::from_str(&page.body).unwrap();
        self.client_id = registered["client_id"].as_str().unwrap().to_owned();
        self
    }

    /// Reads no metadata and guesses (2025-03-26, the fallback): every endpoint is at its default path of the origin.
    pub fn guessing(url: &str, redirect_uri: &str) -> Self {
        let origin = Url::parse(url).unwrap().origin().ascii_serialization();
        let endpoint = |name: &str| format!("{origin}/{name}");
        Self {
            url: url.to_owned(),
            resource: String::new(),
            metadata: json!({
                "issuer": origin,
                "authorization_endpoint": endpoint("authorize"),
                "token_endpoint": endpoint("token"),
                "registration_endpoint": endpoint("register"),
            }),
            client_id: String::new(),
            redirect_uri: redirect_uri.to_owned(),
            browser: Browser::new().unwrap(),
            verifier: pkce::verifier(&Random::default()),
        }
    }

    /// Names a metadata document instead.
    pub fn with_document(mut self, client_id: &str) -> Self {
        self.client_id = client_id.to_owned();
        self
    }

    /// A client that needs nothing special, ready to be authorized.
    pub async fn ready(url: &str) -> Self {
        let redirect_uri = "http://127.0.0.1:33333/callback";
        let metadata = json!({
            "client_name": "Test client",
            "redirect_uris": [redirect_uri],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        });
        Self::discover(url, redirect_uri).await.register(metadata).await
    }

    pub fn endpoint(&self, name: &str) -> String {
        self.metadata[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned()
    }

    /// The address that the browser is sent to.
    pub fn authorization_url(&self, extra: &[(&str, &str)]) -> String {
        let mut url = Url::parse(&self.endpoint("authorization_endpoint")).unwrap();
        let challenge = Challenge::of(self.verifier.expose());
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256")
            .append_pair("state", "the-state")
            .extend_pairs(self.resource())
            .extend_pairs(extra);
        url.into()
    }

    /// The person signs in, consents here and at the upstream.
    pub async fn authorize(&self) -> Callback {
        let start = self.authorization_url(&[]);
        let callback = self.browser.authorize(&start, &alice(), &self.redirect_uri).await.unwrap();
        assert_eq!(callback.error, None, "{:?}", callback.error_description);
        assert_eq!(callback.state.as_deref(), Some("the-state"));
        assert_eq!(callback.iss.as_deref(), self.metadata["issuer"].as_str());
        callback
    }

    /// The parameters that exchange a code.
    pub fn code_parameters(&self, code: &str) -> Vec<(&'static str, String)> {
        let mut parameters = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", self.redirect_uri.clone()),
            ("client_id", self.client_id.clone()),
            ("code_verifier", self.verifier.expose().to_owned()),
        ];
        parameters.extend(self.resource().map(|(name, resource)| (name, resource.to_owned())));
        parameters
    }

    /// An empty resource is none: clients before 2025-06-18 know of none.
    fn resource(&self) -> Option<(&'static str, &str)> {
        Some(("resource", self.resource.as_str())).filter(|(_, resource)| !resource.is_empty())
    }

    pub async fn token_request(&self, parameters: &[(&'static str, String)]) -> (StatusCode, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let page = send(&self.browser, Method::POST, &self.endpoint("token_endpoint"), &[], Some(body)).await;
        assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
        (page.status, serde_json::from_str(&page.body).unwrap())
    }

    pub async fn exchange(&self, code: &str) -> Tokens {
        let (status, answer) = self.token_request(&self.code_parameters(code)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        tokens(answer)
    }

    pub async fn refresh(&self, token: &str) -> (StatusCode, Value) {
        let parameters = [
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", token.to_owned()),
            ("client_id", self.client_id.clone()),
        ];
        self.token_request(&parameters).await
    }

    /// Everything from nothing to a token.
    pub async fn connect(&self) -> Tokens {
        let callback = self.authorize().await;
        self.exchange(&callback.code.unwrap()).await
    }

    /// Calls a tool; status and body.
    pub async fn call(&self, access_token: &str, tool: &str) -> (StatusCode, String) {
        let body =
            json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": {}}});
        let authorization = format!("Bearer {access_token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2025-06-18"),
        ];
        let session = self.initialize(&headers).await;
        let mut headers = headers.to_vec();
        if let Some(session) = &session {
            headers.push(("mcp-session-id", session));
        }
        let page = send(&self.browser, Method::POST, &self.url, &headers, Some(body.to_string())).await;
        (page.status, page.body)
    }

    async fn initialize(&self, headers: &[(&str, &str)]) -> Option<String> {
        let page = send(&self.browser, Method::POST, &self.url, headers, Some(INITIALIZE.to_owned())).await;
        page.headers.get("mcp-session-id").map(|value| value.to_str().unwrap().to_owned())
    }
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",
    "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

pub fn tokens(answer: Value) -> Tokens {
    Tokens {
        access: answer["access_token"].as_str().unwrap().to_owned(),
        refresh: answer["refresh_token"].as_str().unwrap_or_default().to_owned(),
        answer,
    }
}

pub fn alice() -> Credentials {
    Credentials { user: USER.to_owned(), password: PASSWORD.to_owned() }
}

pub async fn get_json(browser: &Browser, url: &str) -> Value {
    let page = send(browser, Method::GET, url, &[], None).await;
    assert_eq!(page.status, StatusCode::OK, "{url}: {}", page.body);
    serde_json::from_str(&page.body).unwrap()
}

/// One request, no redirects.
pub async fn send(browser: &Browser, method: Method, url: &str, fields: &[(&str, &str)], body: Option<String>) -> Page {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap()))
        .collect();
    browser.request(method, url, headers, body).await.unwrap()
}

/// The MCP URL of an upstream through a gateway.
pub fn mcp_url(gateway: &Gateway, authority: &str) -> String {
    format!("{}/mcp", gateway.url_of(authority))
}

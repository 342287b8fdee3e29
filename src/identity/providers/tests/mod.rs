//! A provider that lies when it is told to, and what is believed of it.

mod answers;
mod rules;
mod tokens;

use super::*;
use crate::config::{Allowed, OidcLogin, SecondFactor, SessionLives};
use crate::error::Culprit;
use crate::hostname::Scheme;
use crate::http::Resolver;
use crate::jose::party::{Party, signing_input};
use crate::oauth::pkce::Challenge;
use crate::secret::Secret;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use url::Url;

const ACCESS_TOKEN: &str = "access";
const KID: &str = "one";

/// What the provider says. Members that are `null` are left out.
struct Script {
    metadata: Value,
    header: Value,
    claims: Value,
    user_info: Option<Value>,
    token: Option<(StatusCode, Value)>,
    signer: Party,
    /// Whether the ID token has no signature at all.
    unsigned: bool,
    challenge: String,
    /// What the token endpoint was asked: form and `Authorization`.
    asked: Vec<(HashMap<String, String>, Option<String>)>,
}

struct Liar {
    issuer: String,
    script: Arc<Mutex<Script>>,
    providers: Providers,
    browser: Digest,
}

/// Where the browser was sent.
struct Left {
    state: String,
    nonce: String,
}

impl Liar {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(edit: impl FnOnce(&mut OidcLogin)) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(Script {
            metadata: json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize?tenant=1"),
                "token_endpoint": format!("{issuer}/token"),
                "userinfo_endpoint": format!("{issuer}/userinfo"),
                "jwks_uri": format!("{issuer}/jwks"),
                "authorization_response_iss_parameter_supported": true,
                "code_challenge_methods_supported": ["S256"],
            }),
            header: json!({"alg": "ES256", "kid": KID}),
            claims: json!({}),
            user_info: None,
            token: None,
            signer: Party::new(),
            unsigned: false,
            challenge: String::new(),
            asked: Vec::new(),
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut settings = OidcLogin {
            name: "company".to_owned(),
            label: "Company".to_owned(),
            issuer: issuer.clone(),
            client_id: "us".to_owned(),
            client_secret: Some(Secret::new("hunter2".to_owned())),
            scopes: "openid email".to_owned(),
            allowed_domains: Some(Allowed::Everybody),
            allowed_groups: None,
            admin_groups: vec!["admins".to_owned()],
            groups_claim: "groups".to_owned(),
            id_jag: false,
            allow_private: true,
        };
        edit(&mut settings);
        let other = OidcLogin { name: "other".to_owned(), ..settings.clone() };
        let login = Login {
            password: true,
            local: None,
            github: None,
            oidc: vec![settings, other],
            sessions: SessionLives::default(),
            second_factor: SecondFactor::Optional,
        };
        Self { providers: Providers::new(tools().await, &login), issuer, script, browser: Digest::of("browser") }
    }

    fn says(&self, edit: impl FnOnce(&mut Script)) -> &Self {
        edit(&mut self.script.lock());
        self
    }

    async fn leave(&self) -> Left {
        let address = self.providers.begin("company", self.browser, Purpose::SignIn, "/back").await.unwrap();
        let url = Url::parse(&address).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(query["redirect_uri"], "https://gw.example/login/company/callback");
        assert_eq!((query["tenant"].as_str(), query["response_type"].as_str()), ("1", "code"));
        assert_eq!((query["client_id"].as_str(), query["scope"].as_str()), ("us", "openid email"));
        assert_eq!(query["code_challenge_method"], "S256");
        let now = self.providers.tools.clock.now().seconds();
        let mut script = self.script.lock();
        script.challenge.clone_from(&query["code_challenge"]);
        let mut claims = json!({
            "iss": self.issuer, "sub": "ada", "aud": "us", "nonce": query["nonce"], "iat": now, "exp": now + 300,
            "email": "ada@corp.com", "email_verified": true, "preferred_username": "ada", "groups": ["staff"],
        });
        merge(&mut claims, &script.claims);
        script.claims = claims;
        Left { state: query["state"].clone(), nonce: query["nonce"].clone() }
    }

    fn returning(&self) -> Returning {
        Returning { visitor: Some(self.browser), session: None }
    }

    fn answer(&self, left: &Left) -> Answer {
        Answer {
            code: Some("code".to_owned()),
            state: Some(left.state.clone()),
            iss: Some(self.issuer.clone()),
            ..Answer::default()
        }
    }

    async fn sign_in(&self) -> Result<Profile, SignInError> {
        let left = self.leave().await;
        let arrived = self.providers.finish("company", self.returning(), &self.answer(&left)).await;
        arrived.map(|arrived| arrived.profile).map_err(|not| not.error)
    }

    /// Why nothing was believed, as the log has it.
    async fn disbelieved(&self) -> String {
        match self.sign_in().await {
            Err(SignInError::Failed(fault)) => fault.private,
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&self) -> String {
        match self.sign_in().await {
            Err(SignInError::Refused { public, .. }) => public,
            other => panic!("{other:?}"),
        }
    }
}

async fn tools() -> Tools {
    let (clock, random) = (Clock::standing(), Random::default());
    let http = HttpClient::new(Resolver::fixed(HashMap::new()), None).unwrap();
    Tools {
        keys: Arc::new(RemoteKeys::new(http.clone(), clock.clone())),
        store: Store::open("sqlite::memory:").await.unwrap(),
        vault: Vault::new(&Vault::generate_key(&random), &[]).unwrap(),
        site: Site::new("gw.example", Scheme::Https, 443),
        http,
        clock,
        random,
    }
}

fn merge(onto: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        onto[name] = value.clone();
    }
    onto.as_object_mut().unwrap().retain(|_, value| !value.is_null());
}

type Shared = State<Arc<Mutex<Script>>>;

async fn metadata(State(script): Shared) -> Json<Value> {
    let mut document = json!({});
    merge(&mut document, &script.lock().metadata);
    Json(document)
}

async fn jwks(State(script): Shared) -> Json<Value> {
    let script = script.lock();
    let mut key = script.signer.jwk();
    key["kid"] = script.header["kid"].clone();
    Json(json!({ "keys": [key] }))
}

async fn token(State(script): Shared, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Response {
    let mut script = script.lock();
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let verifier = form.get("code_verifier").cloned().unwrap_or_default();
    let fits = Challenge::of(&verifier).as_str() == script.challenge;
    script.asked.push((form, authorization));
    if let Some((status, body)) = &script.token {
        return (*status, Json(body.clone())).into_response();
    }
    if !fits {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    }
    let id_token = match script.unsigned {
        true => format!("{}.", signing_input(&script.header, &script.claims)),
        false => script.signer.sign(&script.header, &script.claims),
    };
    Json(json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": id_token})).into_response()
}

async fn user_info(State(script): Shared, headers: HeaderMap) -> Response {
    assert_eq!(headers["authorization"], format!("Bearer {ACCESS_TOKEN}"));
    match &script.lock().user_info {
        Some(claims) => Json(claims.clone()).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

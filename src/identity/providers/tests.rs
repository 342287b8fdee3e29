//! A provider that lies when it is told to, and what is believed of it.

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
    let (clock, random) = (Clock::system(), Random::default());
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

#[tokio::test]
async fn a_good_answer_becomes_a_profile() {
    let liar = Liar::start().await;
    let half = &Digest::of(ACCESS_TOKEN).0[..16];
    liar.says(|script| {
        script.claims = json!({
            "at_hash": BASE64URL_NOPAD.encode(half), "aud": ["us"], "azp": "us", "groups": ["staff", "admins", 7],
        });
    });
    let profile = liar.sign_in().await.unwrap();
    let expected = Profile {
        provider: "company".to_owned(),
        issuer: liar.issuer.clone(),
        subject: "ada".to_owned(),
        name: "ada".to_owned(),
        email: Some("ada@corp.com".to_owned()),
        groups: vec!["staff".to_owned(), "admins".to_owned()],
        administrator: true,
    };
    assert_eq!(profile, expected);
    let script = liar.script.lock();
    let (form, authorization) = &script.asked[0];
    assert_eq!(form["redirect_uri"], "https://gw.example/login/company/callback");
    assert!(authorization.as_ref().unwrap().starts_with("Basic ") && !form.contains_key("client_secret"));
}

#[tokio::test]
async fn an_id_token_must_be_for_us_and_for_this_sign_in() {
    for (changed, why) in [
        (json!({"iss": "https://evil.example"}), "iss is another"),
        (json!({"aud": "them"}), "aud is another"),
        (json!({"aud": ["them"]}), "aud is another"),
        (json!({"aud": null}), "aud is another"),
        (json!({"aud": ["us", "them"]}), "azp is missing"),
        (json!({"aud": ["us", "them"], "azp": "them"}), "azp is another"),
        (json!({"azp": "them"}), "azp is another"),
        (json!({"exp": 1_000_000_000}), "expired"),
        (json!({"exp": null}), "exp is missing"),
        (json!({"exp": "never"}), "exp is missing"),
        (json!({"iat": null}), "iat is missing"),
        (json!({"iat": 40_000_000_000_u64}), "iat is in the future"),
        (json!({"nbf": 40_000_000_000_u64}), "nbf is in the future"),
        (json!({"nonce": "another"}), "nonce is not"),
        (json!({"nonce": null}), "nonce is not"),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "at_hash is not"),
        (json!({"at_hash": 7}), "at_hash is not"),
        (json!({"sub": null}), "sub is missing"),
        (json!({"sub": ""}), "sub is missing"),
        (json!({"sub": "x".repeat(256)}), "sub is missing"),
    ] {
        let liar = Liar::start().await;
        liar.says(|script| script.claims = changed.clone());
        let told = liar.disbelieved().await;
        assert!(told.contains(why), "{changed}: {told}");
    }
}

#[tokio::test]
async fn a_signature_must_be_the_issuer_s() {
    let liar = Liar::start().await;
    liar.sign_in().await.unwrap();
    liar.says(|script| {
        script.header = json!({"alg": "none"});
        script.unsigned = true;
    });
    assert!(liar.disbelieved().await.contains("algorithm"));
    liar.says(|script| script.header = json!({"alg": "HS256", "kid": KID}));
    assert!(liar.disbelieved().await.contains("algorithm"));
    let forger = Party::new();
    let jwk = forger.jwk();
    liar.says(|script| {
        // A key in the header is nobody's word for anything.
        script.header = json!({"alg": "ES256", "kid": KID, "jwk": jwk});
        script.unsigned = false;
    });
    let own = std::mem::replace(&mut liar.script.lock().signer, forger);
    let told = liar.disbelieved().await;
    assert!(told.contains("signature"), "{told}");
    liar.says(|script| {
        script.signer = own;
        script.header = json!({"alg": "ES256", "kid": KID, "typ": "logout+jwt"});
    });
    assert!(liar.disbelieved().await.contains("typ is that of another kind"));
}

#[tokio::test]
async fn a_new_key_is_looked_for_once_it_is_used() {
    let liar = Liar::start().await;
    liar.sign_in().await.unwrap();
    liar.providers.tools.clock.advance(Duration::from_secs(61));
    liar.says(|script| {
        script.signer = Party::new();
        script.header = json!({"alg": "ES256", "kid": "two"});
        script.claims = json!({});
    });
    assert_eq!(liar.sign_in().await.unwrap().subject, "ada");
}

#[tokio::test]
async fn an_answer_is_for_one_browser_once_and_for_ten_minutes() {
    let liar = Liar::start().await;
    let left = liar.leave().await;
    let answer = liar.answer(&left);
    for stranger in [None, Some(Digest::of("another browser"))] {
        let returning = Returning { visitor: stranger, session: Some((UserId([7; 16]), Digest::of("session"))) };
        let told = liar.providers.finish("company", returning, &answer).await.unwrap_err();
        assert!(matches!(told.error, SignInError::Failed(fault) if fault.public.contains("another browser")));
        assert!(told.departure.is_none(), "a stranger learns nothing");
    }
    assert!(liar.script.lock().asked.is_empty(), "the code stays here");
    let arrived = liar.providers.finish("company", liar.returning(), &answer).await.unwrap();
    assert_eq!((arrived.purpose, arrived.return_to.as_str()), (Purpose::SignIn, "/back"));
    let again = liar.providers.finish("company", liar.returning(), &answer).await.unwrap_err();
    assert!(matches!(again.error, SignInError::Failed(fault) if fault.culprit == Culprit::Caller));

    let late = liar.leave().await;
    liar.providers.tools.clock.advance(Duration::from_secs(601));
    let told = liar.providers.finish("company", liar.returning(), &liar.answer(&late)).await.unwrap_err();
    assert!(matches!(told.error, SignInError::Failed(fault) if fault.public.contains("ten minutes")));
    assert_eq!(liar.script.lock().asked.len(), 1);
}

#[tokio::test]
async fn a_link_is_made_by_the_person_who_began_it() {
    let liar = Liar::start().await;
    let (person, session) = (UserId([1; 16]), Digest::of("session"));
    let begin = async || {
        let address = liar.providers.begin("company", session, Purpose::Link(person), "/").await.unwrap();
        let url = Url::parse(&address).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        liar.says(|script| script.challenge.clone_from(&query["code_challenge"]));
        let now = liar.providers.tools.clock.now().seconds();
        let claims = json!({"iss": liar.issuer, "sub": "ada", "aud": "us", "nonce": query["nonce"], "iat": now,
            "exp": now + 300, "email": "a@b.example", "email_verified": true, "groups": [], "preferred_username": "x"});
        liar.says(|script| script.claims = claims);
        Left { state: query["state"].clone(), nonce: query["nonce"].clone() }
    };
    // The visitor's cookie of the same browser is not enough, nor is another person's session.
    let answer = liar.answer(&begin().await);
    for returning in [
        liar.returning(),
        Returning { visitor: None, session: Some((UserId([2; 16]), Digest::of("other"))) },
        Returning { visitor: Some(session), session: None },
    ] {
        assert!(liar.providers.finish("company", returning, &answer).await.is_err());
    }
    let answer = liar.answer(&begin().await);
    let returning = Returning { visitor: None, session: Some((person, session)) };
    let arrived = liar.providers.finish("company", returning, &answer).await.unwrap();
    assert_eq!((arrived.purpose, arrived.profile.subject.as_str()), (Purpose::Link(person), "ada"));
}

#[tokio::test]
async fn answers_are_not_mixed_up() {
    let liar = Liar::start().await;
    let left = liar.leave().await;
    let told = liar.providers.finish("other", liar.returning(), &liar.answer(&left)).await.unwrap_err();
    assert!(matches!(told.error, SignInError::Failed(fault) if fault.public.contains("another provider")));
    for iss in [Some("https://evil.example".to_owned()), None] {
        let left = liar.leave().await;
        let answer = Answer { iss, error: Some("access_denied".to_owned()), ..liar.answer(&left) };
        let told = liar.providers.finish("company", liar.returning(), &answer).await.unwrap_err();
        // Not even its error is believed (security case B 60).
        assert!(
            matches!(told.error, SignInError::Failed(fault) if fault.public.contains("does not come from Company"))
        );
    }
    assert!(liar.script.lock().asked.is_empty(), "no code was given to anybody");
    let quiet = Liar::start().await;
    quiet.says(|script| script.metadata["authorization_response_iss_parameter_supported"] = json!(false));
    let left = quiet.leave().await;
    let answer = Answer { iss: None, ..quiet.answer(&left) };
    assert!(quiet.providers.finish("company", quiet.returning(), &answer).await.is_ok());
    assert_ne!(left.nonce, quiet.leave().await.nonce);
}

#[tokio::test]
async fn metadata_must_be_the_issuer_s_own() {
    for (changed, why) in [
        (json!({"issuer": "https://evil.example"}), "calls itself \"https://evil.example\""),
        (json!({"token_endpoint": "http://evil.example/token"}), "is not an https URL"),
        (json!({"token_endpoint": "https://169.254.169.254/token"}), "169.254.169.254"),
        (json!({"authorization_endpoint": "javascript:alert(1)"}), "is not an https URL"),
        (json!({"jwks_uri": null}), "missing field `jwks_uri`"),
        (json!({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}), "neither by client_secret_basic"),
    ] {
        let liar = Liar::start().await;
        liar.says(|script| merge(&mut script.metadata, &changed));
        let told = liar.providers.begin("company", liar.browser, Purpose::SignIn, "/").await;
        let Err(SignInError::Failed(fault)) = told else { panic!("{changed}: {told:?}") };
        assert!(fault.private.contains(why), "{changed}: {fault}");
        assert_eq!(fault.culprit, Culprit::Upstream);
    }
}

#[tokio::test]
async fn a_public_client_needs_pkce() {
    let liar = Liar::with(|settings| settings.client_secret = None).await;
    liar.sign_in().await.unwrap();
    let (form, authorization) = liar.script.lock().asked.remove(0);
    assert_eq!((form["client_id"].as_str(), authorization), ("us", None));
    let old = Liar::with(|settings| settings.client_secret = None).await;
    old.says(|script| script.metadata["code_challenge_methods_supported"] = json!(["plain"]));
    let told = old.providers.begin("company", old.browser, Purpose::SignIn, "/").await;
    assert!(matches!(told, Err(SignInError::Failed(fault)) if fault.private.contains("PKCE")));
}

#[tokio::test]
async fn errors_of_the_token_endpoint_are_told_apart() {
    let trouble = |status: u16, body: Value| (StatusCode::from_u16(status).unwrap(), body);
    for (answer, culprit, words) in [
        (trouble(400, json!({"error": "invalid_grant"})), Culprit::Caller, "sign in again"),
        (trouble(401, json!({"error": "invalid_client"})), Culprit::Upstream, "client_id or secret"),
        (trouble(503, json!({"error": "invalid_grant"})), Culprit::Upstream, "later"),
        (trouble(429, json!({})), Culprit::Upstream, "later"),
        (trouble(302, json!({})), Culprit::Upstream, "later"),
        (trouble(200, json!([])), Culprit::Upstream, "later"),
        (trouble(200, json!({"access_token": "x"})), Culprit::Upstream, "later"),
    ] {
        let liar = Liar::start().await;
        liar.says(|script| script.token = Some(answer.clone()));
        let Err(SignInError::Failed(fault)) = liar.sign_in().await else { panic!("{answer:?}") };
        assert!(fault.culprit == culprit && fault.public.contains(words), "{answer:?}: {fault:?}");
        assert!(!fault.private.contains("hunter2"));
    }
    let liar = Liar::start().await;
    let left = liar.leave().await;
    let declined = Answer { error: Some("access_denied".to_owned()), ..liar.answer(&left) };
    let told = liar.providers.finish("company", liar.returning(), &declined).await.unwrap_err();
    assert!(matches!(told.error, SignInError::Declined));
    assert_eq!(told.departure, Some((Purpose::SignIn, "/back".to_owned())));
}

#[tokio::test]
async fn userinfo_fills_in_what_the_id_token_has_not() {
    let liar = Liar::with(|settings| settings.allowed_groups = Some(vec!["staff".to_owned()])).await;
    let bare = json!({"email": null, "email_verified": null, "preferred_username": null, "groups": null});
    liar.says(|script| {
        script.claims = bare.clone();
        script.user_info = Some(json!({"sub": "ada", "email": "ada@corp.com", "email_verified": true,
            "preferred_username": "ada", "groups": "staff", "iss": "https://evil.example"}));
    });
    let profile = liar.sign_in().await.unwrap();
    assert_eq!((profile.email.as_deref(), profile.groups), (Some("ada@corp.com"), vec!["staff".to_owned()]));
    for other in [json!({"sub": "eve", "groups": ["staff"]}), json!({"groups": ["staff"]})] {
        liar.says(|script| {
            script.claims = bare.clone();
            script.user_info = Some(other);
        });
        assert!(liar.disbelieved().await.contains("sub is not that of the ID token"));
    }
    // A word of the one does not verify an address of the other.
    liar.says(|script| {
        script.claims = json!({"email": "boss@corp.com", "email_verified": null, "groups": ["staff"]});
        script.user_info = Some(json!({"sub": "ada", "email_verified": true}));
    });
    assert_eq!(liar.sign_in().await.unwrap().email, None);
    liar.says(|script| {
        script.claims = json!({"groups": null});
        script.user_info = None;
    });
    assert!(liar.disbelieved().await.contains("userinfo: 500"));
}

#[tokio::test]
async fn a22_domains_are_those_of_verified_addresses_only() {
    let liar = Liar::with(|settings| {
        settings.allowed_domains = Some(Allowed::These(vec!["corp.com".to_owned()]));
    })
    .await;
    liar.sign_in().await.unwrap();
    for (email, verified) in [
        (json!("ada@evil-corp.com"), json!(true)),
        (json!("ada@corp.com.evil.example"), json!(true)),
        (json!("ada@sub.corp.com"), json!(true)),
        (json!("ada@evil.example@corp.com"), json!(true)),
        (json!("\"ada@evil.example\"@corp.com"), json!(true)),
        (json!("ada@corp.com "), json!(true)),
        (json!(["ada@corp.com"]), json!(true)),
        (json!("ada@corp.com"), json!(false)),
        (json!("ada@corp.com"), json!("yes")),
        (json!("ada@corp.com"), json!(1)),
    ] {
        liar.says(|script| script.claims = json!({"email": email, "email_verified": verified}));
        let told = liar.refused().await;
        assert!(told.contains("may not use this gateway") || told.contains("does not vouch"), "{email}: {told}");
    }
    liar.says(|script| script.claims = json!({"email": "Ada@CORP.com", "email_verified": "true"}));
    assert_eq!(liar.sign_in().await.unwrap().email.as_deref(), Some("Ada@CORP.com"));
}

#[tokio::test]
async fn where_there_are_two_rules_both_must_fit() {
    let liar = Liar::with(|settings| {
        settings.allowed_domains = Some(Allowed::These(vec!["corp.com".to_owned()]));
        settings.allowed_groups = Some(vec!["Staff".to_owned()]);
    })
    .await;
    assert!(liar.refused().await.contains("None of your groups"), "groups are compared exactly");
    liar.says(|script| script.claims = json!({"groups": ["Staff"], "email": "a@b.example"}));
    assert!(liar.refused().await.contains("address at b.example"));
    liar.says(|script| script.claims = json!({"groups": ["Staff", "x"]}));
    liar.sign_in().await.unwrap();
    liar.says(|script| {
        script.claims = json!({"groups": null, "_claim_names": {"groups": "src1"}});
        script.user_info = Some(json!({"sub": "ada"}));
    });
    assert!(liar.refused().await.contains("more groups than Company can list"));
}

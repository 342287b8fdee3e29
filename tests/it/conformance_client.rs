//! The official MCP conformance suite in `client` mode: an SDK client (`tests/clients/conformance.mjs`) reaches the suite's
//! servers through a gateway, so that what the suite sees of OAuth is what the gateway does.

use crate::client::mcp_url;
use crate::gateway::{Gateway, PASSWORD, USER, upstream};
use crate::suite::{Scenario, Suite, node};
use crate::upstreams::anywhere;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use portcullis::config::{Config, OAuthSettings, Rate, Tls, Unknown, UpstreamAuth};
use portcullis::secret::Secret;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use url::Url;

const LIMIT: Duration = Duration::from_secs(300);

/// The suite's servers are at `localhost`, so the gateway must be somewhere else.
const DOMAIN: &str = "gw.localhost";

/// Scenarios in which nobody may get through, and why the client does not.
const REFUSED: [(&str, &str); 7] = [
    ("auth/iss-normalized", "does not come from the authorization server"),
    ("auth/iss-supported-missing", "does not come from the authorization server"),
    ("auth/iss-unexpected", "does not come from the authorization server"),
    ("auth/iss-wrong-issuer", "does not come from the authorization server"),
    ("auth/metadata-issuer-mismatch", "says that it is another one"),
    ("auth/resource-mismatch", "describes itself as another server"),
    ("auth/scope-retry-limit", "HTTP 403"),
];

/// Checks that cannot succeed: scenario, check, what it says instead, and the reason.
const EXCEPTIONS: [(&str, &str, &str, &str); 1] = [(
    "auth/basic-cimd",
    "cimd-client-id-used",
    "WARNING",
    "the suite expects a document at an address of its own; the gateway's is at the gateway",
)];

/// Scenarios of authorization that a person's browser has no part in, so that a gateway has none either.
const NOT_APPLICABLE: [(&str, &str); 6] = [
    (
        "auth/client-credentials-jwt",
        "the client is its own resource owner: there is no person whose connection it could be",
    ),
    (
        "auth/client-credentials-basic",
        "the client is its own resource owner: there is no person whose connection it could be",
    ),
    ("auth/enterprise-managed-authorization", "the client brings an assertion of the company's identity provider"),
    ("auth/dpop", "upstream tokens are bearer tokens; DPoP is an extension that the gateway does not offer upstream"),
    (
        "auth/dpop-nonce",
        "upstream tokens are bearer tokens; DPoP is an extension that the gateway does not offer upstream",
    ),
    ("auth/wif-jwt-bearer", "the client brings an assertion of its workload's identity provider"),
];

#[tokio::test]
async fn authorization_of_2025_11_25_conforms() {
    conforms(&["auth"]).await;
}

#[tokio::test]
async fn authorization_of_2026_07_28_conforms() {
    conforms(&["auth", "--spec-version", "2026-07-28"]).await;
}

#[tokio::test]
async fn what_2026_07_28_adds_conforms() {
    conforms(&["draft"]).await;
}

#[tokio::test]
async fn authorization_of_2025_03_26_conforms() {
    conforms(&["backcompat"]).await;
}

/// A new version of the suite may bring scenarios that nobody here has thought about.
#[tokio::test]
async fn every_scenario_of_authorization_is_accounted_for() {
    let suite = ["node_modules/@modelcontextprotocol/conformance/dist/index.js", "list", "--client"];
    let listed = node().args(suite).output().await.unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let listed = listed.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split(' ').next());
    let listed: BTreeSet<&str> = listed.filter(|name| name.starts_with("auth/")).collect();
    let known = RUN.into_iter().chain(NOT_APPLICABLE.map(|(name, _)| name));
    assert_eq!(listed, known.collect());
}

/// The scenarios of the suites above.
const RUN: [&str; 27] = [
    "auth/2025-03-26-oauth-endpoint-fallback",
    "auth/2025-03-26-oauth-metadata-backcompat",
    "auth/authorization-server-migration",
    "auth/basic-cimd",
    "auth/iss-normalized",
    "auth/iss-not-advertised",
    "auth/iss-supported",
    "auth/iss-supported-missing",
    "auth/iss-unexpected",
    "auth/iss-wrong-issuer",
    "auth/metadata-default",
    "auth/metadata-issuer-mismatch",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/offline-access-not-supported",
    "auth/offline-access-scope",
    "auth/pre-registration",
    "auth/resource-mismatch",
    "auth/scope-from-scopes-supported",
    "auth/scope-from-www-authenticate",
    "auth/scope-omitted-when-undefined",
    "auth/scope-retry-limit",
    "auth/scope-step-up",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-none",
    "auth/token-endpoint-auth-post",
];

/// Runs all scenarios of a suite at once.
async fn conforms(suite: &[&str]) {
    let (mut front, address) = Front::start().await;
    let command = format!("node_modules/node/bin/node ../clients/conformance.mjs {address}");
    let mut arguments = vec!["client", "--timeout", "120000", "--command", &command, "--suite"];
    arguments.extend(suite);
    let mut running = Suite::start(&arguments);
    let ended = tokio::time::timeout(LIMIT, async {
        tokio::select! { _ = running.end() => {}, () = front.serve() => {} }
    });
    let ended = ended.await;
    assert!(ended.is_ok(), "the suite took over {LIMIT:?}: {}", running.told());

    let scenarios = running.results();
    let scenarios: Vec<&Scenario> = scenarios.iter().filter(|scenario| scenario.name.starts_with("auth/")).collect();
    assert!(!scenarios.is_empty(), "{}", running.told());
    let mut problems = Vec::new();
    for scenario in scenarios {
        assert!(RUN.contains(&scenario.name.as_str()), "{} is new", scenario.name);
        problems.extend(unexpected_checks(scenario));
        let outcome = front.outcomes.get(&scenario.name).map_or("the client told nothing", String::as_str);
        let refused = REFUSED.iter().find(|(name, _)| *name == scenario.name);
        if !refused.map_or(outcome == "completed", |(_, why)| outcome.contains(why)) {
            problems.push(format!("{}: {outcome}", scenario.name));
        }
    }
    assert!(problems.is_empty(), "{}\n{}", problems.join("\n"), running.told());
}

/// What a scenario says that it should not say, and what it should have said.
fn unexpected_checks(scenario: &Scenario) -> Vec<String> {
    let mut problems = Vec::new();
    let expected = |id: &str| EXCEPTIONS.iter().find(|(name, check, ..)| *name == scenario.name && *check == id);
    // `INFO` is what a scenario notes down on its way.
    for check in scenario.checks.iter().filter(|check| check["status"] != "INFO") {
        let (id, status) = (check["id"].as_str().unwrap(), check["status"].as_str().unwrap());
        let wanted = expected(id).map_or("SUCCESS", |(_, _, status, _)| *status);
        if status != wanted {
            problems.push(format!("{}: {id} is {status} instead of {wanted}: {check}", scenario.name));
        }
        if id == "cimd-client-id-used" {
            let ours = check["details"]["actualClientId"].as_str().unwrap_or_default();
            assert!(ours.starts_with("https://") && ours.ends_with("/oauth/client-metadata.json"), "{check}");
        }
    }
    if !scenario.checks.iter().any(|check| check["status"] == "SUCCESS") {
        problems.push(format!("{}: nothing was checked", scenario.name));
    }
    problems
}

type Question = (Value, oneshot::Sender<Value>);

/// Gives the clients their gateways, and hears from them how it went.
struct Front {
    questions: mpsc::Receiver<Question>,
    /// The first is everybody's; the others belong to scenarios that need a configuration.
    gateways: Vec<Gateway>,
    /// Key and certificate of the gateway that speaks TLS.
    files: TempDir,
    outcomes: BTreeMap<String, String>,
}

impl Front {
    async fn start() -> (Self, String) {
        let (ask, questions) = mpsc::channel(1);
        let listener = TcpListener::bind(anywhere()).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/", post(pass_on)).with_state(ask);
        tokio::spawn(axum::serve(listener, routes).into_future());
        let gateways = vec![Gateway::with_names(&["localhost"], everything).await];
        (Self { questions, gateways, files: TempDir::new().unwrap(), outcomes: BTreeMap::new() }, address)
    }

    async fn serve(&mut self) {
        while let Some((question, reply)) = self.questions.recv().await {
            let scenario = question["scenario"].as_str().unwrap();
            let answer = match question["outcome"].as_str() {
                Some(outcome) => {
                    self.outcomes.insert(scenario.to_owned(), outcome.to_owned());
                    Value::Null
                }
                None => self.gateway_for(scenario, &question).await,
            };
            reply.send(answer).unwrap();
        }
    }

    async fn gateway_for(&mut self, scenario: &str, question: &Value) -> Value {
        let url = Url::parse(question["url"].as_str().unwrap()).unwrap();
        let (authority, context) = (url.authority(), &question["context"]);
        let mut certificate = None;
        if let (Some(id), Some(secret)) = (context["client_id"].as_str(), context["client_secret"].as_str()) {
            self.gateways.push(registered_by_hand(authority, id, secret).await);
        } else if scenario == "auth/basic-cimd" {
            // The document has to be where an authorization server could read it.
            let (cert, key) = self.certificate();
            certificate = Some(std::fs::read_to_string(&cert).unwrap());
            let gateway = Gateway::with_names(&["localhost"], move |config| {
                everything(config);
                config.tls = Tls::Files { cert: cert.clone(), key: key.clone() };
            });
            self.gateways.push(gateway.await);
        }
        let own = certificate.is_some() || context["client_id"].is_string();
        let gateway = if own { self.gateways.last() } else { self.gateways.first() };
        let mcp = mcp_url(gateway.unwrap(), authority);
        json!({"mcp": mcp, "certificate": certificate, "person": {"user": USER, "password": PASSWORD}})
    }

    fn certificate(&self) -> (PathBuf, PathBuf) {
        let pair = rcgen::generate_simple_self_signed([DOMAIN.to_owned(), format!("*.{DOMAIN}")]).unwrap();
        let (cert, key) = (self.files.path().join("cert.pem"), self.files.path().join("key.pem"));
        std::fs::write(&cert, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        (cert, key)
    }
}

async fn pass_on(State(ask): State<mpsc::Sender<Question>>, Json(question): Json<Value>) -> Json<Value> {
    let (reply, answer) = oneshot::channel();
    ask.send((question, reply)).await.unwrap();
    Json(answer.await.unwrap())
}

async fn registered_by_hand(authority: &str, id: &str, secret: &str) -> Gateway {
    let (authority, id, secret) = (authority.to_owned(), id.to_owned(), secret.to_owned());
    let gateway = Gateway::with_names(&["localhost"], move |config| {
        everything(config);
        let settings = OAuthSettings {
            client_id: Some(id.clone()),
            client_secret: Some(Secret::new(secret.clone())),
            ..OAuthSettings::default()
        };
        config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::new(settings))));
    });
    gateway.await
}

/// All scenarios run at once, and all clients are one person at one address.
fn everything(config: &mut Config) {
    config.server.domain = DOMAIN.to_owned();
    config.upstreams.unknown = Unknown::Allow;
    let limits = &mut config.limits;
    for rate in [&mut limits.login, &mut limits.registration, &mut limits.token_endpoint, &mut limits.per_ip] {
        *rate = Rate { count: 10_000, period: Duration::from_secs(1), burst: 10_000 };
    }
}

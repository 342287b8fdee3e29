//! The official MCP conformance suite in `client` mode: an SDK client (`tests/clients/conformance.mjs`) reaches the suite's
//! servers through a gateway, so that what the suite sees of OAuth is what the gateway does.

use crate::client::mcp_url;
use crate::gateway::{Gateway, PASSWORD, USER, upstream};
use crate::suite::Suite;
use crate::upstreams::anywhere;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use portcullis::config::{Config, OAuthSettings, Rate, Unknown, UpstreamAuth};
use portcullis::secret::Secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use url::Url;

const LIMIT: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explore() {
    for suite in ["auth", "backcompat", "draft"] {
        let (suite, outcomes) = run(suite).await;
        for scenario in suite.results() {
            println!("== {} {:?}", scenario.name, outcomes.get(&scenario.name));
            for check in &scenario.checks {
                if !["SUCCESS", "INFO"].contains(&check["status"].as_str().unwrap()) {
                    println!("   {} {} {} {}", check["status"], check["id"], check["description"], check["details"]);
                }
            }
        }
    }
}

async fn run(suite: &str) -> (Suite, BTreeMap<String, String>) {
    let (mut front, address) = Front::start().await;
    let command = format!("node_modules/node/bin/node ../clients/conformance.mjs {address}");
    let mut running = Suite::start(&["client", "--suite", suite, "--timeout", "120000", "--command", &command]);
    let ended = tokio::time::timeout(LIMIT, async {
        tokio::select! { _ = running.end() => {}, never = front.serve() => never }
    });
    let ended = ended.await;
    assert!(ended.is_ok(), "the suite took over {LIMIT:?}: {}", running.told());
    (running, front.outcomes)
}

type Question = (Value, oneshot::Sender<Value>);

/// Gives the clients their gateways, and hears from them how it went.
struct Front {
    questions: mpsc::Receiver<Question>,
    /// The first is everybody's; the others belong to scenarios that need a configuration.
    gateways: Vec<Gateway>,
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
        (Self { questions, gateways, outcomes: BTreeMap::new() }, address)
    }

    async fn serve(&mut self) {
        while let Some((question, reply)) = self.questions.recv().await {
            let scenario = question["scenario"].as_str().unwrap();
            let answer = match question["outcome"].as_str() {
                Some(outcome) => {
                    self.outcomes.insert(scenario.to_owned(), outcome.to_owned());
                    Value::Null
                }
                None => self.gateway_for(&question).await,
            };
            reply.send(answer).unwrap();
        }
    }

    async fn gateway_for(&mut self, question: &Value) -> Value {
        let url = Url::parse(question["url"].as_str().unwrap()).unwrap();
        let (authority, context) = (url.authority(), &question["context"]);
        let mcp = match (context["client_id"].as_str(), context["client_secret"].as_str()) {
            (Some(id), Some(secret)) => {
                let gateway = registered_by_hand(authority, id, secret).await;
                let mcp = mcp_url(&gateway, authority);
                self.gateways.push(gateway);
                mcp
            }
            _ => mcp_url(&self.gateways[0], authority),
        };
        json!({"mcp": mcp, "person": {"user": USER, "password": PASSWORD}})
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
    // The suite's servers are at localhost, which would be the gateway's own name otherwise.
    config.server.domain = "gw.localhost".to_owned();
    config.upstreams.unknown = Unknown::Allow;
    let limits = &mut config.limits;
    let rates = [&mut limits.login, &mut limits.registration, &mut limits.token_endpoint, &mut limits.per_ip];
    for rate in rates.into_iter().chain([&mut limits.per_user, &mut limits.per_user_upstream]) {
        *rate = Rate { count: 10_000, period: Duration::from_secs(1), burst: 10_000 };
    }
}

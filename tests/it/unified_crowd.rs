//! Many at the unified endpoint: a thousand clients that all count from one, and fifty upstreams of which one says nothing.

use crate::gateway::{Gateway, PASSWORD, USER, configured, without_rates};
use crate::speaker::{Pool, Speaker, pool};
use crate::upstreams::anywhere;
use futures_util::future::join_all;
use portcullis::clock::Clock;
use portcullis::devkit::authorization_server::{AuthorizationServer, Options};
use portcullis::devkit::browser::{Arrived, Browser, Credentials};
use portcullis::devkit::mcp::{McpServer, Protection};
use portcullis::ids::Random;
use portcullis::mcp::era::Era;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const CLIENTS: usize = 1000;
/// Requests under way at once. All are in this process, which must not keep its own gateway from its database.
const AT_ONCE: usize = 32;
const PEOPLE: [&str; 3] = [USER, "bob", "carol"];
/// Streamable HTTP in the modern era, HTTP+SSE and WebSocket in the legacy one, a program.
const MEMBERS: [(&str, &str); 4] = [("http", "/mcp"), ("sse", "/sse"), ("socket", "/ws"), ("program", "")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a35_no_answer_reaches_another_client_another_person_or_from_another_member() {
    let world = World::start().await;
    let (pool, gate) = (pool(), Arc::new(Semaphore::new(AT_ONCE)));
    let tokens = join_all(PEOPLE.map(|name| world.gateway.root_token_of(name))).await;
    let url = format!("{}/mcp", world.gateway.root());
    let clients = (0..CLIENTS).map(|number| {
        let (token, url, pool, gate) = (tokens[number % PEOPLE.len()].clone(), url.clone(), pool.clone(), gate.clone());
        tokio::spawn(one_client(number, url, token, pool, gate))
    });
    let mut processes: [BTreeSet<String>; PEOPLE.len()] = Default::default();
    for (number, heard) in join_all(clients).await.into_iter().enumerate() {
        let (person, heard) = (number % PEOPLE.len(), heard.unwrap());
        for (position, (member, _)) in MEMBERS.iter().enumerate() {
            let said = &heard[position];
            assert_eq!(said["text"], canary(number, member), "client {number}: {said}");
            match world.servers.get(position) {
                Some(server) => {
                    assert_eq!(said["server"], server.url(""), "client {number}: {said}");
                    assert_eq!(said["user"], upstream_user(PEOPLE[person]), "client {number}: {said}");
                }
                None => drop(processes[person].insert(said["server"].as_str().unwrap().to_owned())),
            }
        }
    }
    let all: BTreeSet<&String> = processes.iter().flatten().collect();
    assert!(processes.iter().all(|own| own.len() == 1) && all.len() == PEOPLE.len(), "{processes:?}");
}

/// Asks every member with the same ids as everybody else, all at once; what each said to it.
async fn one_client(number: usize, url: String, token: String, pool: Pool, gate: Arc<Semaphore>) -> Vec<Value> {
    let era = if (number / PEOPLE.len()).is_multiple_of(2) { Era::Legacy } else { Era::Modern };
    let permit = gate.acquire().await.unwrap();
    let speaker = Speaker::new(&pool, &url, &token, era).await;
    drop(permit);
    let calls = MEMBERS.iter().enumerate().map(|(position, (member, _))| {
        let (speaker, gate, text) = (&speaker, &gate, canary(number, member));
        async move {
            let _permit = gate.acquire().await.unwrap();
            let params = json!({"name": format!("{member}_echo"), "arguments": {"text": text}});
            let id = u64::try_from(position).unwrap() + 1;
            let heard = speaker.ask_with(id, "tools/call", params, &[("mcp-param-text", &text)]).await;
            heard.result(member)["structuredContent"].take()
        }
    });
    join_all(calls).await
}

fn canary(number: usize, member: &str) -> String {
    format!("client {number} to {member}")
}

/// Whom the upstream's consent page is told.
fn upstream_user(name: &str) -> String {
    format!("{name} of the upstream")
}

/// Three people who have connected three protected servers and have a program besides.
struct World {
    gateway: Gateway,
    servers: Vec<McpServer>,
    _authorization: AuthorizationServer,
}

impl World {
    async fn start() -> Self {
        let (clock, random) = (Clock::system(), Random::default());
        let authorization = AuthorizationServer::start(anywhere(), clock, random.clone(), Options::default());
        let authorization = authorization.await.unwrap();
        let (mut servers, mut text) = (Vec::new(), String::new());
        for (alias, path) in MEMBERS {
            let _ = if path.is_empty() {
                let program = env!("CARGO_BIN_EXE_portcullis");
                write!(text, "[[upstream]]\nalias = \"{alias}\"\ncommand = [\"{program}\", \"demo-stdio\"]\n")
            } else {
                let protection = Protection::Bearer(authorization.tokens());
                let server = McpServer::start(anywhere(), random.clone(), protection).await.unwrap();
                let address = server.address();
                servers.push(server);
                let transport = if alias == "socket" { "websocket" } else { alias };
                write!(
                    text,
                    "[[upstream]]\nalias = \"{alias}\"\ndomain = \"{address}\"\npath = \"{path}\"\ntransport = \"{transport}\"\n"
                )
            };
        }
        let gateway = Gateway::with(move |config| {
            without_rates(config);
            config.upstream = configured(&text).upstream;
        });
        let world = Self { gateway: gateway.await, servers, _authorization: authorization };
        for name in PEOPLE {
            if name != USER {
                world.gateway.add(name).await;
            }
            world.connect(name).await;
        }
        world
    }

    /// Somebody signs in and connects every server.
    async fn connect(&self, name: &str) {
        let browser = Browser::new().unwrap();
        let who = Credentials { user: name.to_owned(), password: PASSWORD.to_owned() };
        let user = upstream_user(name);
        for server in &self.servers {
            let start = format!("{}/oauth/start?server={}", self.gateway.root(), server.address());
            let mut arrived = browser.open(&start, "").await.unwrap();
            loop {
                let Arrived::Page(page) = arrived else { panic!("nothing was to stop it") };
                arrived = if page.form_with("password").is_some() {
                    browser.fill_login(&page, &who, "").await.unwrap()
                } else if let Some(form) = page.form_with("user") {
                    browser.submit(&page, &form, &[("user", &user), ("decision", "approve")], "").await.unwrap()
                } else if page.form_with("decision").is_some() {
                    browser.approve(&page, "").await.unwrap()
                } else {
                    assert!(page.status.is_success(), "{name}: {}", page.text());
                    break;
                };
            }
        }
    }
}

/// How many upstreams there are that answer.
const WELL: usize = 50;
const DEADLINE: Duration = Duration::from_secs(5);
/// What everything else may take on a machine with much to do.
const SLACK: Duration = Duration::from_secs(10);

#[tokio::test]
async fn fifty_upstreams_are_listed_in_time_while_one_hangs() {
    let silent = TcpListener::bind(anywhere()).await.unwrap();
    let starting = (0..WELL).map(|_| McpServer::start(anywhere(), Random::default(), Protection::Open));
    let servers: Vec<McpServer> = join_all(starting).await.into_iter().map(Result::unwrap).collect();
    let mut text = String::new();
    let addresses = servers.iter().map(McpServer::address).chain([silent.local_addr().unwrap()]);
    for (number, address) in addresses.enumerate() {
        let upstream = format!("alias = \"u{number}\"\ndomain = \"{address}\"\npath = \"/mcp\"\nauth = \"none\"\n");
        text += &format!("[[upstream]]\n{upstream}");
    }
    let gateway = Gateway::with(move |config| {
        without_rates(config);
        config.upstream = configured(&text).upstream;
        config.unified.list_timeout = DEADLINE;
    });
    let gateway = gateway.await;
    let (token, pool) = (gateway.root_token_of(USER).await, pool());
    for era in [Era::Legacy, Era::Modern] {
        let speaker = Speaker::new(&pool, &format!("{}/mcp", gateway.root()), &token, era).await;
        let asked = Instant::now();
        let tools: BTreeSet<String> = speaker.tools().await.into_iter().collect();
        assert!(asked.elapsed() < DEADLINE + SLACK, "{era:?}: {:?}", asked.elapsed());
        for number in 0..WELL {
            assert!(tools.contains(&format!("u{number}_whoami")), "{era:?}: u{number}: {tools:?}");
        }
        let params = json!({"name": "u7_echo", "arguments": {"text": "still here"}});
        let said =
            speaker.ask_with(7, "tools/call", params, &[("mcp-param-text", "still here")]).await.result("u7_echo");
        assert_eq!(said["content"][0]["text"], "still here", "{said}");
    }
}

//! Three nodes on one database behind a load balancer that sends each request to another one: whatever begins at one goes on
//! at the next, and what ends at one ends at all.

use crate::balancer::Balancer;
use crate::cable::{Cable, Network};
use crate::client::{Client, alice, mcp_url, send};
use crate::gateway::{Gateway, USER, label, upstream, without_rates};
use crate::postgres::Cluster;
use crate::raw::{Caller, PATIENCE, SOON, field, get, post, status};
use crate::revocation::Session;
use crate::upstreams::Notes;
use http::{Method, StatusCode};
use portcullis::config::{Config, UpstreamAuth};
use portcullis::hostname::Scheme;
use portcullis::ids::{Random, UserId};
use portcullis::secret::Secret;
use portcullis::store::{Decision, Upstream};
use portcullis::tokens::Rotation;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;

/// How long a node trusts what it knows without hearing from the database.
const TRUST: Duration = Duration::from_secs(1);
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",
    "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

/// Three gateways, a balancer in front of them, and an upstream.
struct Nodes {
    all: Vec<Gateway>,
    balancer: Balancer,
    notes: Notes,
}

impl Nodes {
    async fn start() -> Self {
        Self::on(&Cluster::shared().empty().await, |_| {}).await
    }

    /// On this database, the third as `edit` says.
    async fn on(url: &str, edit: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let (balancer, notes) = (Balancer::start().await, Notes::start().await);
        let (port, authority, url) = (balancer.port(), notes.authority(), url.to_owned());
        let first = Gateway::with(move |config| {
            config.store.url = Secret::new(url.clone());
            without_rates(config);
            config.limits.token_endpoint = config.limits.per_ip;
            config.server.public = Some((Scheme::Http, port));
            config.upstream.push(upstream(&authority, UpstreamAuth::OAuth(Box::default())));
        })
        .await;
        let (second, third) = (first.another(|_| {}).await, first.another(edit).await);
        let all = vec![first, second, third];
        all.iter().for_each(|node| balancer.add(node.port()));
        Self { all, balancer, notes }
    }

    fn url(&self) -> String {
        mcp_url(&self.all[0], &self.notes.authority())
    }

    fn host(&self) -> String {
        self.all[0].host_of(&self.notes.authority())
    }

    /// The status of a request with this token at each node.
    async fn statuses(&self, token: &str) -> Vec<u16> {
        let mut statuses = Vec::new();
        for node in &self.all {
            let request = post(&self.host(), token, INITIALIZE);
            statuses.push(Caller::connect(node.port()).await.send(request).await.status().await);
        }
        statuses
    }

    /// Waits until no node lets this token in, which takes a second after `began` at most.
    async fn refuse(&self, token: &str, began: Instant) {
        while self.statuses(token).await != [401, 401, 401] {
            assert!(began.elapsed() < SOON);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_sign_in_takes_place_with_every_request_at_another_node() {
    let nodes = Nodes::start().await;
    let client = Client::ready(&nodes.url()).await;
    let tokens = client.connect().await;
    let (status, body) = client.call(&tokens.access, "whoami").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, renewed) = client.refresh(&tokens.refresh).await;
    assert_eq!(status, StatusCode::OK, "{renewed}");
    let access = renewed["access_token"].as_str().unwrap();
    assert_eq!(nodes.statuses(access).await, [200, 200, 200]);
    let counts = nodes.balancer.counts();
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
    assert_eq!(nodes.notes.authorization.counters().code_exchanges, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_gets_its_tokens_though_every_question_reaches_another_node() {
    const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
    let nodes = Nodes::start().await;
    let metadata = json!({"client_name": "Television", "token_endpoint_auth_method": "none",
        "grant_types": [DEVICE_CODE, "refresh_token"]});
    let client = Client::discover(&nodes.url(), "").await.register(metadata).await;
    let asked = format!("client_id={}", client.client_id);
    let endpoint = client.endpoint("device_authorization_endpoint");
    let page = send(&client.browser, Method::POST, &endpoint, &[], Some(asked)).await;
    let codes: Value = serde_json::from_str(&page.body).unwrap();
    let complete = codes["verification_uri_complete"].as_str().unwrap();
    let question = [
        ("grant_type", DEVICE_CODE.to_owned()),
        ("device_code", codes["device_code"].as_str().unwrap().to_owned()),
        ("client_id", client.client_id.clone()),
    ];
    let (_, early) = client.token_request(&question).await;
    assert_eq!(early["error"], "authorization_pending");
    // The pace is the database's: another node knows that it was asked just now.
    let (_, hasty) = client.token_request(&question).await;
    assert_eq!(hasty["error"], "slow_down");
    client.browser.let_device_in(complete, &alice()).await.unwrap();
    nodes.all[0].clock.advance(Duration::from_secs(11));
    let (status, tokens) = client.token_request(&question).await;
    assert_eq!(status, StatusCode::OK, "{tokens}");
    assert_eq!(nodes.statuses(tokens["access_token"].as_str().unwrap()).await, [200, 200, 200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a45_a_refresh_token_that_is_used_everywhere_at_once_has_one_successor() {
    let nodes = Nodes::start().await;
    let client = Client::ready(&nodes.url()).await;
    let first = client.connect().await.refresh;
    let race = futures_util::future::join_all((0..12).map(|_| client.refresh(&first))).await;
    let successors: HashSet<_> = race
        .iter()
        .map(|(status, answer)| {
            assert_eq!(*status, StatusCode::OK, "{answer}");
            answer["refresh_token"].as_str().unwrap()
        })
        .collect();
    assert_eq!(successors.len(), 1, "one family, one successor");
    let (status, second) = client.refresh(successors.iter().next().unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{second}");
    // The first one is used again when the grace is over and its successor was used: somebody has stolen it.
    nodes.all[0].clock.advance(Duration::from_secs(61));
    assert_eq!(client.refresh(&first).await.1["error"], "invalid_grant");
    assert_eq!(client.refresh(second["refresh_token"].as_str().unwrap()).await.1["error"], "invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_requests_at_each_node_refresh_an_expired_connection_once() {
    const EACH: usize = 500;
    let nodes = Nodes::start().await;
    let token = Client::ready(&nodes.url()).await.connect().await.access;
    assert_eq!(nodes.statuses(&token).await, [200, 200, 200]);
    assert_eq!(nodes.notes.authorization.counters().refreshes, 0);
    nodes.notes.clock.advance(Duration::from_secs(301));
    nodes.all[0].clock.advance(Duration::from_secs(301));

    let (start, request) = (Arc::new(Barrier::new(3 * EACH)), post(&nodes.host(), &token, INITIALIZE));
    let mut callers = Vec::new();
    for node in &nodes.all {
        for _ in 0..EACH {
            let (port, start, request) = (node.port(), start.clone(), request.clone());
            callers.push(tokio::spawn(async move {
                let mut caller = Caller::connect(port).await;
                start.wait().await;
                let sent = Instant::now();
                let (head, body) = caller.send(&request).await.response_within(12 * PATIENCE).await;
                (sent.elapsed(), head, body)
            }));
        }
    }
    let mut answers: Vec<_> = futures_util::future::join_all(callers).await.into_iter().map(Result::unwrap).collect();
    answers.sort();
    let (median, slowest) = (answers[answers.len() / 2].0, answers[answers.len() - 1].0);
    let counters = nodes.notes.authorization.counters();
    println!("{} requests: median {median:?}, slowest {slowest:?}, {} refreshes", answers.len(), counters.refreshes);
    assert_eq!((counters.refreshes, counters.replays), (1, 0));
    for (took, head, body) in answers {
        assert_eq!(status(&head), 200, "after {took:?}: {head}{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_at_one_node_ends_at_all_within_a_second() {
    let nodes = Nodes::start().await;
    let mut elsewhere = Session::open(&nodes.all[1], &nodes.notes, USER).await;
    let mut further = Session::open(&nodes.all[2], &nodes.notes, USER).await;
    let store = &nodes.all[0].app().store;
    let alice = store.user_by_name(USER).await.unwrap().unwrap().id;
    let grants = store.grants_of(alice).await.unwrap();
    let of = |session: &Session| grants.iter().find(|grant| grant.client_id == session.client.client_id).unwrap().id;
    let began = Instant::now();
    nodes.all[0].app().revocations.grant(of(&elsewhere)).await.unwrap();
    elsewhere.streams_end(began).await;
    nodes.refuse(&elsewhere.tokens.access, began).await;
    further.goes_on(&nodes.notes).await;

    let connection = store.connections_of(alice).await.unwrap()[0].id;
    let began = Instant::now();
    nodes.all[0].app().revocations.connection(connection).await.unwrap();
    further.streams_end(began).await;
    nodes.refuse(&further.tokens.access, began).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_hears_of_every_end_soon() {
    const TIMES: usize = 100;
    let nodes = Nodes::start().await;
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let (token, grant) = nodes.all[0].token_for(&nodes.notes.authority()).await;
        let lives: Vec<_> =
            nodes.all.iter().map(|node| node.app().tokens.verify(&token).unwrap().life.clone()).collect();
        nodes.all[0].app().revocations.grant(grant).await.unwrap();
        let began = Instant::now();
        futures_util::future::join_all(lives.iter().map(|life| life.ended())).await;
        took.push(began.elapsed());
    }
    took.sort();
    println!("{TIMES} revocations at all nodes: median {:?}, p99 {:?}", took[TIMES / 2], took[TIMES * 99 / 100 - 1]);
    // Nobody has to wait until a node reads the journal by itself; a machine that stands still now and then may.
    assert!(took[TIMES / 2] < TRUST, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_upstreams_are_the_same_everywhere() {
    let nodes = Nodes::start().await;
    let before = nodes.all[2].token_for(&nodes.notes.authority()).await.0;
    let app = nodes.all[0].app();
    let (random, config) = (Random::default(), &app.config().tokens);
    let rotation = Rotation { store: &app.store, vault: &app.vault, random: &random, now: app.clock.now(), config };
    rotation.replace_all().await.unwrap();
    let began = Instant::now();
    let kids = |node: &Gateway| node.app().tokens.jwks()["keys"].to_string();
    let mine = loop {
        let all: HashSet<_> = nodes.all.iter().map(kids).collect();
        if all.len() == 1 && nodes.all[2].app().tokens.verify(&before).is_err() {
            break all;
        }
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(mine.len(), 1);
    let after = nodes.all[2].token_for(&nodes.notes.authority()).await.0;
    assert!(nodes.all.iter().all(|node| node.app().tokens.verify(&after).is_ok()));

    let denied = Upstream {
        authority: "127.0.0.1:1".to_owned(),
        decision: Decision::Denied,
        alias: None,
        name: None,
        decided_by: None::<UserId>,
        decided_at: nodes.all[0].clock.now(),
    };
    nodes.all[0].app().revocations.decide(&denied).await.unwrap();
    let began = Instant::now();
    let knows = |node: &Gateway| node.app().registry.find(&label("127.0.0.1:1")).is_none();
    while !nodes.all.iter().all(knows) {
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A stream of the transport of 2024 has its node, and what its client posts comes to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_at_one_node_answers_what_is_posted_at_another() {
    let nodes = Nodes::start().await;
    let token = Client::ready(&nodes.url()).await.connect().await.access;
    let mut events = Caller::connect(nodes.all[0].port()).await;
    events.send(get(&nodes.host(), &token, "/sse")).await;
    let begun = events.until("\n\n").await;
    let path = begun.split("data: ").nth(1).unwrap().split_whitespace().next().unwrap();
    let path = path.strip_prefix(&format!("http://{}", nodes.host())).unwrap_or(path);
    let request = post(&nodes.host(), &token, LIST).replacen("/mcp", path, 1);
    let (head, _) = Caller::connect(nodes.all[1].port()).await.send(request).await.response().await;
    assert_eq!(status(&head), 202, "{head}");
    events.until("\"tools\"").await;
}

/// The address of a database by way of a cable that can be cut.
async fn by_cable(url: &str) -> (Cable, String) {
    let url = url::Url::parse(url).unwrap();
    let directory = url.query_pairs().find(|(key, _)| key == "host").unwrap().1.into_owned();
    let cable = Cable::to(PathBuf::from(directory).join(".s.PGSQL.5432")).await;
    let by_cable = format!("postgres://postgres@127.0.0.1:{}{}?sslmode=disable", cable.port(), url.path());
    (cable, by_cable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a11_a_node_that_is_cut_off_lets_nobody_in_whom_another_has_put_out() {
    for network in [Network::Cut, Network::Silent] {
        let url = Cluster::shared().empty().await;
        let (cable, by_cable) = by_cable(&url).await;
        let nodes = Nodes::on(&url, move |config| config.store.url = Secret::new(by_cable.clone())).await;
        let [_, _, remote] = &nodes.all[..] else { panic!() };
        let mut put_out = Session::open(remote, &nodes.notes, USER).await;
        let stays = Session::open(remote, &nodes.notes, USER).await;
        let store = &nodes.all[0].app().store;
        let alice = store.user_by_name(USER).await.unwrap().unwrap().id;
        let grants = store.grants_of(alice).await.unwrap();
        let grant = grants.iter().find(|grant| grant.client_id == put_out.client.client_id).unwrap().id;
        let ask = async |token: &str| {
            let request = post(&nodes.host(), token, INITIALIZE);
            let asked = Instant::now();
            let (head, _) = Caller::connect(remote.port()).await.send(request).await.response().await;
            (asked, head)
        };

        cable.set(network);
        nodes.all[0].app().revocations.grant(grant).await.unwrap();
        let began = Instant::now();
        let mut seen = HashSet::new();
        while began.elapsed() < Duration::from_secs(4) {
            let (asked, head) = ask(&put_out.tokens.access).await;
            seen.insert(status(&head));
            assert!(status(&head) != 200 || asked < began + 2 * TRUST, "{network:?}: let in {:?} later", asked - began);
        }
        assert!(seen.is_subset(&HashSet::from([200, 503])), "nobody is told that a token is bad: {seen:?}");
        let (_, head) = ask(&stays.tokens.access).await;
        assert_eq!((status(&head), field(&head, "retry-after").as_deref()), (503, Some("1")), "{head}");
        assert!(!remote.app().tokens.freshness().is_current());

        // It catches up by itself, and nobody else has lost anything.
        cable.set(Network::Whole);
        let mended = Instant::now();
        while status(&ask(&stays.tokens.access).await.1) != 200 {
            assert!(mended.elapsed() < PATIENCE, "{network:?}");
        }
        println!("{network:?}: current again {:?} after the network was mended", mended.elapsed());
        assert_eq!(status(&ask(&put_out.tokens.access).await.1), 401);
        put_out.streams_end(Instant::now()).await;
        let mut stays = stays;
        stays.goes_on(&nodes.notes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_database_loses_nobody_and_cuts_no_stream() {
    let url = Cluster::shared().empty().await;
    let (cable, by_cable) = by_cable(&url).await;
    // All nodes by the same way, which ends for all of them at once, as with a server that is killed.
    let nodes = Nodes::on(&by_cable, |_| {}).await;
    let mut sessions = Vec::new();
    for node in &nodes.all {
        sessions.push(Session::open(node, &nodes.notes, USER).await);
    }
    cable.set(Network::Cut);
    let down = Instant::now();
    while nodes.all.iter().any(|node| node.app().tokens.freshness().is_current()) {
        assert!(down.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, answer) = sessions[0].client.refresh(&sessions[0].tokens.refresh).await;
    assert!(status.is_server_error(), "{answer}");
    cable.set(Network::Whole);
    for session in &mut sessions {
        let back = Instant::now();
        while nodes.statuses(&session.tokens.access).await != [200, 200, 200] {
            assert!(back.elapsed() < PATIENCE);
        }
        session.goes_on(&nodes.notes).await;
        let (status, answer) = session.client.refresh(&session.tokens.refresh).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

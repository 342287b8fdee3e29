//! Many people at two upstreams, over two nodes: each has an authorization with tokens at the one and a key given by hand at the
//! other, and all of them come interleaved over the same connections, of HTTP/1.1 and of HTTP/2. What an upstream is shown, and
//! what a person gets back, is that person's, whatever is refreshed, revoked and restarted meanwhile.

mod callers;
mod seeding;
mod upstreams;

use crate::gateway::Gateway;
use crate::raw::PATIENCE;
use crate::tls_peers::Authority;
use callers::{Caller, Http2, Plan, Report, Transport};
use parking_lot::RwLock;
use portcullis::ids::{ConnectionId, GrantId};
use seeding::seed;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinHandle;
use upstreams::{Upstreams, WITH_TOKENS};

const DOMAIN: &str = "gw.test";
/// Connections of each node, of either kind.
const CONNECTIONS: usize = 4;
/// Requests under way on one connection of HTTP/2.
const STREAMS: usize = 16;
/// Of so many people, one loses something while all are at it.
const UNLUCKY: usize = 20;

/// Two nodes, two upstreams, and everybody.
struct Crowd {
    nodes: Vec<Gateway>,
    ports: Vec<u16>,
    upstreams: Arc<Upstreams>,
    trusted: Arc<Authority>,
    people: Vec<Person>,
}

/// Somebody with an access token for either hostname.
struct Person {
    number: usize,
    tokens: [String; 2],
    grants: [GrantId; 2],
    connections: [ConnectionId; 2],
    /// What was taken away of each: nothing is promised while it is, and nothing works afterwards.
    standing: [RwLock<Standing>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    Whole,
    Going,
    Gone,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_a_crowd_of_two_hundred_people_is_kept_apart() {
    Crowd::gather(200).await.mingle(2).await;
}

/// `make isolation`: as many as `PEOPLE` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
#[allow(clippy::disallowed_methods)] // how many is said by whoever runs it
async fn c_ten_thousand_people_are_kept_apart() {
    let people = std::env::var("PORTCULLIS_CROWD").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    Crowd::gather(people).await.mingle(3).await;
}

impl Crowd {
    #[allow(clippy::print_stdout)] // figures
    async fn gather(people: usize) -> Self {
        let (upstreams, trusted) = (Upstreams::start().await, Arc::new(Authority::new("test")));
        let tls = trusted.files(&[DOMAIN, &format!("*.{DOMAIN}")]);
        let addresses = upstreams.addresses.clone();
        let first = Gateway::with(move |config| seeding::configure(config, &tls, &addresses)).await;
        let second = first.another(|_| {}).await;
        let began = Instant::now();
        let people = seed(&first, &upstreams, people).await;
        println!("{} people seeded in {:?}", people.len(), began.elapsed());
        let nodes = vec![first, second];
        let ports = nodes.iter().map(Gateway::port).collect();
        Self { nodes, ports, upstreams, trusted, people }
    }

    /// Everybody calls both upstreams `rounds` times, in an order that mixes all, while something happens; and once more afterwards.
    #[allow(clippy::print_stdout)] // figures
    async fn mingle(mut self, rounds: usize) {
        let people = Arc::new(std::mem::take(&mut self.people));
        let plan = Arc::new(Plan::new(people.clone(), rounds));
        let began = Instant::now();
        let callers = self.callers(&plan);
        self.disturb(&plan).await;
        let report = gathered(callers).await;
        println!("{} people x 2 upstreams x {rounds} in {:?}: {report:?}", people.len(), began.elapsed());
        assert_eq!(report.requests, people.len() * 2 * rounds);
        assert!(report.reconnected > 0, "no node went away meanwhile");

        let plan = Arc::new(Plan::new(people.clone(), 1));
        plan.allow(1, 1);
        let afterwards = gathered(self.callers(&plan)).await;
        let (refreshes, crossed) = (self.upstreams.refreshes(), self.upstreams.crossed());
        println!("afterwards: {afterwards:?}; {refreshes} refreshes upstream; crossed: {crossed}");
        let gone = people.len().div_ceil(UNLUCKY);
        assert_eq!((afterwards.refused, afterwards.unsettled), (gone, 0));
        assert_eq!(afterwards.answered, people.len() * 2 - gone);
        assert!(refreshes >= people.len(), "everybody's tokens expired");
        assert_eq!(crossed, 0, "an upstream was shown somebody else's credential");
        for node in self.nodes {
            node.stop().await;
        }
    }

    /// All connections of both kinds, half of them with either node, and those who share them.
    fn callers(&self, plan: &Arc<Plan>) -> Vec<JoinHandle<Report>> {
        let mut callers = Vec::new();
        for number in 0..2 * CONNECTIONS {
            let caller = Caller {
                plan: plan.clone(),
                upstreams: self.upstreams.clone(),
                trusted: self.trusted.clone(),
                ports: self.ports.clone(),
                first: number % 2,
            };
            let streams = (0..STREAMS).map(|_| caller.clone()).collect();
            callers.push(tokio::spawn(Http2::call(streams)));
            callers.push(tokio::spawn(async move { caller.call(Transport::Http1(Box::default())).await }));
        }
        callers
    }

    /// What happens while all are at it: tokens upstream expire, people lose grants, authorizations and keys at either node, and
    /// a node goes away and comes back.
    async fn disturb(&mut self, plan: &Plan) {
        plan.allow(2, 5);
        plan.reached(1, 5).await;
        self.nodes[0].clock.advance(2 * upstreams::LIFE);
        plan.reached(2, 5).await;
        plan.allow(3, 5);
        for (number, person) in plan.people.iter().enumerate().filter(|(number, _)| number % UNLUCKY == 0) {
            let revocations = &self.nodes[number / UNLUCKY % 2].app().revocations;
            let which = number / UNLUCKY / 2 % 2;
            *person.standing[which].write() = Standing::Going;
            if (number / UNLUCKY).is_multiple_of(3) {
                assert!(revocations.grant(person.grants[which]).await.unwrap());
            } else {
                assert!(revocations.connection(person.connections[which]).await.unwrap());
            }
        }
        self.have_caught_up().await;
        let all = plan.people.iter().flat_map(|person| &person.standing).map(|standing| standing.write());
        all.filter(|standing| **standing == Standing::Going).for_each(|mut standing| *standing = Standing::Gone);
        plan.allow(4, 5);
        plan.reached(3, 5).await;
        let mut second = self.nodes.pop().unwrap();
        let port = second.halt().await;
        plan.allow(1, 1);
        plan.reached(4, 5).await;
        self.nodes.push(second.resume(port, |_| {}).await);
        self.nodes[0].clock.advance(2 * upstreams::LIFE);
    }

    /// Both nodes have taken over what was written until now. Of what is read together nobody knows what comes first, but the
    /// next reading begins when all of it is done: so it takes two.
    async fn have_caught_up(&self) {
        for _ in 0..2 {
            let (_, grant) = self.nodes[0].token_for(&self.upstreams.addresses[WITH_TOKENS]).await;
            let lives: Vec<_> = self.nodes.iter().map(|node| node.app().lives.of(grant)).collect();
            self.nodes[0].app().revocations.grant(grant).await.unwrap();
            for life in &lives {
                tokio::time::timeout(PATIENCE, life.ended()).await.expect("the journal was not read");
            }
        }
    }
}

async fn gathered(callers: Vec<JoinHandle<Report>>) -> Report {
    let mut all = Report::default();
    for caller in callers {
        all.add(&caller.await.unwrap());
    }
    all
}

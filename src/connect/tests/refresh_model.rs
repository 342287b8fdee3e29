//! Two nodes against a model: whatever order of requests, pauses at any step, deaths, leases that run out and clocks that
//! differ they go through, the connection lives, and the server is not asked more often than there was reason to.

use super::node::{Installation, Node};
use super::rotator::{Replay, Rotator};
use super::*;
use crate::checkpoints::Step;
use crate::store::REFRESH_LEASE;
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

const ORDERS: u32 = 48;
const SKEW: Duration = Duration::from_secs(3600);
/// Of an access token; longer than the skew.
const LIFE: Duration = Duration::from_secs(7200);

#[derive(Clone, Debug)]
enum Event {
    /// Somebody asks a node, which stops when it comes to a step.
    Ask { node: usize, stop: Option<Step> },
    /// A node that stopped goes on.
    Resume { node: usize },
    /// A node dies, with all that it has in memory, and begins anew.
    Kill { node: usize },
    /// So much time passes that leases end.
    LeasesEnd,
    /// So much time passes that access tokens expire.
    TokensExpire,
}

fn event() -> impl Strategy<Value = Event> {
    let steps =
        vec![Step::Began, Step::Intended, Step::Answered, Step::Written, Step::Spooled, Step::Swapped, Step::Deleted];
    let stop = prop_oneof![2 => Just(None), 3 => prop::sample::select(steps).prop_map(Some)];
    prop_oneof![
        6 => (0..2_usize, stop).prop_map(|(node, stop)| Event::Ask { node, stop }),
        3 => (0..2_usize).prop_map(|node| Event::Resume { node }),
        2 => (0..2_usize).prop_map(|node| Event::Kill { node }),
        3 => Just(Event::LeasesEnd),
        3 => Just(Event::TokensExpire),
    ]
}

/// What stops a node.
struct Brake {
    stop: Mutex<Option<Step>>,
    stopped: watch::Sender<bool>,
    /// Somebody else has the lease.
    waits: Notify,
    dead: watch::Sender<bool>,
}

impl Brake {
    fn on(node: &Node) -> Arc<Self> {
        let brake = Arc::new(Self {
            stop: Mutex::default(),
            stopped: watch::Sender::new(false),
            waits: Notify::new(),
            dead: watch::Sender::new(false),
        });
        let here = brake.clone();
        node.at_each_step(Box::new(move |step| {
            let brake = here.clone();
            Box::pin(async move { brake.at(step).await })
        }));
        brake
    }

    async fn at(&self, step: Step) {
        if *self.dead.borrow() {
            std::future::pending::<()>().await;
        }
        if step == Step::Waiting {
            self.waits.notify_one();
        }
        if self.stop.lock().take_if(|stop| *stop == step).is_some() {
            self.stopped.send_replace(true);
            let mut stopped = self.stopped.subscribe();
            let _ = stopped.wait_for(|stopped| !stopped).await;
            if *self.dead.borrow() {
                std::future::pending::<()>().await;
            }
        }
    }
}

struct Member {
    node: Node,
    brake: Arc<Brake>,
    asked: Vec<JoinHandle<Result<Arc<Credential>, NoCredential>>>,
    spool: tempfile::TempDir,
}

struct Cluster {
    rotator: Arc<Rotator>,
    installation: Installation,
    store: Store,
    members: [Member; 2],
    asked: usize,
    killed: usize,
}

impl Cluster {
    async fn new() -> Self {
        let rotator = Rotator::start(Replay::Forgiven).await;
        let installation = Installation::new("sqlite::memory:".to_owned(), &rotator.authority);
        let store = Store::open(&installation.url).await.unwrap();
        let ahead = Clock::standing();
        ahead.advance(SKEW);
        let members = [
            Self::member(&installation, &store, Clock::standing(), tempfile::tempdir().unwrap()).await,
            Self::member(&installation, &store, ahead, tempfile::tempdir().unwrap()).await,
        ];
        members[0].node.connect(0).await;
        Self { rotator, installation, store, members, asked: 0, killed: 0 }
    }

    async fn member(installation: &Installation, store: &Store, clock: Clock, spool: tempfile::TempDir) -> Member {
        let node = installation.node(store, clock, Some(spool.path())).await;
        let brake = Brake::on(&node);
        Member { node, brake, asked: Vec::new(), spool }
    }

    async fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Ask { node, stop } => {
                self.asked += 1;
                let member = &mut self.members[node];
                if !*member.brake.stopped.borrow() {
                    *member.brake.stop.lock() = stop;
                }
                let (connections, key) = (member.node.connections.clone(), member.node.key.clone());
                let mut task = tokio::spawn(async move { connections.credential(&key).await });
                let mut stopped = member.brake.stopped.subscribe();
                tokio::select! {
                    outcome = &mut task => return self.alive(&outcome.unwrap()),
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                    () = member.brake.waits.notified() => {}
                }
                member.asked.push(task);
            }
            Event::Resume { node } => self.members[node].resume(),
            Event::Kill { node } => {
                self.killed += 1;
                let member = &mut self.members[node];
                member.brake.dead.send_replace(true);
                member.asked.drain(..).for_each(|task| task.abort());
                let spool = std::mem::replace(&mut member.spool, tempfile::tempdir().unwrap());
                let clock = member.node.clock.clone();
                self.members[node] = Self::member(&self.installation, &self.store, clock, spool).await;
            }
            Event::LeasesEnd => self.pass(REFRESH_LEASE),
            Event::TokensExpire => self.pass(LIFE),
        }
        Ok(())
    }

    fn pass(&self, time: Duration) {
        self.store.clock().advance(time);
        self.members.iter().for_each(|member| member.node.clock.advance(time));
    }

    fn alive(&self, outcome: &Result<Arc<Credential>, NoCredential>) -> Result<(), TestCaseError> {
        prop_assert!(!needs_consent(outcome), "lost");
        Ok(())
    }

    /// Everybody who stopped goes on, and then everything is as if nothing had happened.
    async fn end(&mut self) -> Result<(), TestCaseError> {
        self.pass(REFRESH_LEASE);
        let mut outcomes = Vec::new();
        for member in &mut self.members {
            *member.brake.stop.lock() = None;
            member.resume();
            for task in member.asked.drain(..) {
                outcomes.push(task.await.unwrap());
            }
            member.node.connections.settle().await;
        }
        outcomes.iter().try_for_each(|outcome| self.alive(outcome))?;
        self.pass(LIFE);
        self.pass(SKEW);
        for member in &self.members {
            let credential = member.node.credential().await;
            self.alive(&credential)?;
            let token = credential.unwrap().access_token().unwrap().to_owned();
            prop_assert_eq!(token, format!("at-{}", self.rotator.newest()));
            member.node.connections.settle().await;
        }
        prop_assert_eq!(self.members[0].node.stored().await.0, format!("rt-{}", self.rotator.newest()));
        prop_assert_eq!(self.rotator.refusals(), 0);
        let reasons = self.asked + self.killed + 2;
        prop_assert!(self.rotator.calls() <= reasons, "{} calls for {} reasons", self.rotator.calls(), reasons);
        Ok(())
    }
}

impl Member {
    fn resume(&mut self) {
        self.brake.stopped.send_replace(false);
    }
}

#[test]
fn two_nodes_in_any_order_lose_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: ORDERS, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(event(), 1..14), |events| {
        runtime.block_on(async {
            let mut cluster = Cluster::new().await;
            for event in &events {
                cluster.happen(event).await?;
            }
            cluster.end().await
        })
    });
    outcome.unwrap();
}

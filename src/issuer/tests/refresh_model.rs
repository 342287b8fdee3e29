//! Refresh tokens against a model: whatever order of use, repetition, lost answers, races, theft, time, revocation and
//! restarts a family goes through, the endpoint answers as decision 2 says.

use super::*;
use crate::clock::Timestamp;
use crate::ids::Digest;
use crate::store::RefreshToken;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

/// How many random orders; each is a family of its own.
const ORDERS: u32 = 1000;
const GRACE: Duration = Duration::from_secs(60);
const IDLE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Clone, Debug)]
enum Event {
    /// The client, or a thief, presents one of the tokens that somebody has; the answer may be lost.
    Use { which: prop::sample::Index, answer: Answer },
    /// The same token is presented by this many at once.
    Race { which: prop::sample::Index, callers: usize },
    /// Time passes.
    Wait(Duration),
    /// The client ends the grant with one of its tokens.
    Revoke { which: prop::sample::Index },
    /// What has expired is removed.
    Sweep,
    /// The process ends, and another one begins on the same database.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Arrives,
    IsLost,
}

fn event() -> impl Strategy<Value = Event> {
    // No sum of waits comes near the grace or the idle life: the clock also runs by itself, a little.
    let waits = [0, 25, 90, 3600, 12 * 86_400, 31 * 86_400].map(Duration::from_secs);
    let which = || proptest::arbitrary::any::<prop::sample::Index>();
    prop_oneof![
        10 => (which(), prop::sample::select(vec![Answer::Arrives, Answer::Arrives, Answer::IsLost]))
            .prop_map(|(which, answer)| Event::Use { which, answer }),
        2 => (which(), 2..5_usize).prop_map(|(which, callers)| Event::Race { which, callers }),
        // Mostly short ones: a family that has idled out has no more to show.
        6 => prop::sample::select([&waits[..4], &waits[..4], &waits].concat()).prop_map(Event::Wait),
        1 => which().prop_map(|which| Event::Revoke { which }),
        1 => Just(Event::Sweep),
        1 => Just(Event::Restart),
    ]
}

/// A generation of the family, as the model knows it.
struct Generation {
    token: String,
    issued_at: Timestamp,
    /// When it was exchanged for its successor, the next generation.
    rotated_at: Option<Timestamp>,
    /// Whether anybody has it: the answer that carried it arrived.
    known: bool,
}

/// What decision 2 expects of a presented token.
#[derive(Debug, PartialEq)]
enum Expected {
    /// A token that nobody has seen.
    New,
    /// The next generation once more.
    Again,
    Refused,
    /// Refused, and the family ends.
    Fatal,
}

struct Family {
    generations: Vec<Generation>,
    alive: bool,
    access_tokens: Vec<String>,
}

impl Family {
    fn expected(&self, index: usize, now: Timestamp) -> Expected {
        let presented = &self.generations[index];
        if !self.alive || now.since(presented.issued_at) >= IDLE_LIFE {
            return Expected::Refused;
        }
        let Some(rotated_at) = presented.rotated_at else { return Expected::New };
        let successor_was_used = self.generations[index + 1].rotated_at.is_some();
        if now.since(rotated_at) > GRACE && successor_was_used { Expected::Fatal } else { Expected::Again }
    }

    fn pick(&self, which: &prop::sample::Index) -> usize {
        let known: Vec<_> = (0..self.generations.len()).filter(|index| self.generations[*index].known).collect();
        *which.get(&known)
    }

    /// Compares one answer with what is expected, and takes it over.
    fn learn(&mut self, index: usize, now: Timestamp, reply: &Reply, answer: Answer) -> Result<(), TestCaseError> {
        let expected = self.expected(index, now);
        if matches!(expected, Expected::Refused | Expected::Fatal) {
            prop_assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{:?}: {}", expected, reply.body);
            prop_assert_eq!(reply.error(), "invalid_grant");
            self.alive &= expected != Expected::Fatal;
            return Ok(());
        }
        prop_assert_eq!(reply.status, StatusCode::OK, "{:?}: {}", expected, reply.body);
        let tokens = reply.json();
        let token = tokens["refresh_token"].as_str().unwrap().to_owned();
        let is_old = self.generations.iter().position(|generation| generation.token == token);
        if expected == Expected::New {
            prop_assert_eq!(is_old, None);
            self.generations[index].rotated_at = Some(now);
            self.generations.push(Generation { token, issued_at: now, rotated_at: None, known: false });
        } else {
            prop_assert_eq!(is_old, Some(index + 1), "not the same successor");
        }
        if answer == Answer::Arrives {
            self.generations[index + 1].known = true;
            self.access_tokens.push(tokens["access_token"].as_str().unwrap().to_owned());
        }
        Ok(())
    }
}

#[test]
fn b28_b29_b30_a_thousand_random_orders() {
    let mut play = Play::new();
    let config = Config { cases: ORDERS, failure_persistence: None, ..Config::default() };
    let play = std::cell::RefCell::new(&mut play);
    let outcome =
        TestRunner::new(config).run(&prop::collection::vec(event(), 1..16), |events| play.borrow_mut().order(&events));
    outcome.unwrap();
}

#[test]
fn a_family_that_is_first_used_after_days_and_a_sweep_is_alive() {
    let which = any::<prop::sample::Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let late = Event::Use { which, answer: Answer::Arrives };
    Play::new().order(&[Event::Wait(Duration::from_secs(12 * 86_400)), Event::Sweep, late]).unwrap();
}

/// One database on which orders are played, one after the other.
struct Play {
    runtime: tokio::runtime::Runtime,
    world: Option<World>,
    client: String,
}

impl Play {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (world, client) = runtime.block_on(async {
            let world = World::new().await;
            let client = world.client(NOTES).await;
            (world, client)
        });
        Self { runtime, world: Some(world), client }
    }

    /// A new family goes through `events`.
    fn order(&mut self, events: &[Event]) -> Result<(), TestCaseError> {
        let Self { runtime, world, client } = self;
        runtime.block_on(async {
            let mut here = world.take().unwrap();
            let mut family = begin(&here, client).await;
            let mut result = Ok(());
            for event in events {
                (here, result) = happen(here, client, &mut family, event).await;
                if result.is_err() {
                    break;
                }
            }
            let result = result.and_then(|()| at_the_end(&here, &family));
            *world = Some(here);
            result
        })
    }
}

/// A grant with its first refresh token, as if a code had been exchanged.
async fn begin(world: &World, client: &str) -> Family {
    let issuer = &world.issuer;
    let (now, token) = (issuer.clock.now(), issuer.random.token().to_string());
    let grant = world.grant(client);
    issuer.store.insert_grant(&grant, None).await.unwrap();
    // Otherwise it is swept as a client that never got a token.
    issuer.store.touch_client("notes", client, now).await.unwrap();
    let row = RefreshToken {
        token: Digest::of(&token),
        grant: grant.id,
        issued_at: now,
        expires_at: now.after(IDLE_LIFE),
        successor: None,
        first_used_at: None,
        dpop_jkt: None,
    };
    issuer.store.insert_refresh_token(&row).await.unwrap();
    let first = Generation { token, issued_at: now, rotated_at: None, known: true };
    Family { generations: vec![first], alive: true, access_tokens: Vec::new() }
}

async fn happen(world: World, client: &str, family: &mut Family, event: &Event) -> (World, Result<(), TestCaseError>) {
    let issuer = &world.issuer;
    let now = issuer.clock.now();
    match event {
        Event::Use { which, answer } => {
            let index = family.pick(which);
            let reply = world.refresh(client, &family.generations[index].token, &[]).await;
            let learnt = family.learn(index, now, &reply, *answer);
            return (world, learnt);
        }
        Event::Race { which, callers } => {
            let index = family.pick(which);
            let token = family.generations[index].token.clone();
            let attempts = (0..*callers).map(|_| world.refresh(client, &token, &[]));
            let replies = futures_util::future::join_all(attempts).await;
            let learnt = replies.iter().try_for_each(|reply| family.learn(index, now, reply, Answer::Arrives));
            return (world, learnt);
        }
        Event::Wait(duration) => issuer.clock.advance(*duration),
        Event::Revoke { which } => {
            let token = &family.generations[family.pick(which)].token;
            let gone = issuer.store.refresh_token(&Digest::of(token)).await.unwrap().is_none();
            let form = [("client_id", client), ("token", token)];
            let reply = world.post(&format!("{NOTES}/revoke"), &form).await;
            // One that has been swept away cannot end anything any more.
            family.alive &= gone;
            let answered = if reply.status == StatusCode::OK { Ok(()) } else { Err(TestCaseError::fail(reply.body)) };
            return (world, answered);
        }
        Event::Sweep => {
            issuer.store.sweep(now, issuer.lifetimes.access_ttl, issuer.registration.unused_ttl).await.unwrap()
        }
        Event::Restart => return (restarted(world).await, Ok(())),
    }
    (world, Ok(()))
}

/// No access token of a family that ended is good any more, and every unexpired one of a living family is.
fn at_the_end(world: &World, family: &Family) -> Result<(), TestCaseError> {
    for token in &family.access_tokens {
        let verified = world.issuer.tokens.verify(token);
        prop_assert!(family.alive || verified.is_err(), "a token outlived its family");
    }
    Ok(())
}

/// Another process on the same database.
async fn restarted(world: World) -> World {
    let World { issuer, alice, cookie } = world;
    let issuer = Arc::try_unwrap(issuer).unwrap_or_else(|_| panic!("a request is still under way"));
    let (store, clock) = (issuer.store.clone(), issuer.clock.clone());
    let (vault, random) = (issuer.vault.clone(), issuer.random.clone());
    let keys = SigningKeys::load(store.clone(), vault, clock.clone(), random.clone(), &issuer.lifetimes).await.unwrap();
    let lives = Arc::<GrantLives>::default();
    let tokens = AccessTokens::new(Arc::new(keys), lives.clone(), clock.clone(), random);
    tokens.recall_revocations(&store).await.unwrap();
    let memory = Memory { lives, connections: issuer.connections.clone(), registry: issuer.registry.clone() };
    let revocations = Arc::new(Revocations::new(store, clock, memory));
    World { issuer: Arc::new(Issuer { tokens: Arc::new(tokens), revocations, ..issuer }), alice, cookie }
}

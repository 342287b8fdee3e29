//! Keys come and go: what a token is worth meanwhile.

use super::*;
use crate::tokens::tests::{TTL, World, lifetimes, part, tokens_of, world};
use crate::tokens::{AccessTokens, Unverified};
use proptest::prelude::*;
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

/// Another configuration for one rotation.
async fn publish(world: &World, algorithm: jose::SigningAlgorithm) -> Result<store::SigningKey, Fault> {
    let config = config::Tokens { signing_algorithm: algorithm, ..lifetimes(TTL) };
    rotation(world, &config).publish().await
}

fn rotation<'a>(world: &'a World, config: &'a config::Tokens) -> Rotation<'a> {
    let random = &world.tokens.random;
    Rotation { store: &world.store, vault: &world.vault, random, now: world.clock.now(), config }
}

async fn states_of(world: &World) -> Vec<KeyState> {
    states(&world.store.signing_keys().await.unwrap(), world.clock.now())
}

fn kids(tokens: &AccessTokens) -> Vec<String> {
    let jwks = tokens.jwks();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_key_is_published_then_signs_then_verifies_and_is_gone() {
    let world = world().await;
    let old = kids(&world.tokens);
    let new = publish(&world, jose::SigningAlgorithm::EdDsa).await.unwrap();
    world.tokens.reload_keys().await.unwrap();
    assert_eq!(kids(&world.tokens), [old[0].as_str(), &new.kid]);
    assert_eq!(states_of(&world).await, [KeyState::Signing, KeyState::Published]);
    assert_eq!(world.tokens.algorithms(), ["ES256", "EdDSA"]);
    assert!(publish(&world, jose::SigningAlgorithm::Es256).await.is_err(), "one waits already");

    world.clock.advance(PUBLISH_AHEAD - Duration::from_secs(5));
    let last = world.mint_at(&world.tokens, TTL);
    assert_eq!(part(&last, 0)["alg"], json!("ES256"));
    world.clock.advance(Duration::from_secs(6));
    let first = world.mint_at(&world.tokens, TTL);
    assert_eq!((&part(&first, 0)["alg"], &part(&first, 0)["kid"]), (&json!("EdDSA"), &json!(new.kid)));
    assert_eq!(kids(&world.tokens), [new.kid.as_str(), &old[0]]);
    let until = new.active_from.after(TTL);
    assert_eq!(states_of(&world).await, [KeyState::Verifying { until }, KeyState::Signing]);

    world.clock.advance(TTL - Duration::from_secs(10));
    assert!(world.tokens.verify(&last).is_ok() && world.tokens.verify(&first).is_ok());
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.tokens.verify(&last).err(), Some(Unverified::Invalid));
    assert_eq!(kids(&world.tokens), [new.kid.as_str()], "it is in the set no longer than it can be of use");
    assert_eq!(states_of(&world).await, [KeyState::Spent, KeyState::Signing]);
    let config = config::Tokens { key_rotation: None, ..lifetimes(TTL) };
    assert_eq!(world.tokens.keys.maintain(&config).await.unwrap(), None);
    assert_eq!(states_of(&world).await.len(), 2, "kept for processes whose clocks are behind");
    world.clock.advance(HOUR);
    world.tokens.keys.maintain(&config).await.unwrap();
    assert_eq!(states_of(&world).await, [KeyState::Signing]);
    world.tokens.reload_keys().await.unwrap();
    assert_eq!(world.tokens.algorithms(), ["EdDSA"]);
}

#[tokio::test]
async fn the_published_key_verifies_with_any_library_and_its_id_is_its_thumbprint() {
    for algorithm in [jose::SigningAlgorithm::Es256, jose::SigningAlgorithm::EdDsa] {
        let world = world().await;
        let config = config::Tokens { signing_algorithm: algorithm, ..lifetimes(TTL) };
        rotation(&world, &config).replace_all().await.unwrap();
        world.tokens.reload_keys().await.unwrap();
        let set = jose::KeySet::parse(&world.tokens.jwks()).unwrap();
        let token = world.mint_at(&world.tokens, TTL);
        assert_eq!(set.verify::<Value>(&token).unwrap().typ.as_deref(), Some("at+jwt"));
        let jwk = &world.tokens.jwks()["keys"][0];
        assert_eq!(jose::PublicKey::parse(jwk).unwrap().thumbprint(), jwk["kid"]);
        assert_eq!((&jwk["alg"], &jwk["use"], jwk.get("d")), (&json!(algorithm.as_str()), &json!("sig"), None));
    }
}

#[tokio::test]
async fn a_leaked_key_is_worth_nothing_at_once_and_the_grants_live_on() {
    let world = world().await;
    let (seen, unseen) = (world.mint_at(&world.tokens, TTL), world.mint_at(&world.tokens, TTL));
    let life = world.tokens.verify(&seen).unwrap().life.clone();
    publish(&world, jose::SigningAlgorithm::Es256).await.unwrap();
    let new = rotation(&world, &lifetimes(TTL)).replace_all().await.unwrap();
    world.tokens.reload_keys().await.unwrap();
    assert!(world.tokens.verify(&seen).is_err() && world.tokens.verify(&unseen).is_err());
    assert!(life.has_ended(), "what is open with it ends");
    assert_eq!(kids(&world.tokens), [new.kid], "the one that waited is gone, too");
    let token = world.mint_at(&world.tokens, TTL);
    let life = world.tokens.verify(&token).unwrap().life.clone();
    // Ordinary changes end nothing.
    world.clock.advance(HOUR);
    publish(&world, jose::SigningAlgorithm::Es256).await.unwrap();
    world.tokens.reload_keys().await.unwrap();
    assert!(world.tokens.verify(&token).is_ok() && !life.has_ended());
}

#[tokio::test]
async fn of_several_processes_one_rotates_when_it_is_time() {
    let world = world().await;
    let other = tokens_of(&world.store, &world.vault, &world.clock, TTL).await;
    let config = lifetimes(TTL);
    world.clock.advance(9 * 24 * HOUR - Duration::from_secs(60));
    assert_eq!(world.tokens.keys.maintain(&config).await.unwrap(), None, "too early");
    world.clock.advance(Duration::from_secs(60));
    let never = config::Tokens { key_rotation: None, ..config };
    assert_eq!(world.tokens.keys.maintain(&never).await.unwrap(), None, "off");
    let (one, two) = tokio::join!(world.tokens.keys.maintain(&config), other.keys.maintain(&config));
    assert_eq!([one.unwrap(), two.unwrap()].iter().flatten().count(), 1);
    assert_eq!(other.keys.maintain(&config).await.unwrap(), None, "one waits");
    assert_eq!(states_of(&world).await, [KeyState::Signing, KeyState::Published]);
}

#[tokio::test]
async fn another_access_ttl_shortens_no_promise_and_forgets_no_revocation() {
    let world = world().await;
    let (token, other) = (world.mint_at(&world.tokens, TTL), world.mint_at(&world.tokens, TTL));
    let grant = world.tokens.verify(&token).unwrap().grant();
    let again = tokens_of(&world.store, &world.vault, &world.clock, HOUR).await;
    publish(&world, jose::SigningAlgorithm::Es256).await.unwrap();
    again.reload_keys().await.unwrap();
    world.clock.advance(TTL - Duration::from_secs(5));
    assert!(again.verify(&token).is_ok(), "it lives as long as it says");
    assert_eq!(again.longest_ttl(), TTL, "and so long its revocation is remembered");
    again.lives.end(grant);
    assert!(again.verify(&other).is_err());

    let longer = tokens_of(&world.store, &world.vault, &world.clock, 2 * TTL).await;
    again.reload_keys().await.unwrap();
    assert_eq!((longer.longest_ttl(), again.longest_ttl()), (2 * TTL, 2 * TTL), "what others mint counts as well");
}

/// Something that happens to a deployment of two processes.
#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Rotate,
    Maintain(usize),
    Mint(usize),
    Restart(usize, u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..30_u64).prop_map(Event::Wait),
        1 => Just(Event::Rotate),
        2 => (0..2_usize).prop_map(Event::Maintain),
        4 => (0..2_usize).prop_map(Event::Mint),
        1 => (0..2_usize, 1..48_u64).prop_map(|(node, hours)| Event::Restart(node, hours)),
    ]
}

struct Minted {
    token: String,
    by: usize,
    expires_at: Timestamp,
}

/// Two processes on one database, the clock of the second ahead by half a minute.
struct Deployment {
    world: World,
    clocks: [Clock; 2],
    nodes: [AccessTokens; 2],
    ttls: [Duration; 2],
    minted: Vec<Minted>,
}

impl Deployment {
    async fn new() -> Self {
        let world = world().await;
        let clocks = [world.clock.clone(), Clock::standing()];
        clocks[1].advance(Duration::from_secs(30));
        let one = tokens_of(&world.store, &world.vault, &clocks[0], TTL).await;
        let two = tokens_of(&world.store, &world.vault, &clocks[1], TTL).await;
        Self { world, clocks, nodes: [one, two], ttls: [TTL; 2], minted: Vec::new() }
    }

    async fn happen(&mut self, event: &Event) {
        match *event {
            Event::Wait(hours) => {
                self.clocks.iter().for_each(|clock| clock.advance(u32::try_from(hours).unwrap() * HOUR))
            }
            Event::Rotate => drop(publish(&self.world, jose::SigningAlgorithm::EdDsa).await),
            Event::Maintain(node) => {
                self.nodes[node].keys.maintain(&lifetimes(self.ttls[node])).await.unwrap();
            }
            Event::Mint(node) => self.mint(node).await,
            Event::Restart(node, hours) => {
                self.ttls[node] = Duration::from_secs(hours * 3600);
                let (store, vault) = (&self.world.store, &self.world.vault);
                self.nodes[node] = tokens_of(store, vault, &self.clocks[node], self.ttls[node]).await;
            }
        }
        for node in &self.nodes {
            node.reload_keys().await.unwrap();
        }
    }

    async fn mint(&mut self, node: usize) {
        let token = self.world.mint_at(&self.nodes[node], self.ttls[node]);
        let rows = self.world.store.signing_keys().await.unwrap();
        let key = rows.iter().find(|row| part(&token, 0)["kid"] == row.kid.as_str()).unwrap();
        let published_for = self.clocks[node].now().since(key.created_at);
        // The first key of all cannot have been published before anything was signed.
        let is_first = key.created_at == key.active_from;
        assert!(is_first || published_for >= PUBLISH_AHEAD, "it was published for {published_for:?}");
        let expires_at = Timestamp(part(&token, 1)["exp"].as_i64().unwrap());
        self.minted.push(Minted { token, by: node, expires_at });
    }

    async fn check(&self) {
        // A process that has never seen any of the tokens.
        let fresh = tokens_of(&self.world.store, &self.world.vault, &self.clocks[0], HOUR).await;
        let judges = [(&self.nodes[0], 0), (&self.nodes[1], 1), (&fresh, 0)];
        for Minted { token, by, expires_at } in &self.minted {
            for (judge, clock) in judges {
                let is_alive = *expires_at > self.clocks[clock].now();
                assert_eq!(judge.verify(token).is_ok(), is_alive, "minted by {by}, judged by {clock}");
                let listed = kids(judge).iter().any(|kid| part(token, 0)["kid"] == kid.as_str());
                assert!(listed || !is_alive, "its key is not in the set");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_unexpired_token_verifies_everywhere_whatever_happens(events in prop::collection::vec(event(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut deployment = Deployment::new().await;
            for event in &events {
                deployment.happen(event).await;
                deployment.check().await;
            }
        });
    }
}

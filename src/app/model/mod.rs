//! Who may do what, against a model: people, clients, consents, grants, tokens, connections, permissions and decisions of
//! administrators, on three nodes with one database. Whatever order they are given, used, taken away, replayed, swept, cut off
//! and restarted in, no token gets further at any node than what was granted and not taken away, and what was granted works.
//!
//! After every step each access token that was ever issued is tried at every hostname of every node. A node that reads the
//! journal must answer as the model says, and one that changed something must do so before it reads; one that is behind may go
//! by anything that held since it read last; one that was cut off for longer than it trusts its memory lets nobody in.

mod events;
mod node;
mod play;
mod reference;
mod upstream;

use events::{Event, event};
use play::Play;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::{Cell, RefCell};

/// How many random orders; `make model` sets another number.
const ORDERS: u32 = 100;
/// The longest of them.
const LONGEST: usize = 24;
/// So many orders share a database, which holds more and more of the past.
const SHARED: usize = 100;

#[test]
#[allow(clippy::disallowed_methods)] // how many orders is said by whoever runs them
fn no_order_of_events_lets_anybody_further_than_was_granted() {
    let orders = std::env::var("PORTCULLIS_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(ORDERS);
    let config = Config { cases: orders, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shared: RefCell<Option<Play>> = RefCell::new(None);
    let [steps, trials, admitted] = [const { Cell::new(0_usize) }; 3];
    let order = |events: Vec<Event>| {
        let mut shared = shared.borrow_mut();
        let mut play = match shared.take() {
            Some(play) if play.orders < SHARED => play,
            _ => runtime.block_on(Play::new()),
        };
        let (result, counts) = runtime.block_on(play.order(&events));
        steps.set(steps.get() + events.len());
        trials.set(trials.get() + counts.trials);
        admitted.set(admitted.get() + counts.admitted);
        // After a failure the next order, which shrinks this one, begins from nothing.
        *shared = result.is_ok().then_some(play);
        result
    };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(event(), 1..LONGEST), order);
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let [steps, trials, admitted] = [steps, trials, admitted].map(Cell::into_inner);
    println!("{orders} orders, {steps} steps, {trials} trials of a token at a node, {admitted} of them admitted");
    assert!(admitted > trials / 50, "the model permits too little to say anything");
}

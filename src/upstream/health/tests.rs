use super::circuit::{LONGEST, THRESHOLD};
use super::*;

fn start(max_requests: u32) -> (HealthTable, Arc<Health>, Clock) {
    let clock = Clock::standing();
    let table = HealthTable::new(clock.clone(), Random::default(), max_requests);
    let health = table.of(&Authority::parse("mcp.example").unwrap());
    (table, health, clock)
}

fn failure(stage: Stage, timeout: bool) -> Failure {
    Failure { stage, timeout, why: "the upstream cannot be reached".to_owned() }
}

/// Fails until the circuit opens.
fn open(health: &Arc<Health>, stage: Stage) {
    for _ in 0..THRESHOLD {
        assert!(health.begin().is_ok());
        health.failed(&failure(stage, true));
    }
    assert_eq!(health.note().state, State::Open);
}

fn pause(health: &Arc<Health>) -> Duration {
    match health.begin() {
        Err(Unavailable::OutOfOrder { retry_after, timeout: true }) => retry_after,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

#[test]
fn failures_in_a_row_open_the_circuit_and_a_success_between_them_does_not_let_it_come_to_that() {
    let (_, health, _) = start(10);
    for round in 0..3 * THRESHOLD {
        let mut turn = health.begin().unwrap();
        if round % (THRESHOLD - 1) == 0 {
            turn.answered();
        } else {
            health.failed(&failure(Stage::Answering, false));
        }
    }
    assert_eq!(health.note().state, State::Closed);
    health.begin().unwrap().answered();
    open(&health, Stage::Connecting);
    let note = health.note();
    assert_eq!((note.state, note.waiting), (State::Open, 0));
    assert_eq!(note.last_failure.unwrap().1, "the upstream cannot be reached");
}

#[test]
fn after_a_pause_one_request_finds_out_and_a_success_closes_the_circuit() {
    let (_, health, clock) = start(10);
    open(&health, Stage::Connecting);
    assert!((1..=3).contains(&pause(&health).as_secs()));
    clock.advance(Duration::from_secs(4));
    let mut probe = health.begin().unwrap();
    assert_eq!(health.note().state, State::Probing);
    assert_eq!(pause(&health), Duration::from_secs(1), "one at a time");
    probe.connected();
    assert_eq!(health.note().state, State::Closed);
    assert!(health.begin().is_ok());
    assert_eq!(health.note().consecutive, 0);
}

#[test]
fn pauses_grow_up_to_a_limit() {
    let (_, health, clock) = start(10);
    open(&health, Stage::Connecting);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        pauses.push(pause(&health).as_secs());
        clock.advance(Duration::from_secs(LONGEST));
        drop(health.begin().unwrap());
        health.failed(&failure(Stage::Connecting, true));
    }
    assert!(pauses.is_sorted() && pauses[0] <= 3 && pauses[5] >= LONGEST - 1 && pauses[5] <= LONGEST, "{pauses:?}");
}

#[test]
fn a_probe_whose_caller_left_is_followed_by_another() {
    let (_, health, clock) = start(10);
    open(&health, Stage::Connecting);
    clock.advance(Duration::from_secs(4));
    drop(health.begin().unwrap());
    let probe = health.begin().unwrap();
    assert!(health.begin().is_err());
    clock.advance(Duration::from_secs(10));
    assert!(health.begin().is_ok(), "a probe that takes long does not keep the next one");
    drop(probe);
}

#[test]
fn a_connection_says_nothing_about_answers() {
    let (_, health, clock) = start(10);
    open(&health, Stage::Answering);
    clock.advance(Duration::from_secs(4));
    let mut probe = health.begin().unwrap();
    probe.connected();
    assert!(health.begin().is_err());
    probe.answered();
    assert!(health.begin().is_ok());
}

#[test]
fn a_clock_that_is_set_back_opens_no_gap() {
    let mut circuit = Circuit::default();
    let late = Timestamp(1_000_000);
    for _ in 0..THRESHOLD {
        circuit.failed(&failure(Stage::Connecting, false), late, 0);
    }
    assert!(matches!(circuit.admit(late), Admission::Denied { timeout: false, .. }));
    assert!(matches!(circuit.admit(Timestamp(1)), Admission::Probe));
}

#[test]
fn waiting_requests_are_bounded_and_streams_do_not_wait() {
    let (_, health, _) = start(2);
    let mut stream = health.begin().unwrap();
    let waiting = health.begin().unwrap();
    assert!(matches!(health.begin(), Err(Unavailable::Busy)));
    stream.yields();
    let other = health.begin().unwrap();
    assert!(matches!(health.begin(), Err(Unavailable::Busy)));
    drop((stream, waiting, other));
    let note = health.note();
    assert_eq!((note.waiting, note.requests, note.refused), (0, 5, 2));
}

#[test]
fn notes_name_those_that_were_asked_and_prometheus_reads_them() {
    let (table, health, _) = start(10);
    let _ = table.of(&Authority::parse("idle.example").unwrap());
    open(&health, Stage::Connecting);
    assert_eq!(table.notes().iter().map(|note| note.authority.as_str()).collect::<Vec<_>>(), ["mcp.example"]);
    assert!(Arc::ptr_eq(&health, &table.of(&health.authority)));
    let mut registry = prometheus_client::registry::Registry::with_prefix("portcullis");
    registry.register_collector(Box::new(table));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "portcullis_upstream_requests_total{upstream=\"mcp.example\"} 5",
        "portcullis_upstream_unanswered_total{upstream=\"mcp.example\"} 5",
        "portcullis_upstream_waiting{upstream=\"mcp.example\"} 0",
        "portcullis_upstream_out_of_order{upstream=\"mcp.example\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_winner_of_a_race_is_remembered_for_a_while() {
    let (_, health, clock) = start(10);
    assert_eq!(health.favourite(), None);
    let address = "192.0.2.1:443".parse().unwrap();
    health.prefer(address);
    assert_eq!(health.favourite(), Some((address, false)));
    clock.advance(FAVOURITE + Duration::from_secs(1));
    assert_eq!(health.favourite(), Some((address, true)));
}

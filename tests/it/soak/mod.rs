//! The program under mixed traffic for an hour, with faults at random, and what that costs it: `make soak`.
//!
//! Whatever goes wrong without an injected fault that explains it counts against a budget of 0. Memory, descriptors and threads
//! are looked at every few seconds; none may rise in the second half of the time, and when the traffic has ended the descriptors
//! are those of the beginning.

mod gauges;
mod tally;
mod traffic;
mod world;

use crate::chaos_proxy::{Fault, Numbers};
use crate::raw::PATIENCE;
use gauges::{DECIDING, Line, NAMES, Sample, Watch};
use portcullis::devkit::authorization_server::Misbehaviour;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use world::{PEOPLE, Site};

/// How often somebody looks, unless the time is short.
const EVERY: Duration = Duration::from_secs(2);
/// Minutes below which slopes say less.
const SHORT: f64 = 30.0;
/// Descriptors that may be left over: connections to the database, which are opened when they are needed.
const LEFT: f64 = 16.0;

fn setting(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods)] // a test has no configuration
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// What is done to the upstreams and to the program itself, one thing after the other, until it is over.
async fn trouble(mut site: Site, mut numbers: Numbers) -> Site {
    let mut turn = 0;
    while site.world.goes_on() {
        tokio::time::sleep(Duration::from_millis(500 + numbers.below(4000))).await;
        let tally = &site.world.tally;
        match numbers.below(16) {
            0..3 => {
                tally.fault("network that cuts");
                site.proxy.honest(numbers.below(u64::MAX));
            }
            3..5 => site.proxy.always(Fault::None),
            5 => {
                tally.fault("upstream killed (-9)");
                // Nobody knows when it is back: until then everything is explained.
                *site.world.mourned.lock() = Some(Instant::now() + 10 * PATIENCE);
                site.mortal.die(Duration::from_millis(numbers.below(4000))).await;
                *site.world.mourned.lock() = Some(Instant::now());
            }
            6..9 => {
                let how = [Misbehaviour::TokenServerError, Misbehaviour::TokenStalls, Misbehaviour::TokenGarbage];
                tally.fault("authorization server in trouble");
                site.notes.authorization.misbehave(how[numbers.below(3) as usize]);
                tokio::time::sleep(Duration::from_millis(numbers.below(7000))).await;
                site.notes.authorization.behave();
            }
            9..12 => {
                tally.fault("configuration reloaded (SIGHUP)");
                turn += 1;
                site.reload(turn).await;
            }
            12..14 => {
                tally.fault("certificate replaced");
                site.certify();
            }
            _ => {
                tally.fault("upstream that stalls");
                site.proxy.always(Fault::Stall(numbers.below(700) as usize));
            }
        }
    }
    site.notes.authorization.behave();
    site
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as PORTCULLIS_SOAK_MINUTES says"]
async fn under_mixed_traffic_with_faults_nothing_grows_and_nothing_fails_without_a_reason() {
    let minutes: f64 = setting("PORTCULLIS_SOAK_MINUTES").map_or(1.0, |text| text.parse().unwrap());
    let seed = setting("PORTCULLIS_SOAK_SEED").map_or(1, |text| text.parse().unwrap());
    let database = setting("PORTCULLIS_SOAK_DATABASE").unwrap_or_else(|| "sqlite".to_owned());
    let site = Site::start(database == "postgres").await;
    let world = site.world.clone();
    let watch = Watch { process: site.server.child.id().unwrap(), admin: site.admin, began: Instant::now() };

    // Everybody connects once: what every gateway needs is there then.
    for person in PEOPLE {
        drop(world.client(person, &world.names.notes).await);
    }
    let measured = site.database();
    let rest = at_rest(&watch, measured.size().await).await;
    let everybody = traffic::begin(&world, seed);
    let panics = site.panics.clone();
    let trouble = tokio::spawn(trouble(site, Numbers(seed)));
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let (mut samples, every) = (Vec::new(), EVERY.min(Duration::from_secs_f64(minutes / 2.0)));
    while Instant::now() < end {
        tokio::time::sleep(every).await;
        let sample = watch.look(measured.size().await).await;
        if samples.len() % 30 == 0 {
            println!("{:.0} s: {:.1?}, {} unexplained", sample.at.as_secs_f64(), sample.values, world.tally.wrong());
        }
        samples.push(sample);
    }
    world.is_over.store(true, Ordering::Relaxed);
    let site = trouble.await.unwrap();
    for worker in everybody {
        tokio::time::timeout(8 * PATIENCE, worker).await.expect("somebody does not end").unwrap();
    }
    let after = settled(&watch, &rest, measured.size().await).await;
    let counters = site.notes.authorization.counters();
    assert_eq!(site.stop().await, Some(0), "it did not stop as asked");

    println!("\n{minutes} minutes on {database}, seed {seed}, {} samples\n\n{}", samples.len(), world.tally);
    println!("upstream refreshes: {}, replays seen by the server: {}", counters.refreshes, counters.replays);
    println!("panics in the log: {}\n", panics.load(Ordering::Relaxed));
    println!("| | at rest before | mean, 2nd half | slope an hour, 95 % | at rest after |\n|---|---|---|---|---|");
    let half = &samples[samples.len() / 2..];
    let lines: Vec<Line> = (0..NAMES.len()).map(|place| Line::through(half, place)).collect();
    for (place, name) in NAMES.iter().enumerate() {
        println!("| {name} | {:.2} | {} | {:.2} |", rest.values[place], lines[place], after.values[place]);
    }
    if let Some(file) = setting("PORTCULLIS_SOAK_OUT") {
        std::fs::write(file, csv(&samples)).unwrap();
    }

    assert_eq!(world.tally.wrong(), 0, "the budget is exceeded");
    assert_eq!((panics.load(Ordering::Relaxed), counters.replays), (0, 0));
    assert!(counters.refreshes > 0 || minutes < 3.0, "no upstream was refreshed");
    assert!(world.tally.fine("renewals of our tokens") > 0 && world.tally.fine("sign-ins and revocations") > 0);
    for (place, tolerated) in DECIDING {
        let tolerated = if minutes < SHORT { tolerated } else { 0.0 };
        assert!(!lines[place].rises_by_more_than(tolerated), "{} rises: {}", NAMES[place], lines[place]);
    }
    assert!(
        after.values[2] <= rest.values[2] + LEFT,
        "descriptors are left: {} after {}",
        after.values[2],
        rest.values[2]
    );
}

/// A look when nobody is connected.
async fn at_rest(watch: &Watch, database: u64) -> Sample {
    let quiet = async {
        loop {
            let sample = watch.look(database).await;
            // The look itself is a connection of the other listener, which does not count.
            if sample.values[4] == 0.0 && sample.values[5] == 0.0 {
                return sample;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(4 * PATIENCE, quiet).await.expect("connections or streams are left")
}

/// The same, when idle connections to upstreams have been closed, or after two minutes.
async fn settled(watch: &Watch, before: &Sample, database: u64) -> Sample {
    let deadline = Instant::now() + 4 * PATIENCE;
    loop {
        let sample = at_rest(watch, database).await;
        if sample.values[2] <= before.values[2] + LEFT || Instant::now() > deadline {
            return sample;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// All samples, for whoever wants to draw them.
fn csv(samples: &[Sample]) -> String {
    let mut text = format!("seconds,{}\n", NAMES.map(|name| name.replace(", ", " in ")).join(","));
    for sample in samples {
        let values: Vec<_> = sample.values.iter().map(|value| format!("{value:.3}")).collect();
        text.push_str(&format!("{:.1},{}\n", sample.at.as_secs_f64(), values.join(",")));
    }
    text
}

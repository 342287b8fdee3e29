//! What is wrong with a set-up, told from outside: the ground (DNS, TLS, proxies in between) once, then what each client does
//! to connect, step by step, with its own headers, order and limits. Clients are files in `clients/`, texts are in
//! `checks.toml`; the engine knows neither by name. [docs/doctor.md](../../docs/doctor.md) explains every check.

mod answer;
mod check;
mod dns;
mod door;
mod front;
mod ground;
mod place;
mod replay;
mod report;
mod rules;
mod target;
#[cfg(test)]
mod tests;
mod tools;

pub use check::{Check, Level};
pub use report::{ClientReport, Note, Outcome, Report, Step};
pub use rules::Rules;
pub use target::{InvalidTarget, Target};
pub use tools::{Kit, Tools};

use futures_util::future::join_all;
use replay::Walk;
use report::Judge;
use std::time::Duration;
use tokio::time::Instant;

/// Where a gateway answers with two events and a pause between them, so that buffering in between shows.
pub const STREAM_PATH: &str = "/doctor/stream";

/// How long there is nothing between them.
pub const STREAM_PAUSE: Duration = Duration::from_millis(300);

/// How long all of it may take; what is not done by then is told as such.
const TOTAL: Duration = Duration::from_secs(60);

/// Names, the port and the certificate alone: what has to be right before anything else can be.
pub async fn entrance(target: &Target, wildcard: bool, tools: &Tools) -> Vec<Step> {
    let ground = ground::entrance(target, wildcard, tools).await;
    Judge { place: &ground.place, ground: &ground.findings }.entrance()
}

/// Examines a set-up as these clients would meet it.
pub async fn examine(target: &Target, clients: &[&'static Rules], tools: &Tools) -> Report {
    let started = Instant::now();
    let deadline = started + TOTAL;
    let ground = ground::survey(target, tools).await;
    let mut rules: Vec<&'static Rules> = clients.to_vec();
    if ground.passable && !ground.place.is_gateway() {
        // A server that is no gateway is what a gateway would connect to: so does ours, in rules like any other client's.
        rules.push(Rules::gateway());
    }
    let walks = rules.iter().map(|rules| async {
        match ground.passable {
            true => Walk::new(rules, &ground.place, tools, deadline).run().await,
            false => Vec::new(),
        }
    });
    let walked = join_all(walks).await;
    let judge = Judge { place: &ground.place, ground: &ground.findings };
    Report {
        target: target.to_string(),
        url: ground.place.url.to_string(),
        gateway: ground.place.root.clone(),
        common: judge.common(),
        clients: rules.iter().zip(walked).map(|(rules, findings)| judge.client(rules, findings)).collect(),
        notes: place::notes(&ground.place, tools),
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

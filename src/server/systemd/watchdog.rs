//! Says now and then that the gateway works, so that a manager may put another one in the place of one that does not. What a
//! restart would not mend does not count: a database that is away comes back to a process with all its streams.

use super::notify::{Manager, Part};
use crate::app::App;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long the database may take to show that it is there.
const ANSWER: Duration = Duration::from_secs(1);

/// How a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pulse {
    Works,
    /// It waits for its database, as it should.
    Waits,
    /// The database answers, and what happens in it is not followed: that task hangs or is gone.
    Stuck,
}

/// Tells the manager that this process works, twice in the time that it allows, as long as that is true. Returns at once where
/// nobody wants to know, and when another process is the main one.
pub(in crate::server) async fn attest(manager: Arc<Manager>, app: Arc<App>) {
    let Some(time) = manager.watchdog() else { return };
    let mut ticks = interval((time / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Pulse::Works;
    loop {
        ticks.tick().await;
        let now = match manager.part() {
            Part::Main => pulse(&app).await,
            // The follower ends before the last events are written.
            Part::Ending => known,
            Part::Relieved => return,
        };
        let status = (now != std::mem::replace(&mut known, now)).then_some(match now {
            Pulse::Works => "serving",
            Pulse::Waits => "waiting for the database; streams go on",
            Pulse::Stuck => "changes in the database are not followed",
        });
        match now {
            Pulse::Works | Pulse::Waits => manager.works(status),
            Pulse::Stuck => tracing::error!("changes in the database are not followed: the watchdog is not answered"),
        }
    }
}

/// Timers run, or nobody asks; beyond that, threads for files are to be had, and memory follows the database if that answers.
async fn pulse(app: &App) -> Pulse {
    let threads = tokio::task::spawn_blocking(|| ());
    if !matches!(timeout(ANSWER, threads).await, Ok(Ok(()))) {
        return Pulse::Stuck;
    }
    if app.tokens.freshness().is_current() {
        return Pulse::Works;
    }
    match timeout(ANSWER, app.store.latest_change()).await {
        // It may have come back this very moment.
        Ok(Ok(_)) => match timeout(ANSWER, app.tokens.freshness().regained()).await {
            Ok(Ok(())) => Pulse::Works,
            _ => Pulse::Stuck,
        },
        _ => Pulse::Waits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::{Source, load};
    use crate::ids::Random;
    use std::collections::BTreeMap;
    use std::time::Instant;

    #[tokio::test]
    async fn a_gateway_without_its_database_works_and_one_that_does_not_follow_it_does_not() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().display().to_string();
        let source = Source { file: None, environment: BTreeMap::from([("XDG_STATE_HOME".to_owned(), state)]) };
        let app = App::build(load(&source).unwrap(), &[], Clock::standing(), Random::default()).await.unwrap();
        assert_eq!(pulse(&app).await, Pulse::Works);
        app.tokens.freshness().renew(Instant::now(), Duration::ZERO);
        assert_eq!(pulse(&app).await, Pulse::Stuck, "nobody follows the database here");
        app.store.close().await;
        assert_eq!(pulse(&app).await, Pulse::Waits);
    }
}

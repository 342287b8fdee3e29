//! When certificates are renewed: early, not all at once, and when the authority wishes (RFC 9773).

use super::Authority;
use crate::clock::Timestamp;
use crate::ids::Random;
use bytes::Bytes;
use serde::Deserialize;
use std::time::Duration;

/// However short lives are, and whatever clocks say, nothing is renewed sooner.
const LEAST: Duration = Duration::from_secs(3600);
/// The pause after a failed order. Let's Encrypt counts five failures an hour.
const PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// How often an authority is asked at most and at least (RFC 9773 §4.3).
const ASK: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(86_400));

/// When it is asked again that did not answer.
pub(super) const NO_ANSWER: Duration = ASK.1;

/// When an authority is asked first about a certificate that it has just issued.
pub(super) fn first_ask(random: &Random) -> Duration {
    ASK.0 + within(random, ASK.1)
}

/// How long before its end a certificate is renewed: a third of its life unless something else is configured, but no more than most
/// of its life.
pub(super) fn window((from, to): (Timestamp, Timestamp), renew_before: Option<Duration>) -> Duration {
    let life = to.since(from);
    renew_before.unwrap_or(life / 3).min(life * 9 / 10)
}

/// When a certificate that was issued now is renewed: early by a tenth of the window at most, so that those that were ordered together
/// are not renewed together.
pub(super) fn renew_at(
    validity: (Timestamp, Timestamp),
    renew_before: Option<Duration>,
    now: Timestamp,
    random: &Random,
) -> Timestamp {
    let window = window(validity, renew_before);
    let early = within(random, window / 10);
    let floor = now.after(LEAST.min(validity.1.since(validity.0) / 2));
    validity.1.before(window + early).max(floor)
}

/// How long to wait after so many failures: four times as long each time, give or take a fifth.
pub(super) fn pause(failures: i64, random: &Random) -> Duration {
    let doublings = u32::try_from(failures.clamp(0, 5)).unwrap_or(5);
    let pause = (PAUSE * 4_u32.pow(doublings)).min(LONGEST_PAUSE);
    pause * 4 / 5 + within(random, pause * 2 / 5)
}

/// Some time up to `most`.
pub(super) fn within(random: &Random, most: Duration) -> Duration {
    most.mul_f64(f64::from(u32::from_be_bytes(random.bytes())) / f64::from(u32::MAX))
}

/// When an authority would have a certificate renewed, and when it wants to be asked again. `None`: it does not say such things.
pub(super) async fn suggested(
    authority: &Authority,
    id: &str,
    now: Timestamp,
    random: &Random,
) -> Option<(Timestamp, Timestamp)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Directory {
        renewal_info: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Info {
        suggested_window: Window,
    }
    #[derive(Deserialize)]
    struct Window {
        start: String,
        end: String,
    }
    let (body, _) = get(authority, &authority.config.directory).await?;
    let directory: Directory = serde_json::from_slice(&body).ok()?;
    let (body, again_in) = get(authority, &format!("{}/{id}", directory.renewal_info?.trim_end_matches('/'))).await?;
    let Info { suggested_window: Window { start, end } } = serde_json::from_slice(&body).ok()?;
    let (start, end) = (Timestamp::from_rfc3339(&start)?, Timestamp::from_rfc3339(&end)?);
    let at = start.after(within(random, end.since(start)));
    Some((at, now.after(again_in.unwrap_or(ASK.0 * 6).clamp(ASK.0, ASK.1))))
}

async fn get(authority: &Authority, url: &str) -> Option<(Bytes, Option<Duration>)> {
    let request = http::Request::get(url).body(Bytes::new()).ok()?;
    let answer = authority.http.send(request, authority.is_private()).await.ok()?;
    let again_in = super::transport::retry_after(&answer.headers);
    answer.status.is_success().then_some((answer.body, again_in))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn life(days: i64) -> (Timestamp, Timestamp) {
        (Timestamp(0), Timestamp(days * 86_400))
    }

    #[test]
    fn a_third_of_the_life_is_left_and_no_two_are_renewed_together() {
        let random = Random::default();
        let all: std::collections::BTreeSet<_> =
            (0..50).map(|_| renew_at(life(90), None, Timestamp(0), &random)).collect();
        assert!(all.len() > 10);
        let earliest = Timestamp(0).after(Duration::from_secs(57 * DAY));
        assert!(all.iter().all(|at| *at >= earliest && *at <= Timestamp(0).after(Duration::from_secs(60 * DAY))));
        let configured = renew_at(life(90), Some(Duration::from_secs(10 * DAY)), Timestamp(0), &random);
        assert!(configured >= Timestamp(0).after(Duration::from_secs(79 * DAY)));
    }

    #[test]
    fn nothing_is_renewed_again_at_once() {
        let late = life(90).1.before(Duration::from_secs(DAY));
        assert_eq!(renew_at(life(90), None, late, &Random::default()), late.after(LEAST));
        let short = (Timestamp(0), Timestamp(600));
        assert!(renew_at(short, None, Timestamp(0), &Random::default()) >= Timestamp(300));
        assert!(window(short, Some(Duration::from_secs(DAY))) <= Duration::from_secs(540));
    }

    #[test]
    fn pauses_grow_to_some_hours() {
        let random = Random::default();
        for (failures, seconds) in [(0, 60), (1, 240), (2, 960), (4, 15_360), (5, 21_600), (1000, 21_600)] {
            let pause = pause(failures, &random).as_secs();
            assert!((seconds * 4 / 5..=seconds * 6 / 5).contains(&pause), "{failures}: {pause}");
        }
    }
}

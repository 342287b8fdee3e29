use super::buckets::MAX_KEYS;
use super::*;
use crate::store::Store;
use governor::clock::FakeRelativeClock;
use std::net::{Ipv4Addr, Ipv6Addr};

const SECOND: Duration = Duration::from_secs(1);

fn rate(count: u32, period: Duration, burst: u32) -> Rate {
    Rate { count, period, burst }
}

/// For whoever tests something else.
pub(crate) fn plenty() -> Limits {
    let plenty = rate(1000, SECOND, 1000);
    Limits {
        per_ip: plenty,
        per_user: plenty,
        per_user_upstream: plenty,
        per_client: plenty,
        token_endpoint: plenty,
        registration: plenty,
        login: plenty,
        shared: false,
        memory: None,
        connections: Default::default(),
    }
}

fn limits() -> Limits {
    let wide = rate(100, SECOND, 200);
    Limits {
        per_ip: rate(1, SECOND, 2),
        per_user: wide,
        per_user_upstream: rate(1, SECOND, 1),
        per_client: wide,
        token_endpoint: wide,
        registration: rate(10, 3600 * SECOND, 10),
        login: rate(3, 60 * SECOND, 3),
        shared: false,
        memory: None,
        connections: Default::default(),
    }
}

fn start() -> (RateLimits<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (RateLimits::with_clock(&limits(), clock.clone()), clock)
}

fn v4(last: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + last))
}

#[test]
fn the_burst_passes_and_the_rest_waits() {
    let (limits, clock) = start();
    assert!(limits.check_ip(v4(1)).is_ok() && limits.check_ip(v4(1)).is_ok());
    let limited = limits.check_ip(v4(1)).unwrap_err();
    assert_eq!((limited.policy, limited.burst, limited.window), ("per_ip", 2, 2 * SECOND));
    assert_eq!(limited.retry_after, SECOND);
    assert!(limits.check_ip(v4(2)).is_ok(), "another address is not concerned");
    clock.advance(SECOND);
    assert!(limits.check_ip(v4(1)).is_ok());
    assert!(limits.check_ip(v4(1)).is_err());
}

#[test]
fn a_whole_ipv6_network_is_one_address_and_a_mapped_one_is_ipv4() {
    let (limits, _) = start();
    let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
    assert!(limits.check_ip(v6(1)).is_ok() && limits.check_ip(v6(2)).is_ok());
    assert!(limits.check_ip(v6(3)).is_err());
    assert!(limits.check_ip("2001:db8:0:2::3".parse().unwrap()).is_ok());
    assert!(limits.check_ip(v4(1)).is_ok() && limits.check_ip("::ffff:10.0.0.1".parse().unwrap()).is_ok());
    assert!(limits.check_ip(v4(1)).is_err());
}

#[test]
fn guessing_is_limited_by_name_from_many_addresses_and_by_address_for_many_names() {
    let (limits, clock) = start();
    for address in 0..3 {
        assert!(limits.check_login(v4(address), "Alice").is_ok());
    }
    assert_eq!(limits.check_login(v4(9), "aLICE").unwrap_err().policy, "login");
    for name in ["a", "b", "c"] {
        assert!(limits.check_login(v4(20), name).is_ok());
    }
    assert!(limits.check_login(v4(20), "d").is_err());
    clock.advance(20 * SECOND);
    assert!(limits.check_login(v4(20), "d").is_ok());
}

#[test]
fn people_and_upstreams_are_counted_apart() {
    let (limits, _) = start();
    let (alice, bob) = (UserId([1; 16]), UserId([2; 16]));
    let (one, two) = (Authority::parse("one.example").unwrap(), Authority::parse("two.example").unwrap());
    assert!(limits.check_user_upstream(alice, &one).is_ok());
    assert!(limits.check_user_upstream(alice, &one).is_err());
    assert!(limits.check_user_upstream(alice, &two).is_ok());
    assert!(limits.check_user_upstream(bob, &one).is_ok());
}

#[test]
fn the_answer_says_when_to_come_back() {
    let limited =
        Limited { retry_after: Duration::from_millis(1200), policy: "per_ip", burst: 200, window: 2 * SECOND };
    let mut headers = HeaderMap::new();
    limited.write(&mut headers);
    assert_eq!(headers["retry-after"], "2");
    assert_eq!(headers["ratelimit"], "\"per_ip\";r=0;t=2");
    assert_eq!(headers["ratelimit-policy"], "\"per_ip\";q=200;w=2");
}

#[test]
fn a_flood_of_addresses_is_bounded_and_takes_nothing_from_those_known_before() {
    let clock = FakeRelativeClock::default();
    let limiter = Limiter::new("per_ip", rate(1, 60 * SECOND, 2), clock.clone());
    let hasher = std::hash::RandomState::new();
    let key = |n: u32| hasher.hash_one(n);
    assert!(limiter.check(key(0)).is_ok());
    let refused = (1..200_000).filter(|n| limiter.check(key(*n)).is_err()).count();
    assert_eq!(limiter.buckets.len(), MAX_KEYS);
    assert!(refused > 100_000, "beyond the bound keys share buckets: {refused}");
    assert!(limiter.check(key(0)).is_ok(), "a known key keeps its own bucket");
    clock.advance(600 * SECOND);
    assert!((200_000..201_000).all(|n| limiter.check(key(n)).is_ok()), "stale keys make room");
    assert!(limiter.buckets.len() < MAX_KEYS);
    clock.advance(600 * SECOND);
    limiter.buckets.retain_recent();
    assert_eq!(limiter.buckets.len(), 0);
}

/// Three nodes with limits of their own on one database: nobody waits for it, and yet they add up.
#[tokio::test]
async fn nodes_that_share_limits_let_through_one_burst_each_at_most_and_pay_for_it() {
    const NODES: u32 = 3;
    let (burst, hour) = (64, 3600 * SECOND);
    let few = Limits { per_user: rate(burst, hour, burst), ..limits() };
    let store = Store::open("sqlite::memory:").await.unwrap();
    let clock = FakeRelativeClock::default();
    let nodes: Vec<_> = (0..NODES).map(|_| RateLimits::shared_with_clock(&few, b"key", clock.clone())).collect();
    let (alice, bob) = (UserId([1; 16]), UserId([2; 16]));
    let pass = |node: &RateLimits<_>, times: u32| (0..times).filter(|_| node.check_user(alice).is_ok()).count() as u32;

    // In turns, with a settlement now and then: one limit for all.
    let mut passed = 0;
    for _ in 0..10 {
        for node in &nodes {
            passed += pass(node, 4);
            node.settle(&store).await.unwrap();
        }
    }
    // The last settlement of each was at most four of each other node ago, and what is kept back is a sixteenth of a burst.
    assert!((burst..=burst + (NODES - 1) * 4).contains(&passed), "{passed}");
    assert!(nodes.iter().all(|node| node.check_user(alice).is_err()));
    assert!(nodes.iter().all(|node| node.check_user(bob).is_ok()), "nobody else is concerned");

    // All at once before anybody has settled: a burst at each node, and no more.
    let fresh: Vec<_> = (0..NODES).map(|_| RateLimits::shared_with_clock(&few, b"other", clock.clone())).collect();
    let rush: u32 = fresh.iter().map(|node| pass(node, 1000)).sum();
    assert_eq!(rush, NODES * burst);
    for node in fresh.iter().chain(&fresh) {
        node.settle(&store).await.unwrap();
    }
    // Three hours' worth was let through: two hours later nobody passes, after three somebody does.
    clock.advance(2 * hour - SECOND);
    assert!(fresh.iter().all(|node| node.check_user(alice).is_err()));
    clock.advance(hour);
    assert!(fresh.iter().all(|node| node.check_user(alice).is_ok()));
}

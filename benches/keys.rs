//! Ten million different addresses, people, clients and hostnames (`make bench-keys`): memory must not grow with them.
//! Prints the resident memory before and after, and fails when it grew by more than the bound.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a benchmark that fails says so

use portcullis::clock::Clock;
use portcullis::config::{Rate, Source, load};
use portcullis::hostname::Authority;
use portcullis::ids::{Random, UserId};
use portcullis::ratelimit::RateLimits;
use portcullis::upstream::HealthTable;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

const KEYS: u32 = 10_000_000;
/// In MiB, all tables together.
const BOUND: f64 = 64.0;

fn main() {
    // `cargo bench` passes `--bench`.
    let keys = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(KEYS);
    let mut limits = load(&Source { file: None, environment: BTreeMap::new() }).ok().unwrap().limits;
    // So slow that no bucket fills up again and makes room.
    let rate = Rate { count: 1, period: Duration::from_secs(3600), burst: 5 };
    for limit in [
        &mut limits.per_ip,
        &mut limits.per_user,
        &mut limits.per_user_upstream,
        &mut limits.per_client,
        &mut limits.token_endpoint,
        &mut limits.registration,
        &mut limits.login,
    ] {
        *limit = rate;
    }
    let limits = RateLimits::new(&limits);
    let health = HealthTable::new(Clock::system(), Random::default(), 1024);
    let upstream = Authority::parse("mcp.example").unwrap();
    let before = resident();
    let started = Instant::now();
    for key in 0..keys {
        let v4 = IpAddr::V4(Ipv4Addr::from_bits(key));
        let v6 = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | u128::from(key) << 64));
        let user = UserId(u128::from(key).to_be_bytes());
        let name = format!("name-{key}");
        for address in [v4, v6] {
            let _ =
                (limits.check_ip(address), limits.check_token_endpoint(address), limits.check_registration(address));
        }
        let _ = (limits.check_user(user), limits.check_user_upstream(user, &upstream), limits.check_client(&name));
        let _ = limits.check_login(v4, &name);
        drop(health.of(&Authority::parse(&format!("{name}.example")).unwrap()).begin());
    }
    let took = started.elapsed();
    let after = resident();
    println!("{keys} keys in each of 11 tables, {took:.1?}: {before:.1} MiB before, {after:.1} MiB after");
    assert!(after - before < BOUND, "memory grew by {:.1} MiB", after - before);
}

/// Resident memory of this process in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

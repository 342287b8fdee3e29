//! Tokens that are new, missing, or taken back.

use super::hot::{EVERYBODY, repeat};
use super::tool_call;
use crate::bench::{Bench, Placement, values};
use crate::load::http1::{Call, Connection, elapsed};
use crate::load::{Measured, Plan, block_on, measure};
use crate::peers::{self, Front, Gateway, PORTCULLIS, Target};
use crate::rows::{CPU, P50, RATE, Values};
use crate::usage;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

pub const ADDED: &str = "a new token adds µs";
pub const OTHERS: &str = "p99 µs of others";
const REGISTERED: &str = "registered and revoked per second";

/// Those who refuse.
const GUARDS: &[&str] = &[peers::HAPROXY_HS256, peers::HAPROXY_ES256, peers::AGENTGATEWAY_ES256, peers::PORTCULLIS];

/// Requests with a known token and with one that was never seen take turns on one connection, so that both have the same luck.
pub(super) fn cold(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::Plain, EVERYBODY)?;
    bench.place(Placement::OneCore)?;
    let count = if bench.options.quick() { 50 } else { 300 };
    bench.rounds(("cold", "one core, 1 connection"), &fleet, &[PORTCULLIS], |target| {
        let gateway = target.gateway.as_ref().ok_or("it issues no tokens")?;
        let tokens = gateway.tokens(count)?;
        block_on(alternate(target, &tokens))
    });
    Ok(())
}

async fn alternate(target: &Target, tokens: &[String]) -> Result<Values, String> {
    let body = tool_call();
    let known = target.call("/mcp", Some(&target.token), Some(&body));
    let mut connection = Connection::plain(target.address).await?;
    for _ in 0..100 {
        connection.call(&known).await?;
    }
    let pid = target.pid();
    let used = || pid.map_or(0.0, usage::cpu_seconds);
    let (mut hot, mut cold, mut cpu) = (Vec::new(), Vec::new(), 0.0);
    for token in tokens {
        let new = target.call("/mcp", Some(token), Some(&body));
        let started = Instant::now();
        connection.call(&known).await?;
        hot.push(elapsed(started));
        let before = used();
        let started = Instant::now();
        connection.call(&new).await?;
        cold.push(elapsed(started));
        cpu += used() - before;
    }
    let sorted = |mut samples: Vec<u64>, cpu: f64| {
        samples.sort_unstable();
        Measured { seconds: 1.0, samples, cpu }
    };
    let (hot, cold) = (sorted(hot, 0.0), sorted(cold, cpu));
    Ok(vec![(P50, cold.quantile(0.5)), (ADDED, cold.quantile(0.5) - hot.quantile(0.5)), (CPU, cold.cpu_per_100k())])
}

pub(super) fn reject(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::Plain, EVERYBODY)?;
    bench.place(Placement::OneCore)?;
    let duration = bench.options.duration;
    bench.rounds(("reject", "one core, 32 connections"), &fleet, GUARDS, |target| {
        let call = Call { status: 401, ..target.call("/mcp", None, Some(&tool_call())) };
        // One refusal may end the connection (HAProxy's do, where the body was not read): each has one of its own then.
        let plan = Plan { workers: 32, duration, watch: target.pid() };
        let measured = repeat(plan, target, call.clone()).or_else(|_| reconnecting(plan, target, call))?;
        Ok(values(&measured, target))
    });
    Ok(())
}

fn reconnecting(plan: Plan, target: &Target, call: Call) -> Result<Measured, String> {
    let (call, address) = (Rc::new(call), target.address);
    block_on(measure(plan, |window| {
        let call = call.clone();
        async move {
            Connection::plain(address).await?.call(&call).await?;
            window.ready();
            while !window.over() {
                let started = Instant::now();
                Connection::plain(address).await?.call(&call).await?;
                window.record(elapsed(started));
            }
            Ok(())
        }
    }))
}

/// Clients register, get tokens and give them back while others call tools.
pub(super) fn churn(bench: &mut Bench) -> Result<(), String> {
    let cores = [bench.proxy_core()];
    let fleet = bench.fresh("churn", &[PORTCULLIS], &cores)?;
    bench.place(Placement::Split)?;
    let duration = bench.options.duration;
    for (case, busy) in [("split, 32 connections, nobody else", false), ("split, 32 connections, and churn", true)] {
        bench.rounds(("churn", case), &fleet, &[PORTCULLIS], |target| {
            // Revoking a machine client's token ends the grant of all of them: this one has a client of its own.
            let gateway = target.gateway.as_ref().ok_or("it issues no tokens")?.another("churn")?;
            let plan = Plan { workers: 32, duration, watch: target.pid() };
            let turns = Rc::new(Cell::new(0_u32));
            let call = Rc::new(target.call("/mcp", Some(&target.token), Some(&tool_call())));
            let address = target.address;
            let measured = block_on(async {
                let turning = busy.then(|| tokio::task::spawn_local(turn(gateway, address, turns.clone())));
                let before = turns.get();
                let measured = measure(plan, |window| {
                    let call = call.clone();
                    async move { Connection::plain(address).await?.repeat(call, window).await }
                });
                let measured = measured.await?;
                turns.set(turns.get() - before);
                if let Some(turning) = turning {
                    if turning.is_finished() {
                        return turning.await.map_err(|error| error.to_string())?.map(|()| measured);
                    }
                    turning.abort();
                }
                Ok(measured)
            })?;
            let mut values = values(&measured, target);
            if busy {
                values.push((REGISTERED, f64::from(turns.get()) / measured.seconds));
            }
            Ok(values)
        });
    }
    Ok(())
}

/// Registers a client, gets a token, revokes it, and begins again.
async fn turn(gateway: Gateway, address: std::net::SocketAddr, turns: Rc<Cell<u32>>) -> Result<(), String> {
    let mut connection = Connection::plain(address).await?;
    let registration = gateway.registration();
    loop {
        connection.call(&registration).await?;
        let token = gateway.token(&mut connection).await?;
        gateway.post(&mut connection, "/revoke", &format!("token={token}")).await?;
        turns.set(turns.get() + 1);
    }
}

/// How late others are while new tokens come in: verification must not hold them up.
pub(super) fn cold_beside(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::Plain, EVERYBODY)?;
    bench.place(Placement::Split)?;
    let (duration, count) = (bench.options.duration, if bench.options.quick() { 50 } else { 300 });
    for (case, new) in [("split, 8 others, no new tokens", false), ("split, 8 others, new tokens", true)] {
        bench.rounds(("cold-beside", case), &fleet, &[PORTCULLIS], |target| {
            let gateway = target.gateway.as_ref().ok_or("it issues no tokens")?;
            let tokens = if new { gateway.tokens(count)? } else { Vec::new() };
            let measured = block_on(beside(target, tokens, Plan { workers: 8, duration, watch: target.pid() }))?;
            Ok(vec![(RATE, measured.count() / measured.seconds), (OTHERS, measured.quantile(0.99))])
        });
    }
    Ok(())
}

async fn beside(target: &Target, tokens: Vec<String>, plan: Plan) -> Result<Measured, String> {
    let body = tool_call();
    let calls: Vec<Call> = tokens.iter().map(|token| target.call("/mcp", Some(token), Some(&body))).collect();
    let (address, pause) = (target.address, plan.duration / (calls.len() as u32 + 1));
    let newcomers = tokio::task::spawn_local(async move {
        let mut connection = Connection::plain(address).await?;
        for call in calls {
            connection.call(&call).await?;
            tokio::time::sleep(pause).await;
        }
        Ok::<(), String>(())
    });
    let call = Rc::new(target.call("/mcp", Some(&target.token), Some(&body)));
    let measured = measure(plan, |window| {
        let call = call.clone();
        async move { Connection::plain(address).await?.repeat(call, window).await }
    });
    let measured = measured.await?;
    newcomers.abort();
    match newcomers.await {
        Ok(Err(error)) => Err(error),
        _ => Ok(measured),
    }
}

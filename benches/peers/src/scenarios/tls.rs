//! TLS and HTTP/2, on either side.

use super::hot::repeat;
use super::{count, tool_call};
use crate::bench::{Bench, Placement, values};
use crate::certificate::connector;
use crate::load::http1::{Connection, connect_tls, elapsed};
use crate::load::{Measured, Plan, block_on, http2, measure};
use crate::peers::{self, Front, Target};
use crate::rows::{P50, P99, RATE};
use bytes::Bytes;
use http::Request;
use std::rc::Rc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const CPU_EACH: &str = "CPU ms each";

const SECURE: &[&str] = &[peers::PINGORA, peers::NGINX, peers::HAPROXY, peers::CADDY, peers::PORTCULLIS];
/// HTTP/2 to the upstream is something that nginx cannot do.
const H2_UPSTREAM: &[&str] = &[peers::PINGORA, peers::HAPROXY, peers::CADDY, peers::PORTCULLIS];
const HANDSHAKES_AT_ONCE: usize = 4;
const H2_CONNECTIONS: usize = 8;
const H2_AT_ONCE: usize = 32;

pub(super) fn hot(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::Tls, SECURE)?;
    let duration = bench.options.duration;
    for (placement, connections) in [(Placement::OneCore, 1), (Placement::OneCore, 32), (Placement::Split, 32)] {
        if !bench.place(placement)? || (bench.options.quick() && placement == Placement::Split) {
            continue;
        }
        let case = format!("{}, {}", placement.name(), count(connections, "connection"));
        bench.rounds(("tls-hot", &case), &fleet, SECURE, |target| {
            let connector = connector(b"http/1.1")?;
            let call = Rc::new(target.call("/mcp", Some(&target.token), Some(&tool_call())));
            let (address, name) = (target.address, target.server_name());
            let plan = Plan { workers: connections, duration, watch: target.pid() };
            let measured = block_on(measure(plan, |window| {
                let (call, connector, name) = (call.clone(), connector.clone(), name.clone());
                async move { Connection::tls(address, &connector, &name).await?.repeat(call, window).await }
            }))?;
            Ok(values(&measured, target))
        });
    }
    Ok(())
}

/// Whole handshakes: no session is resumed, and the proxy has seen its end when it is counted.
pub(super) fn handshake(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::Tls, SECURE)?;
    bench.place(Placement::OneCore)?;
    let duration = bench.options.duration;
    bench.rounds(("tls-handshake", "one core, 4 at once"), &fleet, SECURE, |target| {
        let connector = connector(b"http/1.1")?;
        let (address, name) = (target.address, target.server_name());
        let plan = Plan { workers: HANDSHAKES_AT_ONCE, duration, watch: target.pid() };
        let measured = block_on(measure(plan, |window| {
            let (connector, name) = (connector.clone(), name.clone());
            async move {
                let mut first = true;
                while !window.over() {
                    let started = Instant::now();
                    let mut stream = connect_tls(address, &connector, &name).await?;
                    window.record(elapsed(started));
                    let _ = stream.shutdown().await;
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest).await;
                    if std::mem::take(&mut first) {
                        window.ready();
                    }
                }
                Ok(())
            }
        }))?;
        Ok(each(&measured))
    });
    Ok(())
}

fn each(measured: &Measured) -> crate::rows::Values {
    vec![
        (RATE, measured.count() / measured.seconds),
        (P50, measured.quantile(0.5)),
        (P99, measured.quantile(0.99)),
        (CPU_EACH, measured.cpu / measured.count() * 1e3),
    ]
}

pub(super) fn h2_hot(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::Tls, SECURE)?;
    let duration = bench.options.duration;
    for placement in [Placement::OneCore, Placement::Split] {
        if !bench.place(placement)? || (bench.options.quick() && placement == Placement::Split) {
            continue;
        }
        let case = format!("{}, {H2_CONNECTIONS} connections, {H2_AT_ONCE} requests at once", placement.name());
        bench.rounds(("h2-hot", &case), &fleet, SECURE, |target| {
            let plan = Plan { workers: H2_AT_ONCE, duration, watch: target.pid() };
            Ok(values(&block_on(over_http2(target, plan))?, target))
        });
    }
    Ok(())
}

async fn over_http2(target: &Target, plan: Plan) -> Result<Measured, String> {
    let connector = connector(b"h2")?;
    let request = Request::post(format!("https://{}/mcp", target.host))
        .header("authorization", format!("Bearer {}", target.token))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2025-11-25");
    let head = request.body(()).map_err(|error| error.to_string())?;
    let call = Rc::new(http2::Call { head, body: Bytes::from(tool_call()) });
    let mut clients = Vec::new();
    for _ in 0..H2_CONNECTIONS {
        clients.push(http2::connect(target.address, &connector, &target.server_name()).await?);
    }
    let next = std::cell::Cell::new(0);
    measure(plan, |window| {
        next.set(next.get() + 1);
        http2::repeat(clients[next.get() % H2_CONNECTIONS].clone(), call.clone(), window)
    })
    .await
}

pub(super) fn h2_upstream(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::H2Upstream, H2_UPSTREAM)?;
    let duration = bench.options.duration;
    bench.place(Placement::OneCore)?;
    for connections in [1, 32] {
        let case = format!("one core, {}", count(connections, "connection"));
        bench.rounds(("h2-upstream", &case), &fleet, H2_UPSTREAM, |target| {
            let call = target.call("/mcp", Some(&target.token), Some(&tool_call()));
            let plan = Plan { workers: connections, duration, watch: target.pid() };
            Ok(values(&repeat(plan, target, call)?, target))
        });
    }
    Ok(())
}

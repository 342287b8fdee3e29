//! The path that most requests take.

use super::{count, tool_call};
use crate::bench::{Bench, Placement, values};
use crate::load::http1::{Call, Connection};
use crate::load::{Measured, Plan, block_on, measure};
use crate::peers::{self, Front, Target};
use std::rc::Rc;

/// Everybody; the fleet of the plain front is started with these.
pub(super) const EVERYBODY: &[&str] = &[
    peers::DIRECT,
    peers::FLOOR,
    peers::PINGORA,
    peers::NGINX,
    peers::HAPROXY,
    peers::HAPROXY_HS256,
    peers::HAPROXY_ES256,
    peers::CADDY,
    peers::AGENTGATEWAY,
    peers::AGENTGATEWAY_ES256,
    peers::PORTCULLIS,
];
const CONNECTIONS: [usize; 3] = [1, 32, 256];

pub(super) fn run(bench: &mut Bench) -> Result<(), String> {
    let fleet = bench.fleet(Front::Plain, EVERYBODY)?;
    let duration = bench.options.duration;
    for placement in [Placement::OneCore, Placement::Split] {
        if !bench.place(placement)? {
            bench.remarks.push(("hot", "This machine has one core: there is no split.".to_owned()));
            continue;
        }
        for connections in CONNECTIONS {
            let usual = connections == 32 || (connections == 1 && placement == Placement::OneCore);
            if bench.options.quick() && !usual {
                continue;
            }
            let case = format!("{}, {}", placement.name(), count(connections, "connection"));
            bench.rounds(("hot", &case), &fleet, EVERYBODY, |target| {
                let call = target.call("/mcp", Some(&target.token), Some(&tool_call()));
                let plan = Plan { workers: connections, duration, watch: target.pid() };
                Ok(values(&repeat(plan, target, call)?, target))
            });
        }
    }
    Ok(())
}

/// One request again and again, on as many connections as are planned.
pub(super) fn repeat(plan: Plan, target: &Target, call: Call) -> Result<Measured, String> {
    let (call, address) = (Rc::new(call), target.address);
    block_on(measure(plan, |window| {
        let call = call.clone();
        async move { Connection::plain(address).await?.repeat(call, window).await }
    }))
}

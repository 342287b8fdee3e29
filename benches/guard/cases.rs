//! What is counted. Every case is run a few times first, so that what is only done once is not in its count.

use super::common::exchange::{COUNTS, Caller, Listener, Upstream};
use super::common::{Bench, inputs};
use futures_util::FutureExt;
use http::{Method, StatusCode};
use portcullis::hostname::{Authority, Label};
use portcullis::proxy::workbench::{self, Answer, Request};
use portcullis::server::Running;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use tokio::runtime::{Builder, Runtime};

/// How often a step is counted; much of what happens now and then happens in it.
const STEPS: u64 = 2000;
/// How often a whole request, or an event, is: in many small blocks, because something beside it runs by the clock (the
/// journal is read four times a second, the audit log written twice). The cheapest block had none of that.
const WHOLE: u64 = 1;
const BLOCKS: u64 = 100;
/// How many requests the audit log takes at once.
const ROWS: u64 = 256;

/// Runs the cases, or the one of this name, and says on standard output in which order callgrind writes them down:
/// `<times> <name>` on a line each.
pub(super) fn run(only: Option<&str>) {
    let directory = tempfile::tempdir().unwrap();
    // One thread: nothing of the gateway may run beside what is counted.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = runtime.block_on(Upstream::start());
    let mut bench = runtime.block_on(Bench::new(directory.path(), upstream.port));
    let counting = Counting { only };
    pure_steps(&counting);
    steps(&counting, &runtime, &bench);
    let bound = bench.bound.take().unwrap();
    let (host, token) = (format!("{}.localhost", bench.label()), bench.token());
    let running = runtime.block_on(Running::start(bench.app.clone(), bound)).unwrap();
    let host = format!("{host}:{}", running.address().port());
    let mut caller = runtime.block_on(Caller::connect(running.address(), &host, &token));
    counting.whole("request", |times| {
        runtime.block_on(caller.exchanges(times));
        settle(&runtime);
    });
    let mut listener = runtime.block_on(Listener::open(running.address(), &host, &token, &upstream));
    counting.whole("event", |times| {
        runtime.block_on(listener.events(times));
        settle(&runtime);
    });
}

/// What is left to do when the caller has its answer belongs to this block, not to the next.
fn settle(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    });
}

/// What depends on its input alone.
fn pure_steps(counting: &Counting<'_>) {
    let label = Label::encode(&Authority::parse("mcp.atlassian.com").unwrap()).unwrap().to_string();
    counting.step("label decode", || Label::parse(&label));
    let (message, event) = (inputs::message(), inputs::event());
    let fields = inputs::request_fields("host", "token");
    counting.step("message peek", || workbench::calls_a_tool(&fields, message.as_bytes()));
    let event = event.as_bytes();
    counting.step("event scan", || workbench::event_boundaries(std::iter::once(event)));
}

/// What asks the parts of a gateway that serves nobody else.
fn steps(counting: &Counting<'_>, runtime: &Runtime, bench: &Bench) {
    let (app, limits, key, token) = (&bench.app, bench.app.limits(), bench.key(), bench.token());
    let arrived = runtime.block_on(bench.arrived(&token));
    let verified = app.tokens.verify(&token).unwrap();
    let credential = runtime.block_on(app.connections.credential(&key)).ok().unwrap();
    counting.step("route", || assert!(arrived.leads_to_an_upstream()));
    counting.step("token cached", || app.tokens.verify(&token).unwrap());
    counting.step("four limiters", || {
        limits.check_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        limits.check_user(key.user).unwrap();
        limits.check_user_upstream(key.user, &bench.authority).unwrap();
        limits.check_client("bench").unwrap();
    });
    counting.step("admission cached", || {
        assert_eq!(arrived.is_admitted(&app.tokens, &limits).now_or_never(), Some(true));
    });
    counting.step("credential", || app.connections.cached(&key).unwrap());
    let request = Request::new(Method::POST, b"/mcp", &inputs::request_fields("host", &token)).unwrap();
    let mut out = Vec::with_capacity(4096);
    counting.step("head to upstream", || {
        out.clear();
        request.write(&mut out, "host", &credential, 300);
    });
    let answer = Answer::new(StatusCode::OK, &inputs::answer_fields()).unwrap();
    counting.step("head to caller", || {
        out.clear();
        answer.write(&mut out, &bench.authority);
    });
    let upstream = bench.upstream();
    let record = || app.audit.request(bench.ended_request(&verified, &upstream));
    counting.step("record", record);
    runtime.block_on(app.audit.flush());
    // What is done in this thread, and later, for the row of each request that calls a tool.
    counting.case("record written", ROWS, 4, |times| {
        (0..times).for_each(|_| record());
        runtime.block_on(app.audit.flush());
    });
}

/// Which cases are wanted.
struct Counting<'a> {
    only: Option<&'a str>,
}

impl Counting<'_> {
    fn step<T>(&self, name: &str, mut step: impl FnMut() -> T) {
        self.case(name, STEPS, 1, |times| (0..times).for_each(|_| drop(black_box(step()))));
    }

    fn whole(&self, name: &str, whole: impl FnMut(u64)) {
        self.case(name, WHOLE, BLOCKS, whole);
    }

    fn case(&self, name: &str, times: u64, blocks: u64, mut work: impl FnMut(u64)) {
        if self.only.is_some_and(|only| only != name) {
            return;
        }
        work((times * blocks).div_ceil(4));
        for _ in 0..blocks {
            // Callgrind may have written for so long that what runs by the clock is due: before the block, not in it.
            work(1);
            println!("{times} {name}");
            COUNTS.store(true, Ordering::Relaxed);
            callgrind_counts(&mut work, times);
            COUNTS.store(false, Ordering::Relaxed);
            callgrind_writes();
        }
    }
}

/// `callgrind.rs` tells callgrind to count below this function only.
#[inline(never)]
fn callgrind_counts(work: &mut dyn FnMut(u64), times: u64) {
    work(times);
    // A tail call would be no call.
    black_box(());
}

/// `callgrind.rs` tells callgrind to write down what it has counted when this function returns.
#[inline(never)]
fn callgrind_writes() {
    black_box(());
}

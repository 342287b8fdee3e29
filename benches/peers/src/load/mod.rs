//! The load generator: closed loops on one thread, every latency kept, the proxy's CPU read at the very moments between which
//! requests are counted.

pub mod events;
pub mod http1;
pub mod http2;
pub mod websocket;

use crate::usage;
use rustix::process::Pid;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

/// Until every worker has had its first answer.
const READY: Duration = Duration::from_secs(20);
/// Then caches and pools settle.
const WARM: Duration = Duration::from_millis(150);
/// What is under way when the time is over comes to its end.
const FINISH: Duration = Duration::from_secs(2);

/// How much load, and whose CPU is read.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub workers: usize,
    pub duration: Duration,
    pub watch: Option<Pid>,
}

/// What was seen between beginning and end.
#[derive(Debug)]
pub struct Measured {
    pub seconds: f64,
    /// Nanoseconds, sorted: as many as there were requests.
    pub samples: Vec<u64>,
    /// CPU seconds of the watched program.
    pub cpu: f64,
}

impl Measured {
    pub fn count(&self) -> f64 {
        self.samples.len() as f64
    }

    /// Microseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        let index = (self.samples.len().saturating_sub(1)) as f64 * share;
        self.samples.get(index.round() as usize).copied().unwrap_or(0) as f64 / 1e3
    }

    /// CPU seconds for 100,000 of them.
    pub fn cpu_per_100k(&self) -> f64 {
        self.cpu / self.count() * 1e5
    }
}

/// What workers share with the one who counts.
#[derive(Debug, Default)]
pub struct Window {
    recording: Cell<bool>,
    over: Cell<bool>,
    ready: Cell<usize>,
    changed: Notify,
    samples: RefCell<Vec<u64>>,
}

impl Window {
    /// A worker calls this once, after its first answer.
    pub fn ready(&self) {
        self.ready.set(self.ready.get() + 1);
        self.changed.notify_one();
    }

    pub fn record(&self, nanoseconds: u64) {
        if self.recording.get() {
            self.samples.borrow_mut().push(nanoseconds);
        }
    }

    /// Workers end when it is over.
    pub fn over(&self) -> bool {
        self.over.get()
    }

    async fn wait(&self, workers: usize) {
        while self.ready.get() < workers {
            self.changed.notified().await;
        }
    }
}

/// Runs one task on this thread to its end.
pub fn block_on<T>(future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.map_err(|error| error.to_string())?, future)
}

/// Starts as many workers as are planned, and counts what they record once all are ready.
///
/// # Errors
///
/// When a worker fails, or is not ready in time.
pub async fn measure<F>(plan: Plan, worker: impl Fn(Rc<Window>) -> F) -> Result<Measured, String>
where
    F: Future<Output = Result<(), String>> + 'static,
{
    let window = Rc::new(Window::default());
    let mut workers = JoinSet::new();
    for _ in 0..plan.workers {
        workers.spawn_local(worker(window.clone()));
    }
    let counting = async {
        timeout(READY, window.wait(plan.workers)).await.map_err(|_| "no answer in time".to_owned())?;
        sleep(WARM).await;
        let (started, before) = (Instant::now(), cpu(plan.watch));
        window.recording.set(true);
        sleep(plan.duration).await;
        window.recording.set(false);
        let (after, seconds) = (cpu(plan.watch), started.elapsed().as_secs_f64());
        window.over.set(true);
        Ok::<_, String>((seconds, after - before))
    };
    tokio::pin!(counting);
    let (seconds, cpu) = tokio::select! {
        counted = &mut counting => counted?,
        error = first_failure(&mut workers) => return Err(error),
    };
    let _ = timeout(FINISH, async { while workers.join_next().await.is_some() {} }).await;
    workers.shutdown().await;
    let mut samples = window.samples.take();
    if samples.is_empty() {
        return Err("nothing was answered".to_owned());
    }
    samples.sort_unstable();
    Ok(Measured { seconds, samples, cpu })
}

async fn first_failure(workers: &mut JoinSet<Result<(), String>>) -> String {
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(error) => return error.to_string(),
        }
    }
    std::future::pending().await
}

fn cpu(watch: Option<Pid>) -> f64 {
    watch.map_or(0.0, usage::cpu_seconds)
}

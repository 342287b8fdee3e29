//! A TCP proxy that misbehaves: on command, or at random from a seed that repeats.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What is done to one connection. Numbers are bytes of the answers, heads and TLS included, before it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is accepted late.
    Late(Duration),
    /// RST.
    Reset(usize),
    /// FIN, both ways.
    Close(usize),
    /// FIN toward the gateway; what it sends is still read.
    HalfClose(usize),
    /// FIN toward the upstream as soon as the first bytes of a request went there.
    HalfCloseRequest,
    /// Nothing more is passed on, and nothing is closed.
    Stall(usize),
    /// Nothing that the gateway sends is read after so many bytes of it.
    StallRequest(usize),
    /// One byte at a time; without a pause, others have their turn in between.
    Drip(Duration),
    /// Bytes that nobody sent.
    Garbage(usize),
    /// So many bytes are missing at this place.
    Gap(usize, usize),
    /// What came in one piece is sent twice.
    Duplicate,
    /// Closed as soon as nothing is under way: what a pool believes to be idle is dead.
    CloseIdle,
}

impl Fault {
    /// Whether the bytes that arrive are those that were sent, as far as they do.
    fn is_honest(self) -> bool {
        !matches!(self, Fault::Garbage(_) | Fault::Gap(..) | Fault::Duplicate)
    }
}

/// A generator of numbers that a seed repeats (SplitMix64).
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// From 0 to `below`, exclusively.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    /// A fault that leaves the bytes as they are, or none.
    pub fn honest_fault(&mut self) -> Fault {
        loop {
            let fault = self.fault();
            if fault.is_honest() {
                return fault;
            }
        }
    }

    /// Any fault, or none.
    pub fn fault(&mut self) -> Fault {
        // Heads end around 150 bytes, JSON answers around 700, streams go on.
        let at = usize::try_from(self.below(900)).unwrap();
        let short = Duration::from_millis(1 + self.below(40));
        match self.below(16) {
            0 => Fault::Late(short),
            1 => Fault::Reset(0),
            2 => Fault::Reset(at),
            3 => Fault::Close(at),
            4 => Fault::HalfClose(at),
            5 => Fault::HalfCloseRequest,
            6 => Fault::Stall(at),
            7 => Fault::StallRequest(at),
            8 => Fault::Drip(Duration::ZERO),
            9 => Fault::Garbage(at),
            10 => Fault::Gap(at, 1 + at % 7),
            11 => Fault::Duplicate,
            12 => Fault::CloseIdle,
            _ => Fault::None,
        }
    }
}

/// How the next connections are treated.
enum Plan {
    Always(Fault),
    Honest(Numbers),
    Anything(Numbers),
}

/// The proxy. Dropping it closes everything.
pub struct ChaosProxy {
    pub port: u16,
    plan: Arc<Mutex<Plan>>,
    task: JoinHandle<()>,
}

impl ChaosProxy {
    /// In front of `upstream` on this machine, and harmless so far.
    pub async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let plan = Arc::new(Mutex::new(Plan::Always(Fault::None)));
        let task = tokio::spawn(accept(listener, upstream, plan.clone()));
        Self { port, plan, task }
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// New connections get this fault.
    pub fn always(&self, fault: Fault) {
        *self.plan.lock() = Plan::Always(fault);
    }

    /// New connections get faults at random, of those that change no bytes.
    pub fn honest(&self, seed: u64) {
        *self.plan.lock() = Plan::Honest(Numbers(seed));
    }

    /// New connections get any fault at random.
    pub fn anything(&self, seed: u64) {
        *self.plan.lock() = Plan::Anything(Numbers(seed));
    }

    /// Closes everything and waits for that.
    pub async fn stop(self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: u16, plan: Arc<Mutex<Plan>>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let fault = match &mut *plan.lock() {
                    Plan::Always(fault) => *fault,
                    Plan::Honest(numbers) => numbers.honest_fault(),
                    Plan::Anything(numbers) => numbers.fault(),
                };
                open.spawn(pass(stream, upstream, fault));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn pass(gateway: TcpStream, upstream: u16, fault: Fault) {
    if let Fault::Late(after) = fault {
        tokio::time::sleep(after).await;
    }
    if fault == Fault::Reset(0) {
        return reset(&gateway);
    }
    let Ok(upstream) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    let (_, _) = (gateway.set_nodelay(true), upstream.set_nodelay(true));
    let (from_gateway, mut to_gateway) = gateway.into_split();
    let (from_upstream, to_upstream) = upstream.into_split();
    let mut other_way = JoinSet::new();
    other_way.spawn(requests(from_gateway, to_upstream, fault));
    let verdict = answers(from_upstream, &mut to_gateway, fault).await;
    match verdict {
        Verdict::Reset => reset(to_gateway.as_ref()),
        Verdict::Close => {}
        // Whoever reads the other way notices when the gateway leaves.
        Verdict::Stay => {
            let _ = to_gateway.shutdown().await;
            other_way.join_next().await;
        }
        Verdict::Silence => drop(other_way.join_next().await),
    }
}

/// What becomes of a connection whose answers have ended.
enum Verdict {
    Reset,
    Close,
    Stay,
    Silence,
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: Fault) {
    let (mut passed, mut piece) = (0, vec![0; 16 * 1024]);
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        passed += read;
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
        match fault {
            Fault::HalfCloseRequest => break,
            // The gateway's buffers fill up; only its own deadline ends that.
            Fault::StallRequest(after) if passed > after => return gone(&from).await,
            _ => {}
        }
    }
    let _ = to.shutdown().await;
    if fault == Fault::HalfCloseRequest {
        gone(&from).await;
    }
}

/// Waits until the peer has closed, reading nothing.
async fn gone(stream: &OwnedReadHalf) {
    while let Ok(ready) = stream.ready(tokio::io::Interest::READABLE | tokio::io::Interest::ERROR).await {
        if ready.is_read_closed() || ready.is_error() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn answers(mut from: OwnedReadHalf, to: &mut OwnedWriteHalf, fault: Fault) -> Verdict {
    let (mut passed, mut piece) = (0, vec![0; 16 * 1024]);
    loop {
        let read = match fault {
            Fault::CloseIdle if passed > 0 => {
                match tokio::time::timeout(Duration::from_millis(10), from.read(&mut piece)).await {
                    Ok(read) => read,
                    Err(_) => return Verdict::Close,
                }
            }
            _ => from.read(&mut piece).await,
        };
        let Ok(read @ 1..) = read else { return Verdict::Stay };
        let (before, bytes) = (passed, &piece[..read]);
        passed += read;
        // The place inside of this piece, if the fault is to happen there.
        let place = |at: usize| (before..passed).contains(&at).then(|| at - before);
        let written = match fault {
            Fault::Reset(at) | Fault::Close(at) | Fault::HalfClose(at) | Fault::Stall(at) if at < passed => {
                let _ = to.write_all(&bytes[..at.saturating_sub(before)]).await;
                return match fault {
                    Fault::Reset(_) => Verdict::Reset,
                    Fault::Close(_) => Verdict::Close,
                    Fault::HalfClose(_) => Verdict::Stay,
                    _ => Verdict::Silence,
                };
            }
            Fault::Drip(every) => drip(to, bytes, every).await,
            Fault::Duplicate => to.write_all(&[bytes, bytes].concat()).await,
            Fault::Garbage(at) if place(at).is_some() => {
                let (head, tail) = bytes.split_at(at - before);
                to.write_all(&[head, b"\xff\x00zz\r\n-1\r\n", tail].concat()).await
            }
            Fault::Gap(at, length) if place(at).is_some() => {
                let (head, tail) = bytes.split_at(at - before);
                to.write_all(&[head, &tail[length.min(tail.len())..]].concat()).await
            }
            _ => to.write_all(bytes).await,
        };
        if written.is_err() {
            return Verdict::Close;
        }
    }
}

async fn drip(to: &mut OwnedWriteHalf, bytes: &[u8], every: Duration) -> std::io::Result<()> {
    // A long answer would take for ever.
    let (slowly, rest) = bytes.split_at(bytes.len().min(400));
    for byte in slowly {
        to.write_all(&[*byte]).await?;
        if every.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(every).await;
        }
    }
    to.write_all(rest).await
}

fn reset(stream: &TcpStream) {
    // Closing with linger 0 sends RST.
    let _ = stream.set_zero_linger();
}

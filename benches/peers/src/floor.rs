//! The least that a proxy can do: bytes from one socket to another, with an epoll loop of its own and nothing else. No proxy that
//! copies through its own memory can be cheaper.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

const LISTENER: u64 = 0;
const BUFFER: usize = 64 * 1024;

/// One of the two sockets of a connection.
struct Half {
    stream: TcpStream,
    other: u64,
    /// What could not be written to this one yet.
    pending: Vec<u8>,
}

struct Floor {
    epoll: OwnedFd,
    halves: HashMap<u64, Half>,
    next: u64,
    upstream: SocketAddr,
    buffer: Vec<u8>,
}

/// `floor ADDRESS UPSTREAM`: copies until it is killed.
pub fn main(arguments: &[String]) -> Result<(), String> {
    let [listen, upstream] = arguments else { return Err("floor ADDRESS UPSTREAM".to_owned()) };
    let upstream = upstream.parse().map_err(|_| format!("{upstream} is no address"))?;
    serve(listen, upstream).map_err(|error| error.to_string())
}

fn serve(listen: &str, upstream: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    // The backlog of 128 that `bind` sets is too short for 256 callers at once.
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut floor = Floor { epoll, halves: HashMap::new(), next: 1, upstream, buffer: vec![0; BUFFER] };
    let mut events = vec![Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 256];
    loop {
        let count = match epoll::wait(&floor.epoll, &mut events, None) {
            Err(rustix::io::Errno::INTR) => continue,
            counted => counted?,
        };
        for event in &events[..count] {
            // The structure is packed: its fields are copied before they are used.
            let (flags, data) = (event.flags, event.data);
            match data.u64() {
                LISTENER => floor.accept(&listener)?,
                half if flags.contains(EventFlags::OUT) => floor.flush(half),
                half => floor.copy(half),
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> std::io::Result<()> {
        while let Ok((caller, _)) = listener.accept() {
            let upstream = TcpStream::connect(self.upstream)?;
            let (first, second) = (self.next, self.next + 1);
            self.next += 2;
            for (id, other, stream) in [(first, second, caller), (second, first, upstream)] {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                epoll::add(&self.epoll, &stream, EventData::new_u64(id), EventFlags::IN)?;
                self.halves.insert(id, Half { stream, other, pending: Vec::new() });
            }
        }
        Ok(())
    }

    /// Moves what `from` has to the other side.
    fn copy(&mut self, from: u64) {
        let Some(half) = self.halves.get(&from) else { return };
        let to = half.other;
        let read = match (&half.stream).read(&mut self.buffer) {
            Ok(read) if read > 0 => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            _ => return self.close(from, to),
        };
        let Some(target) = self.halves.get_mut(&to) else { return };
        let written = match (&target.stream).write(&self.buffer[..read]) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return self.close(from, to),
        };
        if written < read {
            target.pending.extend_from_slice(&self.buffer[written..read]);
            self.listen_to(from, EventFlags::empty());
            self.listen_to(to, EventFlags::OUT);
        }
    }

    /// Writes what had to wait, and goes on once it is gone.
    fn flush(&mut self, to: u64) {
        let Some(target) = self.halves.get_mut(&to) else { return };
        let from = target.other;
        match (&target.stream).write(&target.pending) {
            Ok(written) => drop(target.pending.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.close(from, to),
        }
        if target.pending.is_empty() {
            self.listen_to(from, EventFlags::IN);
            self.listen_to(to, EventFlags::IN);
        }
    }

    fn listen_to(&self, half: u64, flags: EventFlags) {
        if let Some(half_of) = self.halves.get(&half) {
            let _ = epoll::modify(&self.epoll, &half_of.stream, EventData::new_u64(half), flags);
        }
    }

    /// Closed sockets leave the epoll set by themselves.
    fn close(&mut self, one: u64, other: u64) {
        self.halves.remove(&one);
        self.halves.remove(&other);
    }
}

//! From one process to the next: the running one starts its binary again and hands its listening sockets to it over the
//! new one's standard input, a Unix socket. Both then accept from the same queues, so no connection is refused or lost;
//! when the new one says that it is ready, the old one retires.

use super::listen::Socket;
use super::systemd;
use crate::error::Fault;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// The variable that tells a process that its standard input is such a socket; its value is the old one's process id.
const MARK: &str = "PORTCULLIS_TAKES_OVER_FROM";
/// What the new process says when it serves.
const READY: &[u8] = b"ready\n";
/// How long a new process may take to get there.
const PATIENCE: Duration = Duration::from_secs(120);
/// The most sockets that one message carries; the system's own limit is 253.
const MAX_SOCKETS: usize = 64;
/// The most bytes of a message.
const MAX_MESSAGE: usize = 16 * 1024;

/// What goes over the socket before the descriptors, in their order. Newer versions may add to it.
#[derive(Serialize, Deserialize)]
struct Message {
    /// The addresses as they were configured.
    sockets: Vec<SocketAddr>,
}

/// The process that is to take over. One that is dropped before it is ready ends.
pub(super) struct Successor {
    child: Child,
    channel: tokio::net::UnixStream,
    deadline: Instant,
    ready: bool,
}

impl Successor {
    /// Starts `command`, program first, and gives it the sockets.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) fn start(command: &[OsString], sockets: &[Socket]) -> Result<Self, Fault> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(Fault::gateway("it is not known how this program was started"));
        };
        let (ours, theirs) = UnixStream::pair().map_err(Fault::gateway)?;
        let mut command = Command::new(program);
        for variable in systemd::OF_ONE_PROCESS {
            command.env_remove(variable);
        }
        let child = command
            .args(arguments)
            .env(MARK, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|error| Fault::gateway(format!("{} cannot be started: {error}", program.to_string_lossy())))?;
        match send(&ours, sockets) {
            // It has ended already; `ready` will tell how.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            sent => sent.map_err(|error| Fault::gateway(format!("the sockets cannot be handed over: {error}")))?,
        }
        ours.set_nonblocking(true).map_err(Fault::gateway)?;
        let channel = tokio::net::UnixStream::from_std(ours).map_err(Fault::gateway)?;
        Ok(Self { child, channel, deadline: Instant::now() + PATIENCE, ready: false })
    }

    /// Its process id, as long as it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it serves.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Waits until it serves. Can be dropped and called again.
    ///
    /// # Errors
    /// When it has ended instead, or takes too long.
    pub(super) async fn ready(&mut self) -> Result<(), Fault> {
        let mut answer = [0; READY.len()];
        match tokio::time::timeout_at(self.deadline, self.channel.read_exact(&mut answer)).await {
            Ok(Ok(_)) if answer == *READY => {
                self.ready = true;
                Ok(())
            }
            Ok(_) => {
                let status = tokio::time::timeout(Duration::from_secs(1), self.child.wait()).await;
                let status = status.ok().and_then(Result::ok).map_or_else(String::new, |status| format!(" ({status})"));
                Err(Fault::gateway(format!("the new process has ended{status}; what it says above is the reason")))
            }
            Err(_) => Err(Fault::gateway("the new process was not ready in time")),
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.ready {
            // It has ended by itself otherwise.
            let _ = self.child.start_kill();
        }
    }
}

/// The process that this one takes over from.
pub(super) struct Predecessor {
    id: String,
    channel: UnixStream,
}

impl Predecessor {
    /// Finds out whether there is one.
    ///
    /// # Errors
    /// When the environment says so and standard input is something else.
    pub(super) fn find(environment: &BTreeMap<String, String>) -> Result<Option<Self>, Fault> {
        let Some(id) = environment.get(MARK) else { return Ok(None) };
        let channel = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).map_err(Fault::gateway)?;
        channel.set_read_timeout(Some(PATIENCE)).map_err(Fault::gateway)?;
        Ok(Some(Self { id: id.clone(), channel }))
    }

    /// The sockets that it listens on.
    ///
    /// # Errors
    /// When it sends none.
    pub(super) fn sockets(&self) -> Result<Vec<Socket>, Fault> {
        receive(&self.channel).map_err(|error| {
            Fault::gateway(format!(
                "{MARK} is set, but standard input brings no sockets ({error}): remove the variable"
            ))
        })
    }

    /// Tells it that this process serves.
    ///
    /// # Errors
    /// When it has ended or given up: then it was asked to stop, or serves itself, and this one must not.
    pub(super) fn relieve(mut self) -> Result<(), Fault> {
        let told = self.channel.write_all(READY);
        told.map_err(|_| Fault::gateway(format!("process {} does not wait to be relieved any longer", self.id)))?;
        tracing::info!(from = self.id, "this process has taken over");
        Ok(())
    }
}

fn send(channel: &UnixStream, sockets: &[Socket]) -> io::Result<()> {
    let message = Message { sockets: sockets.iter().map(|socket| socket.asked).collect() };
    let text = serde_json::to_vec(&message)?;
    if sockets.len() > MAX_SOCKETS || text.len() > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there are too many"));
    }
    let descriptors: Vec<_> = sockets.iter().map(|socket| socket.listener.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = sendmsg(channel, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn receive(channel: &UnixStream) -> io::Result<Vec<Socket>> {
    let mut text = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(channel, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let message: Message = serde_json::from_slice(&text[..received.bytes])?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = part {
            descriptors.extend(more);
        }
    }
    if descriptors.len() != message.sockets.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "some are missing"));
    }
    let sockets = message.sockets.into_iter().zip(descriptors);
    Ok(sockets.map(|(asked, descriptor)| Socket { asked, listener: TcpListener::from(descriptor) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_arrive_with_the_addresses_that_they_were_asked_for() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let asked: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let sockets: Vec<_> = (0..3).map(|_| Socket { asked, listener: TcpListener::bind(asked).unwrap() }).collect();
        send(&ours, &sockets).unwrap();
        let received = receive(&theirs).unwrap();
        assert_eq!(received.len(), 3);
        for (sent, received) in sockets.iter().zip(&received) {
            assert_eq!(received.asked, asked);
            assert_eq!(received.listener.local_addr().unwrap(), sent.listener.local_addr().unwrap());
        }
    }

    #[test]
    fn anything_else_on_standard_input_is_refused() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"{\"sockets\":[\"127.0.0.1:1\"]}").unwrap();
        assert!(receive(&theirs).is_err());
        drop(ours);
        assert!(receive(&theirs).is_err());
    }
}

//! The protocol of sd_notify(3): datagrams of `NAME=value` lines to the socket that the variable `NOTIFY_SOCKET` names.

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a message may wait for a manager that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever started this process and wants to know how it is; nobody, perhaps.
pub(in crate::server) struct Manager {
    line: Option<Line>,
    watchdog: Option<Duration>,
    part: Mutex<Part>,
}

/// Where its messages go.
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// What this process is to its manager.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The one that serves.
    Main,
    /// The one that served, and ends.
    Ending,
    /// Another process is the main one. What this one says would be refused.
    Relieved,
}

impl Manager {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. What is wrong with them is logged and otherwise the same as
    /// if they were not there: a gateway that serves is worth more than one that can say so.
    pub(in crate::server) fn find(environment: &BTreeMap<String, String>) -> Self {
        let line = environment.get("NOTIFY_SOCKET").and_then(|name| match Line::to(name) {
            Ok(line) => Some(line),
            Err(error) => {
                tracing::warn!(%error, name, "NOTIFY_SOCKET names no socket that can be written to");
                None
            }
        });
        let watchdog = line.as_ref().and_then(|_| watchdog(environment));
        Self { line, watchdog, part: Mutex::new(Part::Main) }
    }

    /// How often it wants to hear that this process works, at the latest.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// What this process is to it.
    pub(super) fn part(&self) -> Part {
        *self.part.lock()
    }

    /// This process serves, or serves again after a change of its configuration.
    pub(in crate::server) fn ready(&self, status: &str) {
        self.tell(|| format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is being read again; [`Manager::ready`] has to follow. The time lets it tell this answer from one to
    /// an earlier request.
    pub(in crate::server) fn reloading(&self) {
        self.tell(|| {
            let now = clock_gettime(ClockId::Monotonic);
            let now = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
            format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading the configuration again")
        });
    }

    /// This process stops. What is under way may take as long as `patience`, which counts instead of the manager's own limit
    /// if that is shorter.
    pub(in crate::server) fn stopping(&self, patience: Duration) {
        self.tell(|| {
            format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}\nSTATUS=ending what is under way", patience.as_micros())
        });
        let mut part = self.part.lock();
        if *part == Part::Main {
            *part = Part::Ending;
        }
    }

    /// Another process has taken over, and is the main one from here on. From this message the time runs within which that
    /// one has to say that it works: what it said before it was the main one was not heard.
    pub(in crate::server) fn relieved_by(&self, process: u32) {
        self.tell(|| format!("MAINPID={process}\nWATCHDOG=1\nSTATUS=serving; the process before this one drains"));
        *self.part.lock() = Part::Relieved;
    }

    /// This process works; `status` says how well.
    pub(super) fn works(&self, status: Option<&str>) {
        self.tell(|| match status {
            Some(status) => format!("WATCHDOG=1\nSTATUS={status}"),
            None => "WATCHDOG=1".to_owned(),
        });
    }

    fn tell(&self, message: impl FnOnce() -> String) {
        let Some(line) = self.line.as_ref().filter(|_| self.part() != Part::Relieved) else { return };
        if let Err(error) = line.socket.send_to_addr(message().as_bytes(), &line.address) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

impl Line {
    fn to(name: &str) -> io::Result<Self> {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
            None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it begins with neither / nor @")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, address })
    }
}

/// sd_watchdog_enabled(3): of another process when `WATCHDOG_PID` says so.
fn watchdog(environment: &BTreeMap<String, String>) -> Option<Duration> {
    let ours = std::process::id().to_string();
    if environment.get("WATCHDOG_PID").is_some_and(|process| *process != ours) {
        return None;
    }
    let time = environment.get("WATCHDOG_USEC")?;
    let parsed = time.parse().ok().filter(|microseconds| *microseconds > 0).map(Duration::from_micros);
    if parsed.is_none() {
        tracing::warn!(time, "WATCHDOG_USEC is not a number of microseconds");
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> Manager {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Manager::find(&environment)
    }

    fn heard(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut text = [0; 4096];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    fn silent(socket: &UnixDatagram) -> bool {
        socket.set_nonblocking(true).unwrap();
        let heard = socket.recv(&mut [0; 8]);
        socket.set_nonblocking(false).unwrap();
        heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    #[test]
    fn every_change_is_told_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = manager(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "3000000")]);
        assert_eq!(manager.watchdog(), Some(Duration::from_secs(3)));
        manager.ready("serving");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=serving");
        manager.reloading();
        let reloading = heard(&socket);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().lines().next().unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{reloading}");
        manager.works(None);
        assert_eq!(heard(&socket), "WATCHDOG=1");
        manager.stopping(Duration::from_secs(30));
        assert_eq!(heard(&socket).lines().take(2).collect::<Vec<_>>(), ["STOPPING=1", "EXTEND_TIMEOUT_USEC=30000000"]);
        assert!(manager.part() == Part::Ending);
    }

    #[test]
    fn whoever_was_relieved_says_nothing_more() {
        let name = format!("portcullis-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let manager = manager(&[("NOTIFY_SOCKET", &format!("@{name}"))]);
        assert_eq!(manager.watchdog(), None);
        manager.relieved_by(42);
        assert!(heard(&socket).starts_with("MAINPID=42\nWATCHDOG=1\n"));
        manager.works(None);
        manager.stopping(Duration::ZERO);
        assert!(silent(&socket));
        assert!(manager.part() == Part::Relieved);
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        for variables in [
            &[][..],
            &[("NOTIFY_SOCKET", "relative"), ("WATCHDOG_USEC", "1")],
            &[("NOTIFY_SOCKET", "vsock:2:1"), ("WATCHDOG_USEC", "1")],
            &[("NOTIFY_SOCKET", "/nowhere/at/all")],
            &[("NOTIFY_SOCKET", "/nowhere/at/all"), ("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", "1")],
            &[("NOTIFY_SOCKET", "/nowhere/at/all"), ("WATCHDOG_USEC", "soon")],
        ] {
            let manager = manager(variables);
            assert_eq!(manager.watchdog(), None, "{variables:?}");
            manager.ready("serving");
        }
    }
}

//! What a service manager hears of the program, and the sockets that it gives to it.

use crate::process::{Machine, PATIENCE, Server, wait_for};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixDatagram;
use tokio::process::Command;

/// The end of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    /// The next message that is not about the watchdog alone.
    async fn hears(&self) -> String {
        loop {
            let message = self.hears_anything().await;
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    async fn hears_anything(&self) -> String {
        let mut text = [0; 4096];
        let heard = tokio::time::timeout(PATIENCE, self.0.recv(&mut text)).await;
        String::from_utf8(text[..heard.expect("nothing is said").unwrap()].to_vec()).unwrap()
    }
}

fn value<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name} in {message:?}"))
}

/// Ends a process that is not our child, however the test ends.
struct Orphan(String);

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").args(["-KILL", &self.0]).stderr(Stdio::null()).status();
    }
}

#[tokio::test]
async fn a_service_manager_hears_of_every_step() {
    let machine = Machine::new();
    let path = machine.path("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    let file = machine.write("portcullis.toml", "");
    let mut command = machine.command(&["serve", "-c", &file]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let server = Server::start(command, "(http").await;
    let ready = manager.hears().await;
    assert_eq!(value(&ready, "READY"), "1");
    assert!(value(&ready, "STATUS").starts_with(&format!("serving {} on 127.0.0.1:", server.root())), "{ready}");
    for _ in 0..3 {
        assert_eq!(manager.hears_anything().await, "WATCHDOG=1");
    }

    server.tell("-HUP").await;
    let reloading = manager.hears().await;
    assert_eq!(value(&reloading, "RELOADING"), "1");
    assert!(value(&reloading, "MONOTONIC_USEC").parse::<u64>().unwrap() > 0);
    assert_eq!(value(&manager.hears().await, "READY"), "1");
    machine.write("portcullis.toml", "nonsense = 1\n");
    server.tell("-HUP").await;
    assert_eq!(value(&manager.hears().await, "RELOADING"), "1");
    let ready = manager.hears().await;
    assert_eq!(value(&ready, "READY"), "1", "it goes on");
    assert!(value(&ready, "STATUS").contains("errors"), "{ready}");
    machine.write("portcullis.toml", "");

    server.tell("-USR2").await;
    let (mut successor, mut new_is_ready) = (None, false);
    while successor.is_none() || !new_is_ready {
        let message = manager.hears().await;
        match message.strip_prefix("MAINPID=") {
            Some(rest) => successor = Some(Orphan(rest.lines().next().unwrap().to_owned())),
            // Edits are noticed, too.
            None => new_is_ready |= message.starts_with("READY=1"),
        }
    }
    let successor = successor.unwrap();
    assert_ne!(successor.0, server.child.id().unwrap().to_string());
    for _ in 0..3 {
        manager.hears_anything().await;
    }
    assert!(Command::new("kill").args(["-TERM", &successor.0]).status().await.unwrap().success());
    let stopping = loop {
        let message = manager.hears().await;
        if message.starts_with("STOPPING=1") {
            break message;
        }
    };
    assert!(value(&stopping, "EXTEND_TIMEOUT_USEC").parse::<u64>().unwrap() >= 30_000_000, "the drain");
}

#[tokio::test]
async fn abstract_sockets_are_written_to_as_well() {
    let machine = Machine::new();
    let name = format!("portcullis-{}", machine.home.path().file_name().unwrap().to_str().unwrap());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let manager = Manager(UnixDatagram::from_std(socket).unwrap());
    let mut command = machine.command(&["serve"]);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let server = Server::start(command, "(http").await;
    assert!(manager.hears().await.starts_with("READY=1\n"));
    assert_eq!(server.signal("-TERM").await.code(), Some(0));
    assert!(manager.hears_anything().await.starts_with("STOPPING=1\n"), "no watchdog was asked for");
}

/// The program with a socket as its fourth file, as systemd starts it.
fn with_socket(machine: &Machine, socket: TcpListener, listen: SocketAddr, process: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_portcullis");
    let mut command = machine.command(&[]);
    let shell =
        format!("export LISTEN_PID={process} LISTEN_FDS=1 LISTEN_FDNAMES=https; exec {program} serve 3<&0 </dev/null");
    *command.as_std_mut() = {
        let mut shell_command = std::process::Command::new("/bin/sh");
        shell_command.args(["-c", &shell]).env_clear();
        for (name, value) in command.as_std().get_envs() {
            shell_command.env(name, value.unwrap_or_default());
        }
        shell_command
    };
    command
        .env("PORTCULLIS__SERVER__LISTEN", listen.to_string())
        .current_dir(machine.home.path())
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_given_socket_is_used_instead_of_binding_and_outlives_an_upgrade() {
    let machine = Machine::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // Before the program runs: that is what such sockets are for.
    let early = TcpStream::connect(address).unwrap();
    let mut server = Server::start(with_socket(&machine, socket, address, "$$"), "(http").await;
    assert!(answers(early));
    let mut log = BufReader::new(server.child.stderr.take().unwrap()).lines();
    server.tell("-USR2").await;
    let line = wait_for(&mut log, "starting the process").await;
    let id: String = line.split("process=").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let successor = Orphan(id);
    wait_for(&mut log, "this process has taken over").await;
    tokio::time::timeout(PATIENCE, server.child.wait()).await.expect("the old one ends").unwrap();
    assert!(answers(TcpStream::connect(address).unwrap()));
    assert!(Command::new("kill").args(["-TERM", &successor.0]).status().await.unwrap().success());
    let refused = async {
        while TcpStream::connect(address).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("something else holds the socket");
}

#[tokio::test]
async fn a_socket_that_is_not_asked_for_is_named_and_one_for_another_process_is_not_touched() {
    let machine = Machine::new();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    for (process, expected) in [("$$", true), ("1", false)] {
        let socket = TcpListener::bind(any).unwrap();
        let address = socket.local_addr().unwrap();
        let mut server = Server::start(with_socket(&machine, socket, any, process), "(http").await;
        assert_ne!(server.root().rsplit(':').next().unwrap(), address.port().to_string());
        let mut log = BufReader::new(server.child.stderr.take().unwrap()).lines();
        let line = loop {
            let line = log.next_line().await.unwrap().unwrap();
            if line.contains("socket unit") || line.contains("listening") {
                break line;
            }
        };
        assert_eq!(line.contains("socket unit"), expected, "{line}");
        if expected {
            assert!(line.contains("https") && line.contains(&address.to_string()), "{line}");
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused, "it is closed");
        }
        assert_eq!(server.signal("-TERM").await.code(), Some(0));
    }
}

fn answers(mut stream: TcpStream) -> bool {
    use std::io::{Read, Write};
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.starts_with("HTTP/1.1 200 ")
}

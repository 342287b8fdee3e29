//! Programs as the real executable runs them: with limits, to their end whatever happens to the gateway, at the hostname of an alias
//! with the full sign-in, and through the bridge.

use crate::client::{Client, send};
use crate::gateway::{PASSWORD, USER};
use crate::process::{Machine, Server};
use crate::speaker::{Speaker, pool};
use http::{Method, StatusCode};
use portcullis::devkit::browser::Browser;
use portcullis::mcp::era::Era;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
const SOON: Duration = Duration::from_secs(20);
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#;
const HEADERS: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

async fn bridge(machine: &Machine, options: &[&str], command: &[&str]) -> Server {
    let arguments = [&["bridge", "--listen", "127.0.0.1:0"], options, &["--"], command].concat();
    Server::start(machine.command(&arguments), "listening on 127.0.0.1:").await
}

/// The status of an answer.
async fn status(method: Method, url: &str, fields: &[(&str, &str)], body: &str) -> StatusCode {
    send(&Browser::new().unwrap(), method, url, fields, Some(body.to_owned())).await.status
}

/// Waits for what a program writes into a file.
async fn written(machine: &Machine, name: &str) -> String {
    let path = machine.path(name);
    let read = async {
        loop {
            match std::fs::read_to_string(&path) {
                Ok(text) if text.ends_with("end\n") => return text.trim_end_matches("end\n").to_owned(),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(SOON, read).await.unwrap_or_else(|_| panic!("nothing was written into {name}"))
}

async fn gone(process: &str) {
    let stat = Path::new("/proc").join(process).join("stat");
    let is_alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let wait = async {
        while is_alive() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("process {process} goes on"));
}

/// A program that neither listens nor answers, and what it has started. Their numbers are in `pids`.
const DEAF: [&str; 3] = ["sh", "-c", "sleep 1000 & echo $! > pids; echo $$ >> pids; echo end >> pids; exec sleep 1000"];

/// Starts a program behind a bridge by asking for it.
async fn asked(machine: &Machine, command: &[&str]) -> Server {
    let server = bridge(machine, &[], command).await;
    let url = server.root();
    tokio::spawn(async move { status(Method::POST, &url, &HEADERS, INITIALIZE).await });
    server
}

#[tokio::test]
async fn nothing_outlives_a_gateway_that_is_killed() {
    let machine = Machine::new();
    let mut server = asked(&machine, &DEAF).await;
    let pids = written(&machine, "pids").await;
    server.child.kill().await.unwrap();
    for process in pids.lines() {
        gone(process).await;
    }
}

#[tokio::test]
async fn an_interrupted_bridge_ends_its_program() {
    let machine = Machine::new();
    let server = asked(&machine, &DEAF).await;
    let pids = written(&machine, "pids").await;
    assert!(server.signal("-INT").await.success());
    for process in pids.lines() {
        gone(process).await;
    }
}

#[tokio::test]
async fn a_program_has_limits_and_gets_what_was_passed_on_purpose() {
    let machine = Machine::new();
    let script = "{ ulimit -c; ulimit -n; umask; grep NoNewPrivs /proc/self/status; env | sort; ls -l /proc/self/fd | grep -c socket; echo end; } > limits; exec sleep 1000";
    let mut command =
        machine.command(&["bridge", "--listen", "127.0.0.1:0", "-e", "A=b", "-e", "KNOWN", "--", "sh", "-c", script]);
    command.env("KNOWN", "here").env("SECRET_OF_OURS", "hunter2").env("PATH", "/usr/bin:/bin");
    let server = Server::start(command, "listening on 127.0.0.1:").await;
    let url = server.root();
    tokio::spawn(async move { status(Method::POST, &url, &HEADERS, INITIALIZE).await });
    let limits = written(&machine, "limits").await;
    let lines: Vec<&str> = limits.lines().map(str::trim).collect();
    assert_eq!(lines[..4], ["0", "4096", "0077", "NoNewPrivs:\t1"], "{limits}");
    assert!(
        lines.contains(&"A=b") && lines.contains(&"KNOWN=here") && lines.contains(&"PATH=/usr/bin:/bin"),
        "{limits}"
    );
    assert!(!limits.contains("hunter2") && !limits.contains("PORTCULLIS"), "{limits}");
    assert_eq!(lines.last(), Some(&"0"), "it inherits no socket of ours: {limits}");
}

#[tokio::test]
async fn a_bridge_serves_both_eras_and_clients_of_2024() {
    let machine = Machine::new();
    let server = bridge(&machine, &[], &[PROGRAM, "demo-stdio"]).await;
    let url = server.root();
    for era in [Era::Legacy, Era::Modern] {
        let speaker = Speaker::new(&pool(), &url, "", era).await;
        assert!(speaker.tools().await.contains(&"echo".to_owned()), "{era:?}");
    }
    let legacy = Speaker::new(&pool(), &url, "", Era::Legacy).await;
    let answer = legacy.call(7, "echo", json!({ "text": "over a pipe" })).await;
    assert_eq!(answer["structuredContent"]["text"], json!("over a pipe"), "{answer}");
    let evil = [("host", "evil.example"), HEADERS[0], HEADERS[1]];
    assert_eq!(status(Method::POST, &url, &evil, INITIALIZE).await, StatusCode::FORBIDDEN);
    let evil = [("origin", "https://evil.example"), HEADERS[0], HEADERS[1]];
    assert_eq!(status(Method::POST, &url, &evil, INITIALIZE).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_a_bridge_cannot_do_is_said_with_the_fix() {
    let machine = Machine::new();
    for (arguments, fix) in [
        (&["bridge", "--", "no-such-program"][..], "install it, or give its whole path"),
        (&["bridge", "--listen", "0.0.0.0:0", "--", "sh"], "--allowed-host"),
        (&["bridge", "-e", "NOT_SET_HERE", "--", "sh"], "-e NOT_SET_HERE=VALUE"),
    ] {
        let output = machine.run_with_input(arguments, "").await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(fix), "{error}");
    }
    assert_eq!(machine.run_with_input(&["bridge"], "").await.status.code(), Some(2));
}

#[tokio::test]
async fn a_program_has_a_hostname_with_the_full_sign_in() {
    let machine = Machine::new();
    let text = format!(
        "[server]\ndomain = \"localhost\"\n[tls]\nmode = \"off\"\n[[upstream]]\nalias = \"notes\"\nname = \"Notes\"\n\
         command = [\"{PROGRAM}\", \"demo-stdio\"]\n"
    );
    let file = machine.write("portcullis.toml", &text);
    let add = ["-c", &file, "user", "add", USER, "--admin", "--password-stdin"];
    assert!(machine.run_with_input(&add, &format!("{PASSWORD}\n")).await.status.success());
    let server = Server::start(machine.command(&["serve", "-c", &file]), "(http").await;
    let url = server.root().replace("http://", "http://notes.") + "/mcp";
    // Discovery, registration, sign-in, consent, token; nobody is asked to connect anything.
    let client = Client::ready(&url).await;
    let token = client.connect().await.access;
    for era in [Era::Legacy, Era::Modern] {
        let speaker = Speaker::new(&pool(), &url, &token, era).await;
        let tools = speaker.tools().await;
        assert!(tools.contains(&"echo".to_owned()), "its own names: {tools:?}");
    }
    let encoded = |text: &str| format!("{}/encode?domain={text}", server.root());
    let accept = [("accept", "application/json")];
    assert_eq!(status(Method::GET, &encoded("notes.stdio.invalid"), &accept, "").await, StatusCode::BAD_REQUEST);
    let listed = machine.run_with_input(&["-c", &file, "--json", "upstream", "list"], "").await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let notes = listed.as_array().unwrap().iter().find(|one| one["alias"] == "notes").expect("it is listed");
    assert_eq!((&notes["domain"], &notes["program"]), (&json!("notes.stdio.invalid"), &json!("portcullis")), "{notes}");
}

//! Real children: well-behaved ones, and every kind of the others.

mod endings;
mod places;

use super::*;
use crate::config::UpstreamAuth;
use crate::mcp::rpc::Rpc;
use crate::upstream::{Access, Kind, Standing};
use bytes::Bytes;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// What the tests put on a channel.
type Shared = tokio::sync::Mutex<Channel>;

/// Answers every message with itself.
const ECHO: &str = "while read -r line; do printf '%s\\n' \"$line\"; done";
/// How long something may take that takes no time at all.
const SOON: Duration = Duration::from_secs(20);

struct Trial {
    processes: Processes<Shared>,
    directory: TempDir,
}

impl Trial {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut config::Stdio)) -> Self {
        let millis = Duration::from_millis;
        let pace = Pace {
            pause: millis(300),
            longest_pause: millis(600),
            healthy: Duration::from_secs(60),
            grace: millis(300),
            patience: millis(300),
        };
        let directory = tempfile::tempdir().unwrap();
        let mut settings = config::Stdio { directory: Some(directory.path().to_owned()), ..config::Stdio::default() };
        change(&mut settings);
        let metrics = Arc::new(Metrics::default());
        Self { processes: Processes::with_pace(settings, metrics, None, pace), directory }
    }

    async fn attach(&self, upstream: &Upstream, person: u8) -> Result<Attached<Shared>, Refused> {
        self.attach_with(upstream, person, &[]).await
    }

    async fn attach_with(
        &self,
        upstream: &Upstream,
        person: u8,
        secrets: &[(&str, &str)],
    ) -> Result<Attached<Shared>, Refused> {
        let key = ConnectionKey::upstream(user(person), upstream.authority.clone(), None);
        let secrets = secrets.iter().map(|(k, v)| ((*k).to_owned(), Secret::new((*v).to_owned()))).collect();
        self.processes.attach(upstream, &key, secrets, Shared::new).await
    }

    fn metric(&self, line: &str) -> bool {
        self.processes.inner.metrics.encode().lines().any(|found| found == line)
    }
}

impl Attached<Shared> {
    async fn send(&self, message: &str) {
        let sender = self.shared().lock().await.outgoing.clone();
        sender.send(Bytes::copy_from_slice(message.as_bytes())).await.expect("the process has ended");
    }

    async fn receive(&self) -> Option<String> {
        let received = tokio::time::timeout(SOON, async { self.shared().lock().await.incoming.recv().await });
        received.await.expect("no message").map(|message| String::from_utf8(message.to_vec()).unwrap())
    }

    async fn end(&self) -> Ending {
        tokio::time::timeout(SOON, self.ended().wait()).await.expect("it goes on")
    }

    /// A number that the program sends.
    async fn number(&self) -> u32 {
        self.receive().await.expect("no message").trim_matches(['[', ']']).parse().expect("no number")
    }
}

fn user(number: u8) -> UserId {
    UserId([number; 16])
}

/// An upstream that is a shell script.
fn script(text: &str) -> Upstream {
    script_with(text, |_| {})
}

fn script_with(text: &str, change: impl FnOnce(&mut Command)) -> Upstream {
    let mut command = Command {
        program: "sh".into(),
        args: vec!["-c".to_owned(), text.to_owned()],
        search_path: "/usr/bin:/bin".to_owned(),
        env: Vec::new(),
        secrets: Vec::new(),
        personal_env: Vec::new(),
        cwd: None,
        processes: Sharing::Person,
        idle: None,
        memory: None,
    };
    change(&mut command);
    Upstream {
        authority: Authority::of_program("test").unwrap(),
        name: "Test".to_owned(),
        alias: Some("test".to_owned()),
        kind: Kind::Stdio(Arc::new(command)),
        path: None,
        auth: Arc::new(UpstreamAuth::None),
        allow_private: false,
        standing: Standing::Allowed,
        access: Access::Everybody,
        tools: None,
    }
}

/// Waits until a process is no more: neither running nor a zombie of ours. Whose parent does not look after it may stay one.
async fn gone(number: u32) {
    let stat = Path::new("/proc").join(number.to_string()).join("stat");
    let ours = format!(" {} ", std::process::id());
    let is_there = || {
        fs::read_to_string(&stat).is_ok_and(|stat| {
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            !rest.starts_with(" Z") || rest[2..].starts_with(&ours)
        })
    };
    let wait = async {
        while is_there() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("process {number} is still there"));
}

#[tokio::test]
async fn messages_go_both_ways() {
    let trial = Trial::new();
    let attached = trial.attach(&script(ECHO), 1).await.unwrap();
    attached.send(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
    assert!(matches!(Rpc::parse(attached.receive().await.unwrap().as_bytes()), Ok(Rpc::Request(_))));
    attached.send("{\"a\":\r\n1}").await;
    assert_eq!(attached.receive().await.as_deref(), Some("{\"a\":  1}"), "one message is one line");
    let long = format!("[\"{}\"]", "x".repeat(300_000));
    attached.send(&long).await;
    assert_eq!(attached.receive().await.unwrap(), long);
    trial.processes.stop().await;
    assert_eq!(attached.end().await.public, "the gateway stops");
    assert_eq!(attached.receive().await, None);
    assert!(trial.attach(&script(ECHO), 1).await.is_err(), "a gateway that stops starts nothing");
}

#[tokio::test]
async fn lines_that_are_no_message_are_skipped() {
    let trial = Trial::new();
    let text = "echo Starting...; echo; echo '{broken'; printf ' {\"a\":1} \\r\\n'; echo '[1]'; echo 7; printf '[2]'";
    let attached = trial.attach(&script(text), 1).await.unwrap();
    assert_eq!(attached.receive().await.as_deref(), Some("{\"a\":1}"));
    assert_eq!(attached.receive().await.as_deref(), Some("[1]"));
    assert_eq!(attached.receive().await, None, "what has no newline is not complete");
}

#[tokio::test]
async fn a_person_has_a_process_and_everybody_may_share_one() {
    let trial = Trial::new();
    let own = script("echo [$$]; cat >/dev/null");
    let (one, other) = (trial.attach(&own, 1).await.unwrap(), trial.attach(&own, 2).await.unwrap());
    let again = trial.attach(&own, 1).await.unwrap();
    assert!(Arc::ptr_eq(one.shared(), again.shared()) && !Arc::ptr_eq(one.shared(), other.shared()));
    assert_ne!(one.number().await, other.number().await);
    let shared = Upstream {
        authority: Authority::of_program("shared").unwrap(),
        ..script_with(ECHO, |command| command.processes = Sharing::Everybody)
    };
    let (one, other) = (trial.attach(&shared, 1).await.unwrap(), trial.attach(&shared, 2).await.unwrap());
    assert!(Arc::ptr_eq(one.shared(), other.shared()));
    assert_eq!(trial.processes.running(), 3);
    assert!(trial.metric("portcullis_stdio_processes 3"));
    trial.processes.stop().await;
    assert_eq!(trial.processes.running(), 0);
    assert!(trial.metric("portcullis_stdio_exits_total{outcome=\"succeeded\"} 3"));
}

#[tokio::test]
async fn many_who_ask_at_once_get_one_process() {
    let trial = Arc::new(Trial::new());
    let upstream = Arc::new(script("echo [$$]; cat >/dev/null"));
    let ask = |_| {
        let (trial, upstream) = (trial.clone(), upstream.clone());
        tokio::spawn(async move { trial.attach(&upstream, 1).await.unwrap() })
    };
    let all = futures_util::future::join_all((0..20).map(ask)).await;
    let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert!(all.iter().all(|one| Arc::ptr_eq(one.shared(), all[0].shared())));
    assert!(trial.metric("portcullis_stdio_starts_total 1"));
}

#[tokio::test]
async fn a_program_knows_nothing_of_our_environment() {
    let trial = Trial::new();
    let upstream = script_with(
        "printf '[\"%s\"]\\n' \"$(env | sort | tr '\\n' ';')\"; pwd | sed 's/.*/[\"&\"]/'; cat",
        |command| {
            command.env = vec![("GREETING".to_owned(), "hello".to_owned())];
            command.secrets = vec![("FILED".to_owned(), Secret::new("from a file".to_owned()))];
        },
    );
    let attached = trial.attach_with(&upstream, 1, &[("TOKEN", "personal")]).await.unwrap();
    let home = trial.directory.path().join("test").join(user(1).to_string());
    let home = home.display();
    let expected = format!(
        "[\"FILED=from a file;GREETING=hello;HOME={home};LANG=C.UTF-8;PATH=/usr/bin:/bin;PWD={home};TMPDIR={home}/tmp;TOKEN=personal;\"]"
    );
    assert_eq!(attached.receive().await.unwrap().replace("SHLVL=0;", "").replace("_=/usr/bin/env;", ""), expected);
    assert_eq!(attached.receive().await.unwrap(), format!("[\"{home}\"]"));
}

#[tokio::test]
async fn other_secrets_are_another_process() {
    let trial = Trial::new();
    let upstream = script("printf '[\"%s\"]\\n' \"$TOKEN\"; cat >/dev/null");
    let first = trial.attach_with(&upstream, 1, &[("TOKEN", "a")]).await.unwrap();
    assert_eq!(first.receive().await.as_deref(), Some("[\"a\"]"));
    let second = trial.attach_with(&upstream, 1, &[("TOKEN", "b")]).await.unwrap();
    assert_eq!(first.end().await.public, "its configuration or its secrets changed");
    assert_eq!(second.receive().await.as_deref(), Some("[\"b\"]"));
    let other = script("echo '[3]'; cat >/dev/null");
    let third = trial.attach_with(&other, 1, &[("TOKEN", "b")]).await.unwrap();
    assert_eq!(third.receive().await.as_deref(), Some("[3]"));
    second.end().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_reported_and_not_tried_at_once() {
    let trial = Trial::new();
    let upstream = script_with("", |command| command.program = "/no/such/program".into());
    let first = trial.attach(&upstream, 1).await.err().expect("it is not there");
    assert!(first.fault.private.contains("No such file"), "{:?}", first.fault);
    assert_eq!(first.fault.public, "the program of Test has failed: it could not be started");
    let second = trial.attach(&upstream, 1).await.err().expect("it is too early");
    assert!(second.retry_after.is_some() && second.fault.public.contains("it is started again in 1 s"));
    assert_eq!(trial.processes.running(), 0);
}

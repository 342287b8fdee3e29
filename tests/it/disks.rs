//! The disk of the database is full, fails while it is written to, or was never to be written to. Nothing is promised that is not
//! kept, whoever has a token is served, and nobody has lost one afterwards.

use crate::client::{Client, Tokens, send};
use crate::gateway::{PASSWORD, USER, label};
use crate::namespace::{after, in_a_namespace};
use crate::process::{Machine, Server};
use crate::program::{Gateway, LIST, notes};
use crate::raw::{Caller, PATIENCE, RawUpstream, post, status};
use http::Method;
use std::time::Duration;

/// Between two answers of the upstream.
const BEAT: Duration = Duration::from_millis(100);

/// Somebody with tokens, and somebody with a code and none yet, at a gateway with a disk of its own.
struct Tried {
    server: Server,
    notes: RawUpstream,
    port: u16,
    client: Client,
    tokens: Tokens,
    doomed: Client,
    code: String,
}

impl Tried {
    async fn on(disk: &str, machine: &Machine) -> Self {
        let notes = notes(BEAT).await;
        let server = serve(disk, machine, &notes, 0).await;
        let port = server.root().rsplit(':').next().unwrap().parse().unwrap();
        let url = format!("http://{}.localhost:{port}/mcp", label(&notes.authority));
        let client = Client::ready(&url).await;
        let (tokens, doomed) = (client.connect().await, Client::ready(&url).await);
        let code = doomed.authorize().await.code.unwrap();
        Self { server, notes, port, client, tokens, doomed, code }
    }

    async fn register(&self) -> u16 {
        const METADATA: &str =
            r#"{"redirect_uris":["http://127.0.0.1:33333/callback"],"token_endpoint_auth_method":"none"}"#;
        let endpoint = self.client.endpoint("registration_endpoint");
        let fields = [("content-type", "application/json")];
        send(&self.client.browser, Method::POST, &endpoint, &fields, Some(METADATA.to_owned())).await.status.as_u16()
    }

    async fn revoke(&self) -> u16 {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("token", self.tokens.refresh.as_str()), ("client_id", &self.client.client_id)])
            .finish();
        let endpoint = self.client.endpoint("revocation_endpoint");
        send(&self.client.browser, Method::POST, &endpoint, &[], Some(form)).await.status.as_u16()
    }

    async fn call(&self, access_token: &str) -> u16 {
        let host = format!("{}.localhost:{}", label(&self.notes.authority), self.port);
        let mut caller = Caller::connect(self.port).await;
        status(&caller.send(post(&host, access_token, LIST)).await.response().await.0)
    }

    /// While nothing can be written.
    async fn nothing_is_promised(&self) {
        let spent = self.doomed.token_request(&self.doomed.code_parameters(&self.code)).await;
        assert!(spent.0.is_server_error(), "{spent:?}");
        let refreshed = self.client.refresh(&self.tokens.refresh).await;
        assert!(refreshed.0.is_server_error(), "{refreshed:?}");
        let revoked = self.revoke().await;
        assert!(matches!(revoked, 500 | 503), "{revoked}: what cannot be written is not promised");
        assert_eq!(self.call(&self.tokens.access).await, 200, "who has a token is served");
    }

    /// Once it can be again.
    async fn nothing_is_lost(&self) {
        let (status, answer) = self.client.refresh(&self.tokens.refresh).await;
        assert_eq!(status, 200, "{answer}");
        let bought = self.doomed.exchange(&self.code).await;
        assert_eq!(self.call(&bought.access).await, 200, "the code was not lost");
        assert_eq!(self.register().await, 201);
        assert_eq!(self.revoke().await, 200);
        assert_eq!(self.call(&self.tokens.access).await, 401);
    }
}

/// The program with its state on a disk that these commands mount, with the one person who signs in here.
async fn serve(disk: &str, machine: &Machine, notes: &RawUpstream, port: u16) -> Server {
    let mut command = Gateway::command(machine, &["serve"], &[&notes.authority]);
    command.env("PORTCULLIS__SERVER__LISTEN", format!("127.0.0.1:{port}"));
    for limit in ["TOKEN_ENDPOINT", "REGISTRATION"] {
        command.env(format!("PORTCULLIS__LIMITS__{limit}"), "100000/s");
    }
    let (state, program) = (state(machine), env!("CARGO_BIN_EXE_portcullis"));
    let preparation = format!(
        "mkdir -p {state}; {disk}; chmod 700 {state}; test -e {state}/portcullis.db || \
         echo '{PASSWORD}' | {program} user add {USER} --admin --password-stdin >/dev/null || exit 9"
    );
    let mut server = Server::start(in_a_namespace(&after(&preparation, &command)), "(http").await;
    // Somebody has to read the log.
    let mut log = server.child.stderr.take().unwrap();
    tokio::spawn(async move { tokio::io::copy(&mut log, &mut tokio::io::sink()).await });
    server
}

fn state(machine: &Machine) -> String {
    machine.path("portcullis").display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts, which takes root: make test-root"]
async fn a_full_disk_makes_no_promises_and_costs_nobody_a_token() {
    let machine = Machine::new();
    let disk = format!("mount -t tmpfs -o size=24m tmpfs {} || exit 9", state(&machine));
    let tried = Tried::on(&disk, &machine).await;

    let process = tried.server.child.id().unwrap();
    let fill = format!("/proc/{process}/root{}", machine.path("portcullis/filling").display());
    let (piece, mut filling) = (vec![0; 64 * 1024], std::fs::File::create(&fill).unwrap());
    while std::io::Write::write(&mut filling, &piece).is_ok_and(|written| written > 0) {}
    // The log of the database may have room of its own for a while.
    let mut registered = 0;
    let refused = loop {
        match tried.register().await {
            201 if registered < 2000 => registered += 1,
            other => break other,
        }
    };
    assert!(matches!(refused, 500 | 503), "after {registered} registrations: {refused}");
    tried.nothing_is_promised().await;

    drop(filling);
    std::fs::remove_file(&fill).unwrap();
    tried.nothing_is_lost().await;
    assert_eq!(tried.server.signal("-TERM").await.code(), Some(0));
}

/// What the kernel does with a disk that gives errors: from then on nothing can be written, until somebody has repaired it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts, which takes root: make test-root"]
async fn a_disk_that_fails_makes_no_promises_and_costs_nobody_a_token() {
    let machine = Machine::new();
    let image = machine.path("disk.img").display().to_string();
    let format = format!("truncate -s 48M {image} && mkfs.ext4 -q {image} || exit 9");
    let mount = format!("mount -o loop,errors=remount-ro {image} {} || exit 9", state(&machine));
    let mut tried = Tried::on(&format!("{format}; {mount}"), &machine).await;

    let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", tried.server.child.id().unwrap())).unwrap();
    let here = mounts.lines().find(|line| line.contains(&state(&machine))).unwrap();
    let device = here.split(' ').next().unwrap().trim_start_matches("/dev/");
    std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    let refused = tried.register().await;
    assert!(matches!(refused, 500 | 503), "{refused}");
    tried.nothing_is_promised().await;
    assert_eq!(tried.server.signal("-TERM").await.code(), Some(0));

    // 1: there was something to repair.
    let repair = format!("e2fsck -p {image} >/dev/null; test $? -le 1 || exit 9");
    tried.server = serve(&format!("{repair}; {mount}"), &machine, &tried.notes, tried.port).await;
    tried.nothing_is_lost().await;
    assert_eq!(tried.server.signal("-TERM").await.code(), Some(0));
}

#[tokio::test]
#[ignore = "mounts, which takes root: make test-root"]
async fn a_disk_that_cannot_be_written_is_named_at_the_start() {
    let machine = Machine::new();
    let first = Server::start(machine.command(&["serve"]), "(http").await;
    assert_eq!(first.signal("-TERM").await.code(), Some(0));
    let state = machine.path("portcullis").display().to_string();
    let read_only = format!("mount --bind {state} {state}; mount -o remount,ro,bind {state} || exit 9");
    let mut command = in_a_namespace(&after(&read_only, &machine.command(&["serve"])));
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it does not end").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("portcullis.db") && errors.contains("store.url"), "{errors}");
    let again = Server::start(machine.command(&["serve"]), "(http").await;
    assert_eq!(again.signal("-TERM").await.code(), Some(0));
}

//! The whole life of a gateway, as a program, with a different secret in every place that can hold one; then everything that it
//! wrote, sent and showed is searched for them: log, standard output, metrics, traces, audit file, files of the database, backup,
//! exports, error pages, and the pages of somebody else.

mod life;
mod mistakes;
mod search;

use crate::process::{Machine, Server};
use crate::traces::Collector;
use crate::upstreams::anywhere;
use http::{HeaderName, HeaderValue};
use life::Life;
use portcullis::clock::Clock;
use portcullis::devkit::authorization_server::{AuthorizationServer, Options};
use portcullis::devkit::identity_provider::IdentityProvider;
use portcullis::devkit::mcp::{McpServer, Protection};
use portcullis::ids::Random;
use search::{Canaries, Evidence};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The servers behind the gateway, each with a secret of its own kind.
pub struct Behind {
    authorization: AuthorizationServer,
    /// With OAuth.
    notes: McpServer,
    /// With a key that each person gives.
    keyed: McpServer,
    /// With a key of the configuration.
    shared: McpServer,
    provider: IdentityProvider,
    /// What `keyed` and `shared` want to see.
    keys: [String; 2],
}

const KEY_FIELD: &str = "x-api-key";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c_canaries_in_every_secret_are_found_nowhere_else() {
    let (machine, collector) = (Machine::new(), Collector::start().await);
    let mut canaries = Canaries::default();
    let ports = [free_port(), free_port()];
    let behind = Behind::start(&mut canaries, &format!("http://localhost:{}", ports[0])).await;
    let file = configure(&machine, &mut canaries, &behind, &collector.address);
    let log = machine.path("gateway.log");
    let mut command = machine.command(&["serve", "-c", &file]);
    command
        .env("PORTCULLIS__SERVER__LISTEN", format!("127.0.0.1:{}", ports[0]))
        .env("PORTCULLIS__SERVER__ADMIN_LISTEN", format!("127.0.0.1:{}", ports[1]))
        .stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    for limit in ["PER_IP", "LOGIN", "TOKEN_ENDPOINT", "REGISTRATION"] {
        command.env(format!("PORTCULLIS__LIMITS__{limit}"), "1000/s");
    }
    let server = Server::start(command, "(http").await;
    let mut life = Life::begin(&machine, server, canaries, file).await;
    life.everything(&behind).await;
    life.mistakes(&behind).await;

    let mut evidence = Evidence::default();
    evidence.add("errors", life.errors.join("\n"));
    evidence.add("pages of somebody else", life.pages_of_bob().await);
    evidence.add("metrics", life.metrics(ports[1]).await);
    for (name, arguments) in life.exports() {
        evidence.add(name, life.command(&arguments, "").await);
    }
    let backup = machine.path("everything.backup").display().to_string();
    life.command(&["backup", &backup], "").await;
    // While it runs, what was written last is in the write-ahead log; afterwards it is in the database.
    evidence.add_files(&files(machine.home.path()), "while it runs");
    let (canaries, said) = life.end().await;
    evidence.add("standard output", said);
    evidence.add("traces", collector.bytes());
    evidence.add_files(&files(machine.home.path()), "after its end");

    let text = evidence.text_of("gateway.log");
    assert!(
        text.lines().count() > 300 && text.contains("\"level\":\"DEBUG\""),
        "the log says too little to be searched"
    );
    assert!(
        evidence.text_of("traces").contains("resourceSpans")
            && evidence.text_of("audit.jsonl").contains("login.failed")
    );
    let found = evidence.search(&canaries);
    println!(
        "{} secrets, in {} forms each at most, in {} pieces of evidence of {} bytes: {} found",
        canaries.len(),
        search::FORMS,
        evidence.pieces(),
        evidence.bytes(),
        found.len()
    );
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

impl Behind {
    async fn start(canaries: &mut Canaries, root: &str) -> Self {
        let (clock, random) = (Clock::system(), Random::default());
        let authorization = AuthorizationServer::start(anywhere(), clock.clone(), random.clone(), Options::default());
        let authorization = authorization.await.unwrap();
        let field = HeaderName::from_static(KEY_FIELD);
        let key = |value: String| Protection::Header(field.clone(), HeaderValue::try_from(value).unwrap());
        let keys = [canaries.make("the key that a person gives"), canaries.make("the key of the configuration")];
        let notes = McpServer::start(anywhere(), random.clone(), Protection::Bearer(authorization.tokens()));
        let keyed = McpServer::start(anywhere(), random.clone(), key(keys[0].clone()));
        let shared = McpServer::start(anywhere(), random.clone(), key(keys[1].clone()));
        let back = format!("{root}/login/company/callback");
        Self {
            notes: notes.await.unwrap(),
            keyed: keyed.await.unwrap(),
            shared: shared.await.unwrap(),
            provider: IdentityProvider::start(anywhere(), clock, random, back).await.unwrap(),
            authorization,
            keys,
        }
    }
}

/// A configuration with a secret wherever one can be written. It and the files that it names are where these belong.
fn configure(machine: &Machine, canaries: &mut Canaries, behind: &Behind, collector: &str) -> String {
    let mut secret = |what: &'static str| canaries.make(what);
    machine.write("program.key", &secret("a secret for a program's environment"));
    let text = format!(
        "[telemetry]\nlog_format = \"json\"\nlevel = \"trace\"\notlp_endpoint = \"http://{collector}\"\n\
         otlp_headers = \"x-collector-key={}\"\n[audit]\nfile = \"audit.jsonl\"\nrequests = \"all\"\n\
         [upstreams]\nallow_private = true\n\
         [[upstream]]\ndomain = \"{}\"\nalias = \"notes\"\n\
         [[upstream]]\ndomain = \"{}\"\nalias = \"keyed\"\nauth = \"header\"\nheader = \"{KEY_FIELD}\"\npersonal = true\n\
         [[upstream]]\ndomain = \"{}\"\nalias = \"shared\"\nauth = \"header\"\nheader = \"{KEY_FIELD}\"\nvalue = \"{}\"\n\
         [[upstream]]\nalias = \"program\"\ncommand = [\"{}\", \"demo-stdio\"]\nenv_files = {{ API_KEY = \"program.key\" }}\n\
         personal_env = [\"MY_TOKEN\"]\n\
         [[service]]\nname = \"forge\"\nlabel = \"Forge\"\nclient_id = \"gateway\"\nclient_secret = \"{}\"\npat = \"{}\"\n\
         authorization_endpoint = \"{issuer}/authorize\"\ntoken_endpoint = \"{issuer}/token\"\nallow_private = true\n\
         [[login.oidc]]\nname = \"company\"\nissuer = \"{}\"\nclient_id = \"portcullis\"\nallowed_domains = [\"*\"]\n",
        secret("the header for the collector"),
        behind.notes.address(),
        behind.keyed.address(),
        behind.shared.address(),
        behind.keys[1],
        env!("CARGO_BIN_EXE_portcullis"),
        secret("the client secret of a service"),
        secret("the gateway's own token for a service"),
        behind.provider.issuer(),
        issuer = behind.authorization.issuer(),
    );
    machine.write("portcullis.toml", &text)
}

/// A port that nobody has at this moment.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

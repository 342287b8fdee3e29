//! How soon a gateway is ready and what it takes when nobody uses it (`make bench-start`): with an empty store, and with ten
//! thousand approved upstreams and a hundred thousand connections whose tokens are sealed as they should be. The program itself
//! is started, again and again; the time is from `exec` to the first `/readyz` that answers 200. On SQLite, and on a PostgreSQL
//! of its own.
//!
//! `PORTCULLIS_BINARY` names another binary to be measured, such as the one before a change.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // a benchmark that fails says so

#[path = "../tests/support/postgres.rs"]
#[allow(dead_code, unreachable_pub)]
mod postgres;

use portcullis::app::App;
use portcullis::clock::Clock;
use portcullis::config::{Source, load};
use portcullis::ids::{ConnectionId, Random, UserId};
use portcullis::vault::{Place, Vault};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const UPSTREAMS: u32 = 10_000;
const CONNECTIONS: u32 = 100_000;
const PEOPLE: u32 = 1_000;
/// How many rows one statement inserts.
const ROWS: usize = 500;
/// Starts of each store; the median counts.
const STARTS: usize = 11;
/// How long after it was ready a gateway is looked at: longer than its allocator keeps what nobody uses.
const IDLE: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() {
    println!("| store | upstreams | connections | ready, median (worst) | memory, idle | of it the program's file |");
    println!("|---|---|---|---|---|---|");
    let cluster = postgres::Cluster::start(true);
    for name in ["SQLite", "PostgreSQL"] {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let url = match name {
            "SQLite" => format!("sqlite://{}", directory.path().join("portcullis.db").display()),
            _ => cluster.empty().await,
        };
        let key = data_encoding::BASE64.encode(&Random::default().bytes::<32>());
        let machine = Machine { home: directory.path().to_owned(), url, key };
        let vault = machine.prepare().await;
        machine.report(name, (0, 0));
        machine.fill(&vault).await;
        machine.report(name, (UPSTREAMS, CONNECTIONS));
    }
}

/// Where a gateway runs, and on what.
struct Machine {
    home: PathBuf,
    url: String,
    /// Of the vault; PostgreSQL wants one to be given.
    key: String,
}

impl Machine {
    /// Makes the tables, the vault's key and the first signing key, as a first start does.
    async fn prepare(&self) -> Vault {
        let config = load(&Source { file: None, environment: self.environment(0) }).unwrap();
        let app = App::build(config, &[], Clock::system(), Random::default()).await.unwrap();
        app.store.close().await;
        app.vault.clone()
    }

    fn environment(&self, admin: u16) -> BTreeMap<String, String> {
        let home = self.home.display().to_string();
        let admin = if admin == 0 { String::new() } else { format!("127.0.0.1:{admin}") };
        [
            ("HOME", home.as_str()),
            ("XDG_STATE_HOME", &home),
            ("PORTCULLIS__STORE__URL", &self.url),
            ("PORTCULLIS__VAULT__KEY", &self.key),
            ("PORTCULLIS__SERVER__LISTEN", "127.0.0.1:0"),
            ("PORTCULLIS__SERVER__ADMIN_LISTEN", &admin),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn report(&self, name: &str, (upstreams, connections): (u32, u32)) {
        let mut times: Vec<Duration> = (0..STARTS).map(|_| self.start().1).collect();
        times.sort();
        let (gateway, _) = self.start();
        std::thread::sleep(IDLE);
        println!(
            "| {name} | {upstreams} | {connections} | {:.0} ms ({:.0} ms) | {:.1} MB | {:.1} MB |",
            times[STARTS / 2].as_secs_f64() * 1e3,
            times[STARTS - 1].as_secs_f64() * 1e3,
            gateway.memory("VmRSS:"),
            gateway.memory("RssFile:"),
        );
    }

    /// A gateway that is ready, and how long that took.
    fn start(&self) -> (Gateway, Duration) {
        let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let binary = std::env::var_os("PORTCULLIS_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_portcullis").into());
        let mut command = Command::new(binary);
        command.arg("serve").env_clear().envs(self.environment(admin)).current_dir(&self.home);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        let mut gateway = Gateway(command.spawn().unwrap());
        while !is_ready(admin) {
            assert!(gateway.0.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(Duration::from_micros(500));
        }
        (gateway, begun.elapsed())
    }

    /// People, upstreams and connections, in one transaction.
    async fn fill(&self, vault: &Vault) {
        let rows = Rows::new(vault, !self.url.starts_with("sqlite:"));
        let statements = rows.statements();
        if rows.for_postgres {
            let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
            for statement in statements {
                connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
            }
            connection.close().await.unwrap();
        } else {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            for statement in statements {
                connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
            }
            connection.close().await.unwrap();
        }
    }
}

/// A program that ends with its handle.
struct Gateway(Child);

impl Gateway {
    /// A line of `/proc/<id>/status`, in megabytes.
    fn memory(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(Path::new("/proc").join(self.0.id().to_string()).join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // In order, so that the next one finds nothing to tidy up.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn is_ready(port: u16) -> bool {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| answer.starts_with("HTTP/1.0 200"))
}

/// What the store is filled with.
struct Rows<'a> {
    vault: &'a Vault,
    random: Random,
    for_postgres: bool,
    now: i64,
    people: Vec<UserId>,
}

impl<'a> Rows<'a> {
    fn new(vault: &'a Vault, for_postgres: bool) -> Self {
        let random = Random::default();
        let people = (0..PEOPLE).map(|_| UserId::random(&random)).collect();
        Self { vault, random, for_postgres, now: Clock::system().now().seconds(), people }
    }

    fn statements(&self) -> Vec<String> {
        let (now, no) = (self.now, if self.for_postgres { "FALSE" } else { "0" });
        let people = self.people.iter().enumerate();
        let people =
            people.map(|(number, id)| format!("({}, 'user{number}', 'member', {no}, {now})", self.blob(&id.0)));
        let upstreams = (0..UPSTREAMS).map(|number| {
            let alias = if number % 2 == 0 { "NULL".to_owned() } else { format!("'alias{number}'") };
            format!("('{}', 'approved', {alias}, {now})", domain(number))
        });
        let connections = (0..CONNECTIONS).map(|number| self.connection(number));
        let mut statements = vec!["BEGIN".to_owned()];
        statements.extend(inserts("users (id, name, role, disabled, created_at)", people.collect()));
        statements.extend(inserts("upstreams (authority, decision, alias, decided_at)", upstreams.collect()));
        let columns = "connections (id, user_id, authority, account, state, sealed, scope, expires_at, version, created_at, \
                       updated_at, refresh_at)";
        statements.extend(inserts(columns, connections.collect()));
        statements.push("COMMIT".to_owned());
        statements
    }

    /// One of a person, at one of the upstreams, to be refreshed some time in the next day.
    fn connection(&self, number: u32) -> String {
        let person = self.people[(number % PEOPLE) as usize];
        // 7919 has no divisor in common with 10,000, so nobody has two at one upstream.
        let domain = domain((number / PEOPLE + number % PEOPLE * 7919) % UPSTREAMS);
        let sealed = self.tokens(&person.to_string(), &domain);
        let (id, now) = (ConnectionId::random(&self.random), self.now);
        let expiry = now + 3600 + i64::from(number) * 86_400 / i64::from(CONNECTIONS);
        let (id, person, sealed) = (self.blob(&id.0), self.blob(&person.0), self.blob(&sealed));
        format!(
            "({id}, {person}, '{domain}', '', 'active', {sealed}, 'read write', {expiry}, 1, {now}, {now}, {})",
            expiry - 600
        )
    }

    /// Tokens as a connection has them.
    fn tokens(&self, person: &str, domain: &str) -> Vec<u8> {
        let tokens = serde_json::json!({
            "access_token": self.random.token().to_string().repeat(4),
            "refresh_token": self.random.token().to_string(),
            "server": {
                "issuer": format!("https://{domain}"),
                "token_endpoint": format!("https://{domain}/token"),
                "client": { "id": "portcullis", "secret": null, "auth_method": "none" },
                "redirect_uri": "https://gw.example/oauth/callback",
                "resource": format!("https://{domain}/mcp"),
            },
            "asked": "read write",
            "replaced_rejected_at": null,
        });
        let row = format!("{person}/{domain}/");
        let place = Place { table: "connections", row: &row, column: "sealed", person, upstream: domain };
        self.vault.seal(&place, tokens.to_string().as_bytes())
    }

    fn blob(&self, bytes: &[u8]) -> String {
        let mut text = String::from(if self.for_postgres { "'\\x" } else { "x'" });
        bytes.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text + "'"
    }
}

fn domain(number: u32) -> String {
    format!("mcp{number}.example.com")
}

fn inserts(into: &str, rows: Vec<String>) -> Vec<String> {
    rows.chunks(ROWS).map(|rows| format!("INSERT INTO {into} VALUES {}", rows.join(", "))).collect()
}

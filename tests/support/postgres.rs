//! A PostgreSQL of this test process: on a socket in a temporary directory, and gone with the process, however that ends.

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs the server, again for every line that it reads, and when the pipe to the test process closes stops it and removes
/// everything. `$1` is what runs things as another user, `$2` where the programs are, `$3` the directory, `$4` whether what is committed is on the disk.
const KEEPER: &str = r#"
as=$1 bin=$2 directory=$3 fsync=$4
[ -z "$as" ] || chown postgres "$directory"
end() { kill -QUIT "$server" 2>/dev/null; wait "$server"; rm -rf "$directory"; }
$as "$bin/initdb" --pgdata="$directory/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync >&2 ||
    { rm -rf "$directory"; exit 1; }
printf 'local all guarded scram-sha-256\nlocal all refused reject\nlocal all all trust\n' >"$directory/data/pg_hba.conf"
run() {
    $as "$bin/postgres" -D "$directory/data" -c listen_addresses= -c unix_socket_directories="$directory" \
        -c fsync="$fsync" -c full_page_writes="$fsync" -c max_connections=400 -c shared_buffers=64MB \
        -c autovacuum=off -c max_wal_size=512MB </dev/null &
    server=$!
}
run
while read -r _; do wait "$server"; run; done
end
"#;

/// A server with its databases.
pub struct Cluster {
    directory: PathBuf,
    databases: AtomicU32,
    prepared: tokio::sync::OnceCell<()>,
    // Its standard input is the pipe, which closes with this process.
    keeper: Child,
}

impl Cluster {
    /// The one that all tests of this process share. It forgets everything when the machine does.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(false))
    }

    /// One of one's own; with `is_durable` its commits wait for the disk. Dropped, it ends.
    ///
    /// # Panics
    /// Where PostgreSQL is not installed, with the name of the package.
    pub fn start(is_durable: bool) -> Self {
        let programs = programs();
        let made = tempfile::Builder::new().prefix("portcullis-pg-").tempdir().unwrap();
        let directory = made.keep();
        // PostgreSQL refuses to be root; Debian's package made a user for it.
        let as_user = match rustix::process::geteuid().is_root() {
            true => "setpriv --reuid=postgres --regid=postgres --init-groups",
            false => "",
        };
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh", as_user])
            .arg(&programs)
            .arg(&directory)
            .arg(if is_durable { "on" } else { "off" })
            .env("LC_ALL", "C")
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // What a terminal sends to the tests (Ctrl-C) must not end it before it has removed everything.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(keeper.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        loop {
            match lines.next() {
                Some(Ok(line)) if line.contains("ready to accept connections") => break,
                Some(Ok(line)) => told.push(line),
                _ => panic!("PostgreSQL does not start:\n{}", told.join("\n")),
            }
        }
        // Somebody has to read what it has to say.
        std::thread::spawn(move || lines.for_each(drop));
        Self { directory, databases: AtomicU32::new(0), prepared: tokio::sync::OnceCell::new(), keeper }
    }

    /// The URL of a database, whether it is there or not.
    pub fn url(&self, user: &str, database: &str) -> String {
        let socket = self.directory.to_str().unwrap().replace('/', "%2F");
        format!("postgres://{user}@localhost/{database}?host={socket}")
    }

    /// The URL of a new database with nothing in it.
    pub async fn empty(&self) -> String {
        self.copy("template0").await
    }

    /// The URL of a new database in which is what `prepare` puts into the first one, which it leaves without connections.
    pub async fn prepared(&self, prepare: impl AsyncFnOnce(String)) -> String {
        let first = async || {
            self.administrator("postgres").await.execute("CREATE DATABASE prepared TEMPLATE template0").await.unwrap();
            prepare(self.url("postgres", "prepared")).await;
        };
        self.prepared.get_or_init(first).await;
        self.copy("prepared").await
    }

    /// The URL of a new database that is a copy of another one, to which nobody is connected.
    pub async fn copy(&self, template: &str) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let create = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
        self.administrator("postgres").await.execute(AssertSqlSafe(create)).await.unwrap();
        self.url("postgres", &name)
    }

    /// Kills the server: no checkpoint, no word to those who are connected.
    pub fn kill(&self) {
        rustix::process::kill_process(self.postmaster(), rustix::process::Signal::QUIT).unwrap();
    }

    /// Stops all its processes where they are, until what this returns is dropped: a machine, or a disk, that hangs.
    pub fn pause(&self) -> Pause {
        let first = self.postmaster();
        // The first one makes the others: it has to stand still before they are counted.
        let _ = rustix::process::kill_process(first, rustix::process::Signal::STOP);
        let children = format!("/proc/{0}/task/{0}/children", first.as_raw_nonzero());
        let children = std::fs::read_to_string(children).unwrap();
        let children = children.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?));
        let processes: Vec<_> = children.chain([first]).collect();
        for process in &processes {
            let _ = rustix::process::kill_process(*process, rustix::process::Signal::STOP);
        }
        Pause(processes)
    }

    fn postmaster(&self) -> rustix::process::Pid {
        let pid = std::fs::read_to_string(self.directory.join("data/postmaster.pid")).unwrap();
        pid.lines().next().and_then(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)).unwrap()
    }

    /// Starts a server that was killed again; returns when it answers.
    pub async fn start_again(&self) {
        let options = PgConnectOptions::new_without_pgpass().socket(&self.directory).ssl_mode(PgSslMode::Disable);
        let options = options.username("postgres").database("postgres");
        self.keeper.stdin.as_ref().unwrap().write_all(b"\n").unwrap();
        while options.connect().await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// A connection that may do anything.
    pub async fn administrator(&self, database: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass().socket(&self.directory).ssl_mode(PgSslMode::Disable);
        options.username("postgres").database(database).connect().await.unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A server that stands still. Dropped, it goes on.
pub struct Pause(Vec<rustix::process::Pid>);

impl Drop for Pause {
    fn drop(&mut self) {
        for process in &self.0 {
            let _ = rustix::process::kill_process(*process, rustix::process::Signal::CONT);
        }
    }
}

/// Where `initdb` and `postgres` are: in the path, or where Debian has them.
fn programs() -> PathBuf {
    let both = |directory: &Path| directory.join("initdb").is_file() && directory.join("postgres").is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(|directory| both(directory));
    let version = |directory: &Path| directory.file_name()?.to_str()?.parse::<u32>().ok();
    let of_debian = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let newest = versions.filter(|path| both(&path.join("bin"))).max_by_key(|path| version(path))?;
        Some(newest.join("bin"))
    };
    let found = in_path.or_else(of_debian);
    found.expect("PostgreSQL is not installed, and the tests need it: install the package \"postgresql\"")
}

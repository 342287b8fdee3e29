//! The Debian package in a clean system: installed, started as its unit says, used by a real client, upgraded, removed.
//! `make test-package` makes package and system, and names them in `PORTCULLIS_PACKAGE` and
//! `PORTCULLIS_ROOT`. Needs root for chroot. There is no init: the unit's sandbox is
//! looked at by `make test-systemd`.

use crate::clients::{drive, node, retell};
use crate::forward_proxies::free_port;
use crate::gateway::{PASSWORD, USER, label};
use crate::process::PATIENCE;
use crate::upstreams::Notes;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

#[tokio::test]
#[ignore = "needs a package and root: make test-package"]
async fn a_clean_system_gets_the_package_uses_it_and_gets_rid_of_it() {
    let system = System::from_environment();
    let before = system.files();
    system.run(&["dpkg", "--install", "/tmp/portcullis.deb"], "").await;
    system.run(&["portcullis", "check"], "").await;
    assert_eq!(
        system.run(&["stat", "-c", "%U %G %a", "/etc/portcullis/portcullis.toml"], "").await,
        "root portcullis 640\n"
    );

    let notes = Notes::start().await;
    let port = free_port();
    system.configure(&notes.authority(), port);
    let unit = Unit::installed(&system);
    let mut service = Service::start(&system, &unit).await;
    assert_eq!(system.run(&["stat", "-c", "%U %a", "/var/lib/portcullis/vault.key"], "").await, "portcullis 600\n");
    let add = ["user", "add", USER, "--admin", "--password-stdin"];
    system
        .run(
            &[&["setpriv", "--reuid=portcullis", "--clear-groups", "--regid=portcullis", "portcullis"][..], &add]
                .concat(),
            PASSWORD,
        )
        .await;
    let url = format!("http://{}.localhost:{port}/mcp", label(&notes.authority()));
    let driver = "ts-v1.mjs";
    let told = drive(node(driver), driver, &url).await;
    assert!(told["tools"].as_array().unwrap().contains(&json!("whoami")), "{told}");

    let status = "portcullis stdio-exec $$ off /bin/cat /proc/self/status; true";
    let capable = unit.command_of(["/bin/sh", "-c", status].into_iter());
    let status = system.run(&capable.iter().map(String::as_str).collect::<Vec<_>>(), "").await;
    for set in ["CapAmb", "CapEff", "CapPrm"] {
        let none = format!("{set}:\t0000000000000000\n");
        assert!(status.contains(&none), "a program has capabilities of the gateway: {status}");
    }

    // The same package again: the administrator's configuration stays, and the new program takes over as postinst asks for it.
    system.run(&["dpkg", "--install", "/tmp/portcullis.deb"], "").await;
    assert!(system.configuration().contains(&port.to_string()), "the administrator's configuration is gone");
    let next = service.upgrade().await;
    let told = drive(node(driver), driver, &url).await;
    assert_eq!(told["protocol"], "2025-11-25", "{told}");
    service.stop(&next, &unit).await;

    system.run(&["dpkg", "--remove", "portcullis"], "").await;
    assert!(system.path("/var/lib/portcullis/portcullis.db").is_file(), "only a purge removes what people have");
    system.run(&["dpkg", "--purge", "portcullis"], "").await;
    let left: Vec<_> = system.files().difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
    let people = std::fs::read_to_string(system.path("/etc/passwd")).unwrap();
    assert!(!people.contains("portcullis"), "{people}");
}

/// A root directory with a minimal Debian, which ends with this value, as far as it is ours.
struct System {
    root: PathBuf,
}

impl System {
    fn from_environment() -> Self {
        let of = |name: &str| {
            PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("no {name}: make test-package")))
        };
        let system = Self { root: of("PORTCULLIS_ROOT") };
        std::fs::copy(of("PORTCULLIS_PACKAGE"), system.path("/tmp/portcullis.deb")).unwrap();
        system
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A command inside, with /proc, in name spaces for mounts that end with it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--", "/bin/sh", "-c"])
            .arg("mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"")
            .arg(&self.root)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .kill_on_drop(true);
        command
    }

    /// Runs to a good end; what it said.
    async fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = tokio::time::timeout(PATIENCE * 4, child.wait_with_output()).await.unwrap().unwrap();
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{said}{errors}", output.status);
        said.into_owned()
    }

    fn configuration(&self) -> String {
        std::fs::read_to_string(self.path("/etc/portcullis/portcullis.toml")).unwrap()
    }

    /// As an administrator does it: edits the file that the package brought.
    fn configure(&self, upstream: &str, port: u16) {
        let (from, to) = ("[server]\n", format!("[server]\nlisten = [\"127.0.0.1:{port}\"]\nadmin_listen = \"\"\n"));
        let text = self.configuration();
        assert!(text.contains(from));
        let more = format!("\n[upstreams]\nallow_private = true\n[[upstream]]\ndomain = \"{upstream}\"\n");
        std::fs::write(self.path("/etc/portcullis/portcullis.toml"), text.replacen(from, &to, 1) + &more).unwrap();
    }

    /// Every file and directory, but for what dpkg and adduser write down for themselves.
    fn files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.root.clone()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).unwrap() {
                let entry = entry.unwrap();
                let path = entry.path().strip_prefix(&self.root).unwrap().to_owned();
                let is_log =
                    ["var/lib/dpkg", "var/log", "run", "proc", "tmp"].iter().any(|known| path.starts_with(known));
                let is_backup = path.starts_with("etc") && path.to_string_lossy().ends_with('-');
                if is_log && !path.starts_with("var/log/portcullis") || is_backup {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                }
                found.insert(path);
            }
        }
        found
    }
}

/// What the unit of the package says.
struct Unit(BTreeMap<String, String>);

impl Unit {
    fn installed(system: &System) -> Self {
        let text = std::fs::read_to_string(system.path("/usr/lib/systemd/system/portcullis.service")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
        Self(
            lines
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    fn says(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("the unit has no {name}"))
    }

    /// `ExecStart` as the unit wants it to run.
    fn command(&self) -> Vec<String> {
        self.command_of(self.says("ExecStart").split(' '))
    }

    /// A program as the unit wants its own to run: its user, its capabilities, its umask.
    fn command_of<'a>(&self, program: impl Iterator<Item = &'a str>) -> Vec<String> {
        let capability = |name: &str| self.says(name).to_ascii_lowercase().replace("cap_", "-all,+");
        assert_eq!(self.says("NoNewPrivileges"), "yes");
        let mut command = vec!["setpriv".to_owned(), "--no-new-privs".to_owned(), "--clear-groups".to_owned()];
        command.push(format!("--reuid={}", self.says("User")));
        command.push(format!("--regid={}", self.says("Group")));
        command.push(format!("--bounding-set={}", capability("CapabilityBoundingSet")));
        command.push(format!("--inh-caps={}", capability("AmbientCapabilities")));
        command.push(format!("--ambient-caps={}", capability("AmbientCapabilities")));
        let shell = format!("umask {}; exec \"$@\"", self.says("UMask"));
        command.extend(["/bin/sh", "-c", &shell, "unit"].map(str::to_owned));
        command.extend(program.map(str::to_owned));
        command
    }
}

/// The service as a manager of `Type=notify` sees it.
struct Service {
    child: Child,
    manager: UnixDatagram,
}

impl Service {
    async fn start(system: &System, unit: &Unit) -> Self {
        assert_eq!(unit.says("Type"), "notify");
        // It is the service's own user that has to write there.
        let path = system.path("/tmp/notify");
        let _ = std::fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let watchdog: u64 = unit.says("WatchdogSec").trim_end_matches('s').parse().unwrap();
        let command = unit.command();
        let child = system
            .command(&command.iter().map(String::as_str).collect::<Vec<_>>())
            .env("NOTIFY_SOCKET", "/tmp/notify")
            .env("WATCHDOG_USEC", (watchdog * 1_000_000).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut service = Self { child, manager };
        tokio::spawn(retell("the service".to_owned(), service.child.stderr.take().unwrap()));
        service.hears("READY=1").await;
        service
    }

    async fn hears(&mut self, beginning: &str) -> String {
        let heard = async {
            loop {
                let mut text = [0; 4096];
                let length = self.manager.recv(&mut text).await.unwrap();
                let text = String::from_utf8_lossy(&text[..length]).into_owned();
                if text.starts_with(beginning) {
                    return text;
                }
            }
        };
        tokio::select! {
            text = heard => text,
            status = self.child.wait() => panic!("it ended without {beginning}: {status:?}"),
            () = tokio::time::sleep(PATIENCE) => panic!("it does not say {beginning}"),
        }
    }

    /// Lets the program that is installed now take over; its process.
    async fn upgrade(&mut self) -> String {
        signal("-USR2", &self.child.id().unwrap().to_string()).await;
        let text = self.hears("MAINPID=").await;
        text.lines().next().unwrap().trim_start_matches("MAINPID=").to_owned()
    }

    /// Stops the process that is the main one now, as `systemctl stop` does.
    async fn stop(mut self, main: &str, unit: &Unit) {
        assert_eq!(unit.says("KillMode"), "mixed", "the main process alone gets SIGTERM");
        let ended =
            tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the old one has nothing left to do");
        assert!(ended.unwrap().success());
        signal("-TERM", main).await;
        let gone = async {
            while runs(main) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("it does not stop");
    }
}

/// Whether a process that is not our child runs; it may be gone and nobody has asked yet how it ended.
fn runs(process: &str) -> bool {
    let state = std::fs::read_to_string(Path::new("/proc").join(process).join("stat"));
    state.is_ok_and(|state| !state.contains(") Z "))
}

async fn signal(name: &str, process: &str) {
    assert!(Command::new("kill").args([name, process]).status().await.unwrap().success());
}

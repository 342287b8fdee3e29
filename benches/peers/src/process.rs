//! Programs under test: started on one core, ended with the harness whatever ends it.

use rustix::process::{
    Pid, Resource, Signal, getrlimit, kill_process_group, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Programs are slow to start where somebody else compiles beside them.
const STARTING: Duration = Duration::from_secs(30);
const ENDING: Duration = Duration::from_secs(3);

/// The process groups that are alive, for a Ctrl-C.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A running program. It, and all that it started, ends with this value.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command` on `cores`. What it writes goes to `<directory>/<name>.log`.
    pub fn start(directory: &Path, name: &str, cores: &[usize], command: &[&OsStr]) -> Result<Self, String> {
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let myself = std::env::current_exe().map_err(|error| error.to_string())?;
        let child = Command::new(myself)
            .arg("run")
            .arg(list(cores))
            .args(command)
            .current_dir(directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let program = Self { child, log };
        groups(|groups| groups.push(program.pid()));
        Ok(program)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until the program answers at `address`.
    pub fn answers(&mut self, address: SocketAddr) -> Result<(), String> {
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            self.check()?;
            if started.elapsed() > STARTING {
                return Err(format!("nothing answers at {address}: {}", self.last_words()));
            }
            sleep(Duration::from_millis(2));
        }
        // Somebody else may have taken the port in between.
        self.check()
    }

    /// Waits for its end; what it wrote.
    pub fn output(mut self) -> Result<String, String> {
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("{status}: {}", self.last_words()));
        }
        fs::read_to_string(&self.log).map_err(|error| error.to_string())
    }

    /// # Errors
    ///
    /// When the program has ended.
    pub fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("it ended with {status}: {}", self.last_words())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = self.pid();
        groups(|groups| groups.retain(|group| *group != pid));
        let _ = kill_process_group(pid, Signal::TERM);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < ENDING {
            sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Becomes another program: `CORES PROGRAM ARGUMENT...`. It is told to end when the harness does.
pub fn run(arguments: &[String]) -> String {
    let [cores, program, arguments @ ..] = arguments else { return "cores and a program are needed".to_owned() };
    let cores: Vec<usize> = cores.split(',').filter_map(|core| core.parse().ok()).collect();
    if let Err(error) = pin(None, &cores).and_then(|()| {
        // nginx and HAProxy end their workers on this one, which SIGKILL would leave behind.
        set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| error.to_string())
    }) {
        return error;
    }
    let error = Command::new(program).args(arguments).exec();
    format!("{program}: {error}")
}

/// Ends everything on Ctrl-C or SIGTERM, in a thread of its own.
pub fn watch_for_the_end() {
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
            let alive = groups(std::mem::take);
            for (signal, patience) in [(Signal::TERM, 500), (Signal::KILL, 0)] {
                for group in &alive {
                    let _ = kill_process_group(*group, signal);
                }
                sleep(Duration::from_millis(patience));
            }
            eprintln!("ended before its time");
            std::process::exit(130);
        });
    });
}

/// As many open descriptors as the system allows, here and in every program that is started: thousands of streams are open at once.
pub fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("the limit of open files stays as it is: {error}");
    }
}

/// Lets a process (all of its threads that start from now on), or this thread, run on `cores` alone.
pub fn pin(pid: Option<Pid>, cores: &[usize]) -> Result<(), String> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(pid, &set).map_err(|error| format!("cannot be pinned to {}: {error}", list(cores)))
}

/// The cores that this process may use.
pub fn cores() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// An address that nobody answers at.
pub fn free_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    drop(listener);
    if TcpStream::connect(address).is_ok() {
        return Err(format!("somebody answers at {address} already"));
    }
    Ok(address)
}

fn groups<T>(with: impl FnOnce(&mut Vec<Pid>) -> T) -> T {
    with(&mut GROUPS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

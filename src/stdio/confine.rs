//! What stands between us and a program: our own executable, started anew, which takes limits upon itself and then becomes the
//! program. So they are in force before the first instruction of the program, which `prlimit` from outside could not promise,
//! and no code has to run between `fork` and `exec`. The price is one more `exec` at each start, a few milliseconds.

use rustix::process::{Resource, Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// What the executable is called with; nothing for people.
const EXEC: &str = "stdio-exec";
/// How many files a program may have open.
const FILES: u64 = 4096;
/// The status of a program that could not be executed, as shells have it.
const NOT_EXECUTED: u8 = 127;

/// The arguments before the program and its own.
pub(super) fn arguments(memory: Option<u64>) -> [OsString; 3] {
    let memory = memory.map_or_else(|| "off".to_owned(), |bytes| bytes.to_string());
    [EXEC.into(), getpid().as_raw_nonzero().to_string().into(), memory.into()]
}

/// Becomes a program, or watches over the groups of programs, if that is what this process was started for; `None` if not.
/// `main` asks before anything else.
pub fn intercept(arguments: &[OsString]) -> Option<ExitCode> {
    match arguments.get(1)?.to_str()? {
        EXEC => Some(become_program(arguments.get(2..).unwrap_or_default())),
        super::keeper::KEEP => Some(super::keeper::keep()),
        _ => None,
    }
}

fn become_program(arguments: &[OsString]) -> ExitCode {
    let [parent, memory, program, arguments @ ..] = arguments else { return ExitCode::from(2) };
    if let Err(error) = confine(parent, memory) {
        return failed(program, &format!("its limits cannot be set: {error}"));
    }
    let error = Command::new(program).args(arguments).exec();
    failed(program, &error.to_string())
}

/// Takes everything upon this process that outlasts `exec`.
fn confine(parent: &OsStr, memory: &OsStr) -> io::Result<()> {
    // Whatever happens to the gateway, the program does not outlive it. The signal is sent when the *thread* that started this
    // process ends, which is why one thread starts them all.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().is_none_or(|now| *parent != *now.as_raw_nonzero().to_string()) {
        return Err(io::Error::other("the gateway ended meanwhile"));
    }
    let limit = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::Core, limit(0))?;
    setrlimit(Resource::Nofile, limit(FILES)).or_else(|_| lower(Resource::Nofile))?;
    if let Some(bytes) = memory.to_str().and_then(|text| text.parse().ok()) {
        // Not the size of the address space: V8, Go and the JVM reserve far more of that than they ever use.
        setrlimit(Resource::Data, limit(bytes)).or_else(|_| lower(Resource::Data))?;
    }
    // A program that is set-user-ID, such as sudo, gains nothing by that.
    rustix::thread::set_no_new_privs(true)?;
    // Ports below 1024 are for the gateway, whose unit gives it CAP_NET_BIND_SERVICE in a form that programs would inherit.
    rustix::thread::clear_ambient_capability_set()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // When memory runs out the kernel takes programs before it takes the gateway. Where that is not allowed, it chooses alone.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    Ok(())
}

/// Where the hard limit is lower than what we ask for, it is what there is.
fn lower(resource: Resource) -> rustix::io::Result<()> {
    let maximum = rustix::process::getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: maximum, maximum })
}

fn failed(program: &OsStr, why: &str) -> ExitCode {
    // Nobody is left to be told when this fails.
    let _ = writeln!(io::stderr(), "{} cannot be executed: {why}", program.display());
    ExitCode::from(NOT_EXECUTED)
}

//! The program: reads the process's arguments and environment once, everything else is in the library.

use portcullis::cli;
use std::io::Write;
use std::panic::{PanicHookInfo, set_hook};
use std::process::ExitCode;

/// Gives the memory of ended streams back to the system (ARCHITECTURE.md, "Why jemalloc"; `.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(status) = portcullis::stdio::intercept(&arguments) {
        return status;
    }
    set_hook(Box::new(no_threads));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            return ExitCode::FAILURE;
        }
    };
    portcullis::telemetry::tell_places_only();
    // Variables that are not UTF-8 cannot be ours.
    let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let process = cli::Process {
        arguments,
        environment: environment.collect(),
        stdin: &mut std::io::stdin(),
        stdout: &mut std::io::stdout(),
        stderr: &mut std::io::stderr(),
    };
    ExitCode::from(runtime.block_on(cli::run(process)))
}

/// Where the system allows no thread more, tokio panics, and then waits for ever for the threads that it has.
fn no_threads(panic: &PanicHookInfo<'_>) {
    let why = panic.payload_as_str().unwrap_or("no thread can be made");
    let _ = writeln!(std::io::stderr(), "error: {why}: allow more of them (TasksMax=, pids.max, ulimit -u)");
    std::process::exit(1);
}

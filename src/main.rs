//! The program: reads the process's arguments and environment once, everything else is in the library.

use portcullis::cli;
use std::process::ExitCode;

/// Gives the memory of ended streams back to the system (ARCHITECTURE.md, "Why jemalloc").
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    portcullis::telemetry::tell_places_only();
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(status) = portcullis::stdio::intercept(&arguments) {
        return status;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("error: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
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

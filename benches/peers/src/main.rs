//! The gateway beside other proxies, measured from outside: `make bench-peers`, and README.md beside this.

mod bench;
mod certificate;
mod clock;
mod floor;
mod frame;
mod load;
mod message;
mod mock;
mod options;
mod peers;
mod process;
mod report;
mod rows;
mod scenarios;
mod usage;

use bench::Bench;
use options::Options;
use scenarios::SCENARIOS;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The harness starts itself for what must be a process of its own.
    let outcome = match arguments.split_first() {
        Some((first, rest)) if first == "run" => Err(process::run(rest)),
        Some((first, rest)) if first == "mock" => mock::main(rest),
        Some((first, rest)) if first == "floor" => floor::main(rest),
        Some((first, _)) if first == "--list" => list(),
        _ => measure(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<(), String> {
    for scenario in SCENARIOS {
        println!("{:14} {}", scenario.name, scenario.about);
    }
    Ok(())
}

fn measure(arguments: &[String]) -> Result<(), String> {
    let mut options = Options::parse(arguments).map_err(|error| format!("{error}\n{}", options::USAGE))?;
    options.portcullis = options.portcullis.canonicalize().map_err(|error| {
        format!("{}: {error}; build it first (cargo build --profile dist)", options.portcullis.display())
    })?;
    if let Some(unknown) = options.only.iter().find(|name| SCENARIOS.iter().all(|known| known.name != **name)) {
        return Err(format!("{unknown} is no scenario; `peers --list` names them"));
    }
    process::watch_for_the_end();
    process::raise_descriptors();
    let mut bench = Bench::new(options)?;
    let mut failed = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| bench.options.wants(scenario.name)).collect::<Vec<_>>() {
        if let Err(error) = (scenario.run)(&mut bench) {
            eprintln!("{}: FAILED: {error}", scenario.name);
            bench.remarks.push((scenario.name, format!("it could not be run: {error}")));
            failed.push(scenario.name);
        }
    }
    println!("{}", report::write(&bench)?.display());
    match (bench.leaked, failed.is_empty()) {
        (true, _) => Err("a gateway handed callers' tokens to the upstream: this run counts for nothing".to_owned()),
        (false, false) => Err(format!("could not be run: {}", failed.join(", "))),
        (false, true) => Ok(()),
    }
}

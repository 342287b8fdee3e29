//! The command line. Every command is a function of its arguments, the environment and three streams.

mod api;
mod api_keys;
mod arguments;
mod audit;
mod backup;
mod bridge;
mod certificates;
mod credentials;
mod discovery;
mod doctor;
mod encode;
mod gateway;
mod health;
mod keys;
mod login;
mod machines;
mod migrate;
mod output;
mod people;
mod permissions;
mod personal;
mod progress;
mod remote;
mod services;
mod state;
#[cfg(test)]
mod tests;
mod vault;

use crate::backup::Choices;
use crate::config::{self, Config, ConfigErrors, Launcher, Source};
use crate::error::Fault;
use crate::server::{self, Start};
use crate::telemetry::Log;
use arguments::{Arguments, Command, CredentialCommand, KeysCommand, PatCommand, ServiceCommand, UpstreamCommand};
use clap::{CommandFactory, Parser};
use gateway::Gateway;
use output::Output;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

/// Where the configuration is looked for when `-c` does not say.
const SYSTEM_FILE: &str = "/etc/portcullis/portcullis.toml";

/// What a program gets from the operating system.
pub struct Process<'a> {
    /// The program's name first.
    pub arguments: Vec<OsString>,
    /// All of it.
    pub environment: BTreeMap<String, String>,
    /// For `--password-stdin`.
    pub stdin: &'a mut dyn Read,
    /// For results.
    pub stdout: &'a mut dyn Write,
    /// For errors.
    pub stderr: &'a mut dyn Write,
}

/// Why a command failed; each kind has its exit status.
enum Failure {
    /// 1
    Fault(Fault),
    /// 2
    Configuration(ConfigErrors),
    /// 1: what was examined is not as it should be, and the output says so.
    Found,
    /// Nobody reads our output any more (`portcullis … | head`).
    Output,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Configuration(errors)
    }
}

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Self {
        Self::Output
    }
}

/// Runs one command. The exit status: 0, 1 for a failure, 2 for wrong usage or configuration.
pub async fn run(process: Process<'_>) -> u8 {
    let Process { arguments, environment, stdin, stdout, stderr } = process;
    let command = arguments.clone();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = if error.use_stderr() { write!(stderr, "{error}") } else { write!(stdout, "{error}") };
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let source = source(arguments.config.clone(), environment, Path::new(SYSTEM_FILE));
    // https://no-color.org
    let is_terminal = !source.environment.contains_key("NO_COLOR");
    let output = Output::new(stdout, arguments.json).with_progress_on(stderr, std::io::stderr().is_terminal());
    let output = output.on_terminal(is_terminal && std::io::stdout().is_terminal());
    // On the heap: the states of all commands together are more than the stack of a caller has room for.
    let status = match Box::pin(dispatch(arguments, command, &source, stdin, output)).await {
        Ok(()) => return 0,
        Err(Failure::Output | Failure::Found) => return 1,
        Err(Failure::Fault(fault)) => writeln!(stderr, "error: {fault}").map(|()| 1),
        Err(Failure::Configuration(errors)) => writeln!(stderr, "{errors}").map(|()| 2),
    };
    status.unwrap_or(1)
}

/// The file that was asked for; else the system's, if there is one.
fn source(file: Option<PathBuf>, environment: BTreeMap<String, String>, system: &Path) -> Source {
    Source { file: file.or_else(|| system.is_file().then(|| system.to_owned())), environment }
}

async fn dispatch(
    arguments: Arguments,
    command: Vec<OsString>,
    source: &Source,
    stdin: &mut dyn Read,
    mut output: Output<'_>,
) -> Result<(), Failure> {
    let verbosity = arguments.verbose;
    if verbosity > 0 && !matches!(arguments.command, Command::Serve | Command::Demo { .. } | Command::Bridge(_)) {
        Log::start(false, "warn", verbosity);
    }
    match arguments.command {
        Command::Serve => {
            let mut config = load(source)?;
            config.stdio.launcher = Launcher::this_executable();
            let log = Log::start(config.telemetry.json, &config.telemetry.level, verbosity);
            let source = source.clone();
            Ok(server::serve(Start { config, source, log, command }).await?)
        }
        Command::Demo { port } => {
            Log::start(false, "warn", verbosity);
            Ok(crate::devkit::demo::run(port).await?)
        }
        Command::Bridge(arguments) => {
            Log::start(false, "warn,stdio=info", verbosity);
            bridge::bridge(arguments, &source.environment, &mut output).await
        }
        Command::DemoStdio => Ok(crate::devkit::mcp::serve_standard_streams().await.map_err(Fault::gateway)?),
        Command::Health => {
            health::health(&load(source)?).await?;
            Ok(output.line(format_args!("ready"))?)
        }
        Command::Check => {
            let config = load(source)?;
            let what =
                source.file.as_ref().map_or("the configuration of the environment".into(), |f| f.to_string_lossy());
            output.line(format_args!("{what} is valid"))?;
            for (provider, address) in crate::app::redirect_uris(&config) {
                output.line(format_args!("redirect URI to register at {provider}: {address}"))?;
            }
            certificates::announce(&config, &mut output)
        }
        Command::Encode { domain, root } => encode::encode(&domain, root.as_deref(), &mut output),
        Command::Decode { text } => encode::decode(&text, &mut output),
        Command::Doctor(arguments) => doctor::doctor(&arguments, source, &mut output).await,
        Command::Vault { command } => vault::vault(command, source, &mut output).await,
        Command::Backup { file, check: false } => backup::backup(&file, source, &mut output).await,
        Command::Backup { file, check: true } => backup::check(&file, source, &mut output),
        Command::Migrate { from, to } => migrate::migrate(&from, &to, &mut output).await,
        Command::Restore { file, force, sign_everybody_out } => {
            let choices = Choices { replace: force, sign_everybody_out };
            backup::restore(&file, choices, source, &mut output).await
        }
        Command::User { .. }
        | Command::Upstream { .. }
        | Command::Connection { .. }
        | Command::Client { .. }
        | Command::Grant { .. }
        | Command::Apikey { .. }
        | Command::Service { .. }
        | Command::Keys { .. }
        | Command::Audit { .. } => {
            let seals = matches!(
                arguments.command,
                Command::Keys { command: KeysCommand::Rotate { .. } }
                    | Command::Upstream {
                        command: UpstreamCommand::Credential {
                            command: CredentialCommand::Set { .. } | CredentialCommand::Remove { .. },
                        },
                    }
                    | Command::Service { command: ServiceCommand::Pat { command: PatCommand::Set { .. } } }
            );
            let gateway = Gateway::open(&arguments.remote, source, seals).await?;
            let done = administer(arguments.command, &gateway, stdin, &mut output).await;
            gateway.settle().await;
            done
        }
        Command::Certificates { command } => {
            certificates::certificates(command, &arguments.remote, source, &mut output).await
        }
        Command::Openapi => {
            let document = serde_json::to_string_pretty(&crate::api::document()).map_err(Fault::gateway)?;
            Ok(output.line(format_args!("{document}"))?)
        }
        Command::Login { url } => login::login(&source.environment, &url, &mut output).await,
        Command::Token { url } => login::token(&source.environment, &url, &mut output).await,
        Command::Logout { url } => login::logout(&source.environment, &url, &mut output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "portcullis", &mut script);
            Ok(output.bytes(&script)?)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
            Ok(output.bytes(&page)?)
        }
    }
}

/// The commands that a gateway elsewhere can be told as well.
async fn administer(
    command: Command,
    gateway: &Gateway,
    stdin: &mut dyn Read,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        Command::User { command } => people::user(command, gateway, stdin, output).await,
        Command::Upstream { command } => state::upstream(command, gateway, stdin, output).await,
        Command::Connection { command } => state::connection(command, gateway, output).await,
        Command::Client { command } => state::client(command, gateway, output).await,
        Command::Grant { command } => state::grant(command, gateway, output).await,
        Command::Apikey { command } => api_keys::api_key(command, gateway, output).await,
        Command::Service { command } => services::service(command, gateway, stdin, output).await,
        Command::Keys { command } => keys::keys(command, gateway, output).await,
        Command::Audit { command } => audit::audit(command, gateway, output).await,
        _ => Ok(()),
    }
}

fn load(source: &Source) -> Result<Config, Failure> {
    Ok(config::load(source)?)
}

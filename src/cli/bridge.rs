//! `portcullis bridge`

use super::Failure;
use super::output::Output;
use crate::bridge::{Bridge, Options};
use crate::config::Launcher;
use crate::error::Fault;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::signal::unix::{SignalKind, signal};

/// What a program gets when nobody says anything: where it finds programs, and its person's files.
const USUAL: [&str; 3] = ["HOME", "LANG", "TMPDIR"];

/// What can be typed.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where to listen; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// A name other than localhost by which clients reach it; there is no sign-in
    #[arg(long = "allowed-host", value_name = "HOST")]
    allowed_hosts: Vec<String>,
    /// A variable for the program: NAME=VALUE, or NAME for the value that it has here
    #[arg(short = 'e', long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Hand the whole environment down to the program
    #[arg(long)]
    inherit_env: bool,
    /// The MCP server and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Serves until SIGINT or SIGTERM.
pub(super) async fn bridge(
    arguments: Arguments,
    environment: &BTreeMap<String, String>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(Fault::gateway);
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let bridge = Bridge::start(options(arguments, environment)?).await?;
    let address = bridge.address();
    output.line(format_args!("listening on {address} (http://{address}/mcp)"))?;
    output.flush()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bridge.stop().await;
    Ok(())
}

fn options(arguments: Arguments, environment: &BTreeMap<String, String>) -> Result<Options, Fault> {
    let Arguments { listen, allowed_hosts, env, inherit_env, command } = arguments;
    let is_inherited = |name: &str| (inherit_env || USUAL.contains(&name)) && name != "PATH";
    let inherited = environment.iter().filter(|(name, _)| is_inherited(name));
    let given = env.iter().map(|text| given(text, environment)).collect::<Result<Vec<_>, _>>()?;
    let path = given.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.expose());
    let search_path = path.or(environment.get("PATH").map(String::as_str)).unwrap_or("/usr/local/bin:/usr/bin:/bin");
    Ok(Options {
        listen,
        allowed_hosts,
        command,
        search_path: search_path.to_owned(),
        inherited: inherited.map(|(name, value)| (name.clone(), value.clone())).collect(),
        given,
        launcher: Launcher::this_executable(),
    })
}

fn given(text: &str, environment: &BTreeMap<String, String>) -> Result<(String, Secret), Fault> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, environment.get(text).cloned()),
    };
    let value = value.ok_or_else(|| Fault::caller(format!("{name} is not set here: write -e {name}=VALUE")))?;
    if name.is_empty() || name.contains('\0') || value.contains('\0') {
        return Err(Fault::caller(format!("{text:?} is not a variable: write -e NAME=VALUE")));
    }
    Ok((name.to_owned(), Secret::new(value)))
}

//! Reads `[[upstream]] command` with what belongs to it, and `[stdio]`.

use super::document::Place;
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use super::upstream::Reached;
use super::{Command, Kind, Sharing, Stdio, Transport, UpstreamAuth, ground, units};
use crate::hostname::Authority;
use crate::secret::Secret;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The keys that only a program has.
pub(super) const KEYS: [&str; 8] = ["args", "env", "env_files", "personal_env", "cwd", "processes", "idle", "memory"];

/// What a program is looked for in when we have no `PATH` ourselves.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Variables with which whoever sets them decides what is executed, or that we set ourselves.
const NEVER_PERSONAL: [&str; 14] = [
    "BASH_ENV",
    "ENV",
    "HOME",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PATH",
    "PERL5OPT",
    "RUBYOPT",
    "SHELL",
    "SHELLOPTS",
    "TMPDIR",
    "_JAVA_OPTIONS",
];
const NEVER_PERSONAL_PREFIXES: [&str; 5] = ["LD_", "PYTHON", "GIT_", "NPM_CONFIG_", "npm_config_"];

/// Where the gateway serves a program at the hostname of its alias.
const PROGRAM_PATH: &str = "/mcp";
/// What only OAuth needs.
const OAUTH_KEYS: [&str; 8] = [
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "client_id",
    "client_secret",
    "client_secret_file",
    "scopes",
    "resource",
];

/// `[stdio]`; `state` is where programs run when nothing else is said.
pub(super) fn section(mut reader: Reader<'_>, store_url: &str, state: &Path) -> Stdio {
    let default = Stdio::default();
    // Not resolved like a file: what is written there must not count as a change of the configuration.
    let directory = reader.parsed("directory", |text| match Path::new(text) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err("must be the absolute path of a directory, like \"/var/lib/portcullis/stdio\"".to_owned()),
    });
    let max_processes = reader.number("max_processes", 1, 1 << 16);
    let per_upstream = reader.number("max_processes_per_upstream", 1, 1 << 16);
    let max_message = reader.parsed("max_message", units::size).map(|found| found.value);
    reader.finish();
    Stdio {
        directory: directory.map(|found| found.value).or_else(|| default_directory(store_url, state)),
        max_processes: max_processes.unwrap_or(default.max_processes),
        max_processes_per_upstream: per_upstream.unwrap_or(default.max_processes_per_upstream),
        max_message: max_message.unwrap_or(default.max_message),
        launcher: default.launcher,
    }
}

/// Beside the file of SQLite and named after it, as the spool is.
fn default_directory(store_url: &str, state: &Path) -> Option<PathBuf> {
    match ground::database_file(store_url) {
        Some(file) => {
            let mut name = file.as_os_str().to_owned();
            name.push("-stdio");
            Some(PathBuf::from(name))
        }
        None if store_url.starts_with("sqlite:") => None,
        None => Some(state.join("stdio")),
    }
}

/// A program that we run. Its alias is all that people know it by.
pub(super) fn read(
    reader: &mut Reader<'_>,
    alias: Option<&Found<String>>,
    directories: &Directories,
) -> Option<Reached> {
    let foreign = [
        ("domain", "a program has no domain: keep either domain or command"),
        ("path", "a program has no path: it is always at /mcp of its alias; remove it"),
        ("transport", "a program speaks over its standard input and output: remove it"),
        ("allow_private", "a program has no address: remove it"),
    ];
    for (key, why) in foreign {
        if let Some(node) = reader.take(key) {
            reader.error(&node.place, key, why);
        }
    }
    let mut network =
        ["header", "value", "value_file", "personal", "prefix"].into_iter().chain(OAUTH_KEYS).collect::<Vec<_>>();
    network.retain(|key| reader.has(key));
    for key in network {
        let place = reader.take(key).map_or(Place::Nowhere, |node| node.place);
        let why = "is for servers on the network: give a program its secrets in env_files or personal_env";
        reader.error(&place, key, why);
    }
    reader.parsed("auth", |text| match text {
        "none" => Ok(()),
        other => Err(format!(
            "{other:?} is for servers on the network: remove it, and give the program its secrets in env_files or personal_env"
        )),
    });
    let command = take(reader, directories);
    let authority = alias.and_then(|alias| Authority::of_program(&alias.value).ok());
    Some(Reached {
        authority: authority?,
        kind: Kind::Stdio(Arc::new(command?)),
        path: Some(PROGRAM_PATH.to_owned()),
        auth: UpstreamAuth::None,
        allow_private: None,
    })
}

/// Takes `command` and what belongs to it; `None` when it is not known what to run.
fn take(reader: &mut Reader<'_>, directories: &Directories) -> Option<Command> {
    let words = reader.words("command");
    let args = reader.list("args", argument).map(|found| found.value).unwrap_or_default();
    let env = variables(reader, "env");
    let env_files = variables(reader, "env_files");
    let search_path = env.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.value.clone());
    let search_path = search_path.or_else(|| directories.search_path.clone()).unwrap_or(USUAL_PATH.to_owned());
    let secrets = secret_files(reader, &env, env_files, directories);
    let (personal_env, processes) = personal(reader, &env, &secrets);
    let command = Command {
        program: PathBuf::new(),
        args,
        env: env.into_iter().map(|(name, value)| (name, value.value)).filter(|(name, _)| name != "PATH").collect(),
        secrets,
        personal_env,
        cwd: directory(reader, directories),
        processes,
        idle: reader.parsed("idle", units::duration_or_off).map_or(Some(Duration::from_secs(600)), |found| found.value),
        memory: reader.parsed("memory", memory).map_or(Some(2 << 30), |found| found.value),
        search_path,
    };
    let words = words?;
    let Some((program, first)) = words.value.split_first().filter(|(program, _)| !program.trim().is_empty()) else {
        reader.error(&words.place, "command", "must name a program, like \"npx\" or [\"npx\", \"-y\", \"a-server\"]");
        return None;
    };
    if words.value.iter().any(|word| word.contains('\0')) {
        reader.error(&words.place, "command", "must not contain a NUL character");
        return None;
    }
    // A name is looked for now and again whenever it is started; a path is relative to the configuration.
    let is_path = program.contains('/');
    let program = if is_path { local(program, &words.place, directories) } else { PathBuf::from(program) };
    let command = Command { program, args: [first, &command.args].concat(), ..command };
    if let Err(why) = command.must_be_there() {
        reader.error(&words.place, "command", why);
    }
    Some(command)
}

/// `personal_env`, and who shares a process.
fn personal(
    reader: &mut Reader<'_>,
    env: &[(String, Found<String>)],
    secrets: &[(String, Secret)],
) -> (Vec<String>, Sharing) {
    let personal = reader.list("personal_env", |name| {
        variable(name)?;
        if env.iter().any(|(other, _)| other == name) || secrets.iter().any(|(other, _)| other == name) {
            return Err(format!(
                "{name} is in env or env_files already: let it be either everybody's or each person's"
            ));
        }
        if NEVER_PERSONAL.contains(&name) || NEVER_PERSONAL_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(format!("{name} decides what is executed, so people must not set it: put it into env"));
        }
        Ok(name.to_owned())
    });
    let processes = reader.parsed("processes", |text| match text {
        "person" => Ok(Sharing::Person),
        "shared" => Ok(Sharing::Everybody),
        other => Err(format!("{other:?} is not known: write \"person\" or \"shared\"")),
    });
    if let (Some(personal), Some(Found { value: Sharing::Everybody, place })) = (&personal, &processes)
        && !personal.value.is_empty()
    {
        let why = "a process that everybody shares has nobody's own secrets: write \"person\", or remove personal_env";
        reader.error(place, "processes", why);
    }
    let sharing = processes.map_or(Sharing::Person, |found| found.value);
    (personal.map(|found| found.value).unwrap_or_default(), sharing)
}

/// A table of variables. Those that variables of ours set (`…__ENV__TOKEN`) have their names in upper case.
fn variables(reader: &mut Reader<'_>, key: &'static str) -> Vec<(String, Found<String>)> {
    let all = reader.table(key).named_texts();
    let mut good = Vec::new();
    for (name, found) in all {
        let name = if matches!(found.place, Place::Variable(_)) { name.to_ascii_uppercase() } else { name };
        match variable(&name).and_then(|()| argument(&found.value)) {
            Ok(_) => good.push((name, found)),
            Err(why) => reader.error(&found.place, key, why),
        }
    }
    good
}

fn secret_files(
    reader: &Reader<'_>,
    env: &[(String, Found<String>)],
    files: Vec<(String, Found<String>)>,
    directories: &Directories,
) -> Vec<(String, Secret)> {
    let mut secrets = Vec::new();
    for (name, Found { value, place }) in files {
        if env.iter().any(|(other, _)| *other == name) {
            reader.error(&place, "env_files", format!("{name} is in env already: remove one of them"));
            continue;
        }
        match secrets::read(&directories.resolve(&value, &place)) {
            Ok(secret) => secrets.push((name, secret)),
            Err(why) => reader.error(&place, "env_files", why),
        }
    }
    secrets
}

fn directory(reader: &mut Reader<'_>, directories: &Directories) -> Option<PathBuf> {
    let found = reader.parsed("cwd", |text| Ok(text.to_owned()))?;
    let path = local(&found.value, &found.place, directories);
    if !path.is_dir() {
        let why = format!("there is no directory {}: create it, or correct the path", path.display());
        reader.error(&found.place, "cwd", why);
    }
    Some(path)
}

/// A path as the configuration means it. It is not among the files whose change is a change of the configuration.
fn local(text: &str, place: &Place, directories: &Directories) -> PathBuf {
    let path = match place {
        Place::Variable(_) => PathBuf::from(text),
        _ => directories.configuration.join(text),
    };
    std::path::absolute(&path).unwrap_or(path)
}

/// The name of an environment variable (POSIX.1-2024, 8.1).
fn variable(name: &str) -> Result<(), String> {
    let good = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    good.then_some(()).ok_or_else(|| format!("{name:?} is not the name of a variable: use letters, digits and _"))
}

fn argument(text: &str) -> Result<String, String> {
    let good = !text.contains('\0');
    good.then(|| text.to_owned()).ok_or_else(|| "must not contain a NUL character".to_owned())
}

fn memory(text: &str) -> Result<Option<u64>, String> {
    match text {
        "off" => Ok(None),
        text => units::size(text).map(Some).map_err(|why| format!("{why}, or \"off\"")),
    }
}

/// `transport`
pub(super) fn transport(text: &str) -> Result<Transport, String> {
    match text {
        "auto" => Ok(Transport::Auto),
        "http" => Ok(Transport::StreamableHttp),
        "sse" => Ok(Transport::Sse),
        "websocket" => Ok(Transport::WebSocket),
        other => Err(format!("{other:?} is not a transport: write \"auto\", \"http\", \"sse\" or \"websocket\"")),
    }
}

//! `[[upstream]] command`: an MCP server that is a program of this machine, and `[stdio]`, what holds for all of them.

use super::document::Place;
use super::reader::{Found, Reader};
use super::secrets::{self, Directories};
use super::{ground, units};
use crate::secret::Secret;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What kind of server an upstream is.
#[derive(Clone)]
pub enum Kind {
    /// One that is reached over the network.
    Http {
        /// How it speaks MCP.
        transport: Transport,
    },
    /// A program that we run.
    Stdio(std::sync::Arc<Command>),
}

/// How an upstream speaks MCP, where the unified endpoint is its client. The transparent path passes all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Found out: Streamable HTTP, or else HTTP+SSE (MCP 2026-07-28, Transports, Backward Compatibility).
    #[default]
    Auto,
    /// Streamable HTTP alone.
    StreamableHttp,
    /// HTTP+SSE of 2024-11-05.
    Sse,
    /// One JSON-RPC message a frame, subprotocol `mcp`.
    WebSocket,
}

/// A program that speaks MCP over its standard input and output. It is started without a shell.
#[derive(Clone)]
pub struct Command {
    /// A name to be looked for in `search_path`, or an absolute path.
    pub program: PathBuf,
    /// Passed as they are.
    pub args: Vec<String>,
    /// `PATH` of the program, in which it is looked for itself.
    pub search_path: String,
    /// Variables that are no secrets. Of ours it gets none.
    pub env: Vec<(String, String)>,
    /// Variables whose values were read from files.
    pub secrets: Vec<(String, Secret)>,
    /// Variables whose values each person enters.
    pub personal_env: Vec<String>,
    /// Where it runs; `None`: in a directory of its own.
    pub cwd: Option<PathBuf>,
    /// Who shares a process.
    pub processes: Sharing,
    /// How long a process that nobody uses is kept; `None`: for ever.
    pub idle: Option<Duration>,
    /// How much memory each of its processes may allocate, in bytes; `None`: as much as there is.
    pub memory: Option<u64>,
}

/// Who shares a process of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: every person, and every account of a person, has one.
    Person,
    /// Everybody.
    Everybody,
}

/// `[stdio]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stdio {
    /// Programs run in directories below it; `None`: below the system's directory of temporary files.
    pub directory: Option<PathBuf>,
    /// How many processes there are at most, in all,
    pub max_processes: u32,
    /// and of one upstream.
    pub max_processes_per_upstream: u32,
    /// The longest message that a program may write, in bytes.
    pub max_message: u64,
    /// How they are started. No key: the command line knows.
    pub launcher: Launcher,
}

/// How programs are started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Launcher {
    /// As they are, without limits: where this process is not the portcullis executable.
    #[default]
    Direct,
    /// By this executable, which is portcullis: it sets limits first.
    Confined(PathBuf),
}

impl Launcher {
    /// By the executable of this process, also when the file was replaced meanwhile.
    pub fn this_executable() -> Self {
        Self::Confined(PathBuf::from("/proc/self/exe"))
    }
}

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

impl Default for Kind {
    fn default() -> Self {
        Kind::Http { transport: Transport::Auto }
    }
}

impl Default for Stdio {
    fn default() -> Self {
        Self {
            directory: None,
            max_processes: 256,
            max_processes_per_upstream: 64,
            max_message: 8 << 20,
            launcher: Launcher::Direct,
        }
    }
}

impl Kind {
    /// The program, when it is one.
    pub fn command(&self) -> Option<&std::sync::Arc<Command>> {
        match self {
            Kind::Stdio(command) => Some(command),
            Kind::Http { .. } => None,
        }
    }

    /// Whether it is the same, secrets included.
    pub fn is_same(&self, other: &Kind) -> bool {
        match (self, other) {
            (Kind::Http { transport }, Kind::Http { transport: other }) => transport == other,
            (Kind::Stdio(one), Kind::Stdio(other)) => one.is_same(other),
            _ => false,
        }
    }
}

impl Command {
    /// Whether the program is there now.
    ///
    /// # Errors
    /// What is missing, and what to do.
    pub fn must_be_there(&self) -> Result<(), String> {
        let program = &self.program;
        if program.is_absolute() {
            return match program.metadata() {
                Ok(found) if is_executable(&found) => Ok(()),
                Ok(_) => Err(format!("{} cannot be executed: make it executable (chmod +x)", program.display())),
                Err(_) => Err(format!("there is no program {}: install it, or correct the path", program.display())),
            };
        }
        let found = std::env::split_paths(&self.search_path)
            .any(|directory| directory.join(program).metadata().is_ok_and(|found| is_executable(&found)));
        if found {
            return Ok(());
        }
        let spaced = program.to_string_lossy().contains(char::is_whitespace);
        let hint = if spaced { "write its arguments into args" } else { "give its whole path" };
        Err(format!("there is no program {program:?} in {}: install it, or {hint}", self.search_path))
    }

    /// What people may see of it: the program's name, and nothing of what it is given.
    pub fn name(&self) -> &str {
        self.program.file_name().and_then(|name| name.to_str()).unwrap_or("program")
    }

    /// Whether it is the same, secrets included.
    pub fn is_same(&self, other: &Command) -> bool {
        let Command { program, args, search_path, env, secrets, personal_env, cwd, processes, idle, memory } = self;
        let same = |((name, secret), (other, expected)): (&(String, Secret), &(String, Secret))| {
            name == other && secret.matches(expected.expose())
        };
        (program, args, search_path, env) == (&other.program, &other.args, &other.search_path, &other.env)
            && (personal_env, cwd, processes) == (&other.personal_env, &other.cwd, &other.processes)
            && (idle, memory) == (&other.idle, &other.memory)
            && secrets.len() == other.secrets.len()
            && secrets.iter().zip(&other.secrets).all(same)
    }
}

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

/// Takes `command` and what belongs to it; `None` when it is not known what to run.
pub(super) fn take(reader: &mut Reader<'_>, directories: &Directories) -> Option<Command> {
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

fn is_executable(found: &std::fs::Metadata) -> bool {
    found.is_file() && found.permissions().mode() & 0o111 != 0
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

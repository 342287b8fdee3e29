//! `[[upstream]] command`: an MCP server that is a program of this machine, and `[stdio]`, what holds for all of them.

use crate::secret::Secret;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
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

fn is_executable(found: &std::fs::Metadata) -> bool {
    found.is_file() && found.permissions().mode() & 0o111 != 0
}

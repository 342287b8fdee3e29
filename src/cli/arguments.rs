//! What can be typed.

mod clients;
mod keys;
mod people;
mod programs;
mod upstreams;

pub(super) use clients::{ClientCommand, GrantCommand, MachineGrant, NewClient};
pub(super) use keys::{CertificatesCommand, KeysCommand, VaultCommand};
pub(super) use people::{GroupCommand, RoleName, UserCommand};
pub(super) use programs::{ApiKeyCommand, AuditCommand, PatCommand, ServiceCommand};
pub(super) use upstreams::{ConnectionCommand, CredentialCommand, UpstreamCommand, Whom};

use clap::{ArgAction, Parser, Subcommand};
use std::path::PathBuf;

/// A self-hosted gateway that puts OAuth 2.1 in front of MCP servers.
#[derive(Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    /// The configuration; without it /etc/portcullis/portcullis.toml if that exists, else defaults for this machine
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print listings as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    #[command(flatten)]
    pub(super) remote: Remote,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// A running gateway, for the commands about what a gateway holds.
#[derive(clap::Args)]
pub(super) struct Remote {
    /// Tell a running gateway through its API, instead of this machine's database; see `login`
    #[arg(long, global = true, value_name = "URL")]
    pub(super) server: Option<String>,
    /// An API key with the scope admin for --server; otherwise PORTCULLIS_API_KEY or what `login` got
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) api_key_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run the gateway
    ///
    /// SIGHUP, or a change of its files, makes it read the configuration again; SIGUSR2 makes it start its binary again and
    /// hand over to the new process; SIGTERM stops it, a second one at once.
    Serve,
    /// Run everything on this machine, with demo servers behind it; nothing is kept
    Demo {
        /// The gateway's port on 127.0.0.1
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// Serve one MCP server on standard input and output over HTTP, without sign-in
    Bridge(super::bridge::Arguments),
    /// The demonstration's MCP server on standard input and output
    #[command(hide = true)]
    DemoStdio,
    /// Validate the configuration: every error at once, with its line
    Check,
    /// Ask the gateway on this machine whether it is ready (/readyz): status 0 if it is
    ///
    /// For containers, which hold no other program that could ask.
    Health,
    /// Print the label that leads to an MCP server
    Encode {
        /// A domain or the server's URL
        domain: String,
        /// The gateway's domain: print the whole URL
        #[arg(long)]
        root: Option<String>,
    },
    /// Print the domain behind a label, a hostname or a URL
    Decode {
        /// A label, a hostname or a URL
        text: String,
    },
    /// Find out why a client does not connect: DNS, TLS, what is in between, and each client's own steps
    ///
    /// Exit status 0: all clients connect; 1: at least one does not, and the output says at which step, why, and what to do.
    Doctor(super::doctor::Arguments),
    /// People who may sign in, their roles and groups
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// MCP servers that an administrator decided about
    Upstream {
        #[command(subcommand)]
        command: UpstreamCommand,
    },
    /// People's authorizations at MCP servers
    Connection {
        #[command(subcommand)]
        command: ConnectionCommand,
    },
    /// OAuth clients: those that registered, and those that people let in
    Client {
        #[command(subcommand)]
        command: ClientCommand,
    },
    /// What people granted to OAuth clients
    Grant {
        #[command(subcommand)]
        command: GrantCommand,
    },
    /// Keys of programs: for the admin API, introspection and the token broker
    Apikey {
        #[command(subcommand)]
        command: ApiKeyCommand,
    },
    /// Services of the token broker: who has connected them, and personal access tokens
    Service {
        #[command(subcommand)]
        command: ServiceCommand,
    },
    /// Keys that sign access tokens
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Certificates that the listeners present
    Certificates {
        #[command(subcommand)]
        command: CertificatesCommand,
    },
    /// Who did what
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// The vault that seals stored secrets
    Vault {
        #[command(subcommand)]
        command: VaultCommand,
    },
    /// Write everything that the database holds into a sealed file, while gateways run
    Backup {
        /// A new file; with --check, one that there is
        file: PathBuf,
        /// Read a backup from its beginning to its end instead, and change nothing
        #[arg(long)]
        check: bool,
    },
    /// Put a backup into the database, all of it or nothing; stop all gateways first
    Restore {
        /// What `backup` wrote
        file: PathBuf,
        /// Give up everything that the database holds
        #[arg(long)]
        force: bool,
        /// End all sessions, grants and tokens of the backup: what was revoked since then would live again
        #[arg(long)]
        sign_everybody_out: bool,
    },
    /// Copy an installation into another, empty database, all of it or nothing; stop all gateways first
    ///
    /// From SQLite to PostgreSQL or back. The vault key stays the same; afterwards set store.url to the second URL. Nobody has
    /// to sign in again.
    Migrate {
        /// The URL of the database that there is, such as sqlite:///var/lib/portcullis/portcullis.db
        from: String,
        /// The URL of an empty one, such as postgres://user@host/database (the password may be in PGPASSWORD or in a file
        /// that PGPASSFILE names)
        to: String,
    },
    /// Sign this command line in at a gateway, or at an MCP server behind one
    ///
    /// Shows an address and a code for a browser anywhere, and keeps what is issued in credentials.json below
    /// $XDG_CONFIG_HOME/portcullis (~/.config/portcullis).
    Login {
        /// A gateway (for `--server`), or the URL of an MCP server behind one (for `token`)
        url: String,
    },
    /// Print an access token for a server that `login` was run for, renewed when it is about to end
    ///
    /// For example: curl -H "Authorization: Bearer $(portcullis token URL)" URL
    Token {
        /// As given to `login`
        url: String,
    },
    /// Revoke what `login` got for a server, and forget it
    Logout {
        /// As given to `login`
        url: String,
    },
    /// Print the OpenAPI document of the admin API
    Openapi,
    /// Print the completions for a shell
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

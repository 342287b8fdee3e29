//! What can be typed.

use crate::administration::records::{ApiScope, Moment};
use crate::apikey::{self, UnknownApiScope};
use crate::config;
use crate::jose::SigningAlgorithm;
use clap::{ArgAction, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

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

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add a person
    Add {
        /// 1 to 64 characters of A-Z a-z 0-9 . _ @ -
        name: String,
        /// May approve MCP servers and manage people
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        password: Password,
    },
    /// List everybody
    List,
    /// Give a person a new password and sign the person out everywhere
    Passwd {
        /// Who
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// Take authenticator app, passkeys and recovery codes away from a person who is locked out, and sign the person out
    ResetFactors {
        /// Who
        name: String,
    },
    /// Remove a person with everything that belongs to the person; what is open ends
    Remove {
        /// Who
        name: String,
    },
    /// Let nobody sign in as this person; sessions and grants end, connections stay
    Disable {
        /// Who
        name: String,
    },
    /// Let a person sign in again; clients ask for consent again
    Enable {
        /// Who
        name: String,
    },
    /// Make a person an administrator or a member
    Role {
        /// Who
        name: String,
        /// What
        role: RoleName,
    },
    /// Groups, for permissions
    Group {
        #[command(subcommand)]
        command: GroupCommand,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum RoleName {
    /// Approves MCP servers, manages people
    Administrator,
    /// Connects accounts, lets clients in
    Member,
}

#[derive(Subcommand)]
pub(super) enum GroupCommand {
    /// Put a person into a group; it need not be there before
    Add {
        /// Who
        name: String,
        /// Into which, to the letter
        group: String,
    },
    /// Take a person out of a group; what only its members may use ends
    Remove {
        /// Who
        name: String,
        /// Out of which
        group: String,
    },
    /// List the groups that have members
    List,
}

#[derive(clap::Args)]
pub(super) struct Password {
    /// Read the password from the first line of standard input
    #[arg(long, required = true)]
    password_stdin: bool,
}

#[derive(Subcommand)]
pub(super) enum UpstreamCommand {
    /// Add an MCP server, approved
    Add {
        /// Its domain or URL
        domain: String,
        /// A readable label
        #[arg(long)]
        alias: Option<String>,
        /// A name for people
        #[arg(long)]
        name: Option<String>,
    },
    /// List the configured and the approved or denied ones
    List,
    /// Approve an MCP server that somebody asked for
    Approve {
        /// Its domain or URL
        domain: String,
    },
    /// Forget a decision; what is open there ends unless unknown servers are allowed
    Remove {
        /// Its domain or URL
        domain: String,
    },
    /// Permit an MCP server to people and groups; from the first time on, to nobody else
    Allow {
        /// Its domain or URL
        domain: String,
        #[command(flatten)]
        whom: Whom,
    },
    /// Forbid an MCP server; with --user or --group, take the permission from them. What they have open there ends
    Deny {
        /// Its domain or URL
        domain: String,
        #[command(flatten)]
        whom: Whom,
    },
    /// Permit an MCP server to everybody again
    Reset {
        /// Its domain or URL
        domain: String,
    },
    /// Values that people give an MCP server by hand, such as API keys
    Credential {
        #[command(subcommand)]
        command: CredentialCommand,
    },
}

#[derive(Subcommand)]
pub(super) enum CredentialCommand {
    /// Keep a value of a person, in place of an earlier one; it is read from standard input
    Set {
        /// Its domain, URL or alias
        upstream: String,
        /// Whose
        #[arg(long, value_name = "NAME")]
        user: String,
        /// For which of the person's accounts there, as in the hostname
        #[arg(long)]
        account: Option<String>,
        /// Which one, where several are wanted: the header or the environment variable
        #[arg(long)]
        name: Option<String>,
        /// Read the value from a file instead
        #[arg(long, value_name = "FILE")]
        value_file: Option<PathBuf>,
    },
    /// List who has given what; the values themselves are shown to nobody
    List {
        /// Only for this one: its domain, URL or alias
        upstream: Option<String>,
    },
    /// Forget a value of a person, or all of them; what is open with it ends
    Remove {
        /// Its domain, URL or alias
        upstream: String,
        /// Whose
        #[arg(long, value_name = "NAME")]
        user: String,
        /// For which of the person's accounts there
        #[arg(long)]
        account: Option<String>,
        /// Which one; without it, all of them
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(clap::Args)]
pub(super) struct Whom {
    /// A person
    #[arg(long = "user", value_name = "NAME")]
    pub(super) users: Vec<String>,
    /// The members of a group
    #[arg(long = "group", value_name = "GROUP")]
    pub(super) groups: Vec<String>,
}

#[derive(Subcommand)]
pub(super) enum ConnectionCommand {
    /// List all connections
    List,
    /// Delete a connection with its tokens; what is open with them ends
    Revoke {
        /// As listed
        id: String,
    },
}

#[derive(Subcommand)]
pub(super) enum ClientCommand {
    /// Make a client for a program that acts for a person, and print its secret, once: nobody can show it again
    Add(NewClient),
    /// List the clients that registered, and those that people granted something to
    List,
    /// Delete a client and end everything that people granted to it
    #[command(allow_missing_positional = true)]
    Revoke {
        /// As listed: the label of an MCP hostname, or - for the root domain; without it everywhere
        realm: Option<String>,
        /// As listed
        #[arg(required = true)]
        id: String,
    },
}

#[derive(Subcommand)]
pub(super) enum GrantCommand {
    /// List the grants in force, newest first
    List {
        /// Only those of this person
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Only those to the client with this id
        #[arg(long, value_name = "ID")]
        client: Option<String>,
    },
    /// End a grant with its tokens; what is open with them ends
    Revoke {
        /// As listed
        id: String,
    },
}

#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// List what happened, newest first
    List {
        /// Only what this actor did: a user name, a client id, apikey:NAME or system
        #[arg(long)]
        actor: Option<String>,
        /// Only this action, such as grant.created
        #[arg(long)]
        action: Option<String>,
        /// Only what happened at this time or later, such as 2026-01-31T12:00:00Z
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<Moment>,
        /// Only what happened before this time
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<Moment>,
        /// How many events at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
}

fn scope(text: &str) -> Result<ApiScope, UnknownApiScope> {
    text.parse::<apikey::ApiScope>().map(ApiScope::from)
}

fn moment(text: &str) -> Result<Moment, &'static str> {
    Moment::try_from(text.to_owned())
}

#[derive(Subcommand)]
pub(super) enum ApiKeyCommand {
    /// Make a key and print it, once: nobody can show it again
    Create {
        /// 1 to 64 characters of A-Z a-z 0-9 . _ @ -
        name: String,
        /// admin, introspect or broker; can be given several times. Without any it is for the broker
        #[arg(long = "scope", value_parser = scope)]
        scopes: Vec<ApiScope>,
        /// A URL whose tokens the key may introspect, with everything below it; can be given several times
        #[arg(long = "resource", value_name = "URL")]
        resources: Vec<String>,
        /// A service of the broker that the key may use, instead of all; can be given several times
        #[arg(long = "service")]
        services: Vec<String>,
        /// A person for whom the key may use the broker, instead of all; can be given several times
        #[arg(long = "user")]
        users: Vec<String>,
        /// How long it lives, such as 90d; for ever without
        #[arg(long, value_parser = config::positive_duration)]
        expires: Option<Duration>,
    },
    /// List all keys
    List,
    /// End a key, everywhere at once
    Revoke {
        /// As listed: the part of the key before the dot
        id: String,
    },
}

#[derive(Subcommand)]
pub(super) enum ServiceCommand {
    /// List the services of the configuration
    List,
    /// List people's connections at services
    Connections {
        /// Only those of this person
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// End a person's connection at a service, and give it back to the provider; a personal access token stays
    Disconnect {
        /// As listed
        service: String,
        /// Whose
        #[arg(long, value_name = "NAME")]
        user: String,
    },
    /// Personal access tokens, for when there is no connection or the provider is in trouble
    Pat {
        #[command(subcommand)]
        command: PatCommand,
    },
}

#[derive(Subcommand)]
pub(super) enum PatCommand {
    /// Keep a person's token, in place of an earlier one; it is read from the first line of standard input
    Set {
        /// As listed
        service: String,
        /// Whose
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Read the token from the first line of a file instead
        #[arg(long, value_name = "FILE")]
        pat_file: Option<PathBuf>,
    },
    /// Forget a person's token
    Remove {
        /// As listed
        service: String,
        /// Whose
        #[arg(long, value_name = "NAME")]
        user: String,
    },
    /// List who keeps a token here; the tokens themselves are shown to nobody
    List,
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("place").required(true).args(["upstream", "root"])))]
#[command(group(clap::ArgGroup::new("proof").args(["jwks", "secret"])))]
pub(super) struct NewClient {
    /// For people
    pub(super) name: String,
    /// The person for whom it acts: the person's connections are used
    #[arg(long)]
    pub(super) user: String,
    /// The MCP server that it uses: a domain, URL, or alias
    #[arg(long, value_name = "DOMAIN")]
    pub(super) upstream: Option<String>,
    /// It uses the root domain: the admin API, the unified endpoint
    #[arg(long)]
    root: bool,
    /// What it may ask for; can be given several times. Without any, at an MCP server, what the person's connection allows
    #[arg(long = "scope")]
    pub(super) scopes: Vec<String>,
    /// How it gets tokens; can be given several times
    #[arg(long = "grant", value_enum, default_value = "client_credentials")]
    pub(super) grants: Vec<MachineGrant>,
    /// It signs its requests with a key of this JWK set: a file, or the URL where the set is published
    #[arg(long, value_name = "FILE|URL")]
    pub(super) jwks: Option<String>,
    /// It has a secret, which is printed: so it is without --jwks
    #[arg(long)]
    secret: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum MachineGrant {
    /// With its own credentials (RFC 6749, 4.4)
    ClientCredentials,
    /// With a token of somebody's (RFC 8693)
    TokenExchange,
    /// With an assertion of an identity provider (RFC 7523)
    JwtBearer,
}

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// List the signing keys, what each of them does, and until when
    List,
    /// Make a new signing key
    ///
    /// The new key is published at once and signs a day later, so that whoever keeps a copy of the key set knows it by then. The
    /// old key then signs no more; what it signed stays good until it expires. `tokens.key_rotation` does this by schedule.
    Rotate {
        /// What the new key signs with: ES256 or EdDSA; without it what `tokens.signing_algorithm` says
        #[arg(long)]
        algorithm: Option<SigningAlgorithm>,
        /// For a key that has leaked: the new key signs at once, and every other key is removed with everything it signed
        ///
        /// All access tokens that are out are refused within a second on every node, and open streams end. Clients get new ones
        /// with their refresh tokens; nobody has to sign in again. Services that verify tokens with a copy of the key set
        /// refuse the new tokens, and accept the old, until they fetch it again (after five minutes at most, where they
        /// heed what we say).
        #[arg(long)]
        now: bool,
    },
}

#[derive(Subcommand)]
pub(super) enum VaultCommand {
    /// Make a new vault key and print it
    Keygen {
        /// Write it to a new file instead, for its owner alone
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Have the PKCS#11 token of `[vault.pkcs11]` wrap a vault key, and print what belongs into `vault.key_file`
    Wrap {
        /// The file of a vault key in the clear; without it a new key is made
        key_file: Option<PathBuf>,
        /// Write it to a new file instead, for its owner alone
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// How many values are sealed with which vault key
    Status,
    /// Wrap every stored value anew that is sealed with an earlier vault key, while gateways run
    ///
    /// Only the wrapped data key of a value changes. It can be stopped at any moment and goes on where it was. At the end it
    /// says which keys nothing needs any more.
    Rewrap {
        /// No gateway is running
        #[arg(long)]
        offline: bool,
    },
}

//! `portcullis upstream` and `portcullis connection`.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(in crate::cli) enum UpstreamCommand {
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
pub(in crate::cli) enum CredentialCommand {
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
pub(in crate::cli) struct Whom {
    /// A person
    #[arg(long = "user", value_name = "NAME")]
    pub(in crate::cli) users: Vec<String>,
    /// The members of a group
    #[arg(long = "group", value_name = "GROUP")]
    pub(in crate::cli) groups: Vec<String>,
}

#[derive(Subcommand)]
pub(in crate::cli) enum ConnectionCommand {
    /// List all connections
    List,
    /// Delete a connection with its tokens; what is open with them ends
    Revoke {
        /// As listed
        id: String,
    },
}

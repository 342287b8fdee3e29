//! `portcullis apikey`, `service` and `audit`.

use crate::administration::records::{ApiScope, Moment};
use crate::apikey::{self, UnknownApiScope};
use crate::config;
use crate::store::AuditLink;
use clap::Subcommand;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Subcommand)]
pub(in crate::cli) enum ApiKeyCommand {
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
pub(in crate::cli) enum ServiceCommand {
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
pub(in crate::cli) enum PatCommand {
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

#[derive(Subcommand)]
pub(in crate::cli) enum AuditCommand {
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
    /// Compare every line with its hash and with the line before it; exit 1 with the first one that does not fit
    ///
    /// Without --anchor, whoever can change the database may have written the whole chain anew. The log of the gateway says the head
    /// of the chain from time to time, and so does this command: keep one where the database cannot reach it.
    Verify {
        /// A link of the chain that was kept elsewhere
        #[arg(long, value_name = "POSITION:HASH")]
        anchor: Option<AuditLink>,
    },
    /// Print every line, oldest first, with its place in the chain
    Export {
        /// Only what happened at this time or later, such as 2026-01-31T12:00:00Z
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<Moment>,
        /// Only what happened before this time
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<Moment>,
        /// As what
        #[arg(long, value_enum, default_value = "jsonl")]
        format: AuditFormat,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(in crate::cli) enum AuditFormat {
    /// One JSON object a line
    Jsonl,
}

fn scope(text: &str) -> Result<ApiScope, UnknownApiScope> {
    text.parse::<apikey::ApiScope>().map(ApiScope::from)
}

fn moment(text: &str) -> Result<Moment, &'static str> {
    Moment::try_from(text.to_owned())
}

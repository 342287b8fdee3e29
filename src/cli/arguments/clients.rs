//! `portcullis client` and `portcullis grant`.

use clap::Subcommand;

#[derive(Subcommand)]
pub(in crate::cli) enum ClientCommand {
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
pub(in crate::cli) enum GrantCommand {
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

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("place").required(true).args(["upstream", "root"])))]
#[command(group(clap::ArgGroup::new("proof").args(["jwks", "secret"])))]
pub(in crate::cli) struct NewClient {
    /// For people
    pub(in crate::cli) name: String,
    /// The person for whom it acts: the person's connections are used
    #[arg(long)]
    pub(in crate::cli) user: String,
    /// The MCP server that it uses: a domain, URL, or alias
    #[arg(long, value_name = "DOMAIN")]
    pub(in crate::cli) upstream: Option<String>,
    /// It uses the root domain: the admin API, the unified endpoint
    #[arg(long)]
    root: bool,
    /// What it may ask for; can be given several times. Without any, at an MCP server, what the person's connection allows
    #[arg(long = "scope")]
    pub(in crate::cli) scopes: Vec<String>,
    /// How it gets tokens; can be given several times
    #[arg(long = "grant", value_enum, default_value = "client_credentials")]
    pub(in crate::cli) grants: Vec<MachineGrant>,
    /// It signs its requests with a key of this JWK set: a file, or the URL where the set is published
    #[arg(long, value_name = "FILE|URL")]
    pub(in crate::cli) jwks: Option<String>,
    /// It has a secret, which is printed: so it is without --jwks
    #[arg(long)]
    secret: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(in crate::cli) enum MachineGrant {
    /// With its own credentials (RFC 6749, 4.4)
    ClientCredentials,
    /// With a token of somebody's (RFC 8693)
    TokenExchange,
    /// With an assertion of an identity provider (RFC 7523)
    JwtBearer,
}

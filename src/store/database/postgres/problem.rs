//! Why a database of PostgreSQL cannot be used, and what to do about it. No password is in any of these texts.

use super::OLDEST;
use crate::store::StoreError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;

/// Why a database cannot be opened.
pub(super) enum Problem {
    Silent,
    Old(String),
    Encoding(String),
    Database(sqlx::Error),
    Migration(MigrateError),
}

/// What a URL names, without its password.
pub(super) struct Target {
    server: String,
    database: String,
    user: String,
}

impl Target {
    pub(super) fn of(options: &PgConnectOptions) -> Self {
        let server = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let database = options.get_database().unwrap_or_default().to_owned();
        Self { server, database, user: options.get_username().to_owned() }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<MigrateError> for Problem {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Self::Database(error),
            other => Self::Migration(other),
        }
    }
}

impl Problem {
    pub(super) fn describe(self, target: &Target) -> StoreError {
        let Target { server, database, .. } = target;
        StoreError::Unusable(match self {
            Self::Silent => format!(
                "PostgreSQL at {server} does not answer: look whether it runs and whether a firewall is between, or \
                 correct store.url"
            ),
            Self::Old(version) => format!(
                "PostgreSQL at {server} is too old (server_version_num {version}): version {OLDEST} or newer is needed"
            ),
            Self::Encoding(encoding) => format!(
                "the database {database} on {server} has the encoding {encoding}: make one with CREATE DATABASE … \
                 ENCODING 'UTF8' TEMPLATE template0"
            ),
            Self::Migration(MigrateError::VersionMissing(_)) => format!(
                "the database {database} on {server} was written by a newer version of portcullis: run that version, or \
                 restore a backup"
            ),
            Self::Migration(error) => {
                format!("the database {database} on {server} cannot be brought up to date: {error}; restore a backup")
            }
            Self::Database(error) => describe(&error, target),
        })
    }
}

/// By SQLSTATE (PostgreSQL's Appendix A).
fn describe(error: &sqlx::Error, Target { server, database, user }: &Target) -> String {
    let code = error.as_database_error().and_then(|error| error.code());
    match (error, code.as_deref()) {
        (_, Some("28P01")) => format!(
            "PostgreSQL at {server} refuses the password of {user}: correct it in store.url (or in store.url_file)"
        ),
        (_, Some("28000")) => format!(
            "PostgreSQL at {server} does not let {user} in ({error}): create the user, or allow it in pg_hba.conf"
        ),
        (_, Some("3D000")) => {
            format!("there is no database {database} on {server}: make it with CREATE DATABASE {database} OWNER {user}")
        }
        (_, Some("42501")) => format!(
            "{user} must not create tables in the database {database} on {server}: make {user} its owner (ALTER DATABASE \
             {database} OWNER TO {user})"
        ),
        (_, Some("25006")) => format!(
            "the database {database} on {server} is read-only: name the primary server in store.url, not a standby"
        ),
        (_, Some("53300")) => format!(
            "PostgreSQL at {server} has no connection left: lower store.connections, or raise its max_connections"
        ),
        (_, Some("57P03")) => format!("PostgreSQL at {server} is starting or stopping: try again in a moment"),
        (sqlx::Error::Io(error), _) => {
            format!("PostgreSQL at {server} cannot be reached ({error}): start it, or correct store.url")
        }
        (sqlx::Error::Tls(error), _) => format!(
            "there is no TLS with PostgreSQL at {server} ({error}): give store.url ?sslrootcert=FILE for an authority of \
             your own, or ?sslmode=disable where the network is trusted"
        ),
        (sqlx::Error::PoolTimedOut, _) => format!("PostgreSQL at {server} cannot be reached: start it"),
        _ => format!("the database {database} on {server} cannot be used: {error}"),
    }
}

//! How our words become columns and rows become records, in one place for reading and writing.

use super::database::{Bind, Cell, Column, FromRow, Kind, Row, Value};
use super::*;
use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, ConnectionId, Digest, GrantId, NodeId, PasskeyId, SessionId, UserId};
use crate::jose::SigningAlgorithm;
use sqlx::error::BoxDynError;

/// A record that has a name for error messages.
pub(super) trait Record: FromRow {
    const WHAT: &'static str;
}

/// Makes a failure to read a record name the kind of the record.
pub(super) fn reading<T: Record>(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::ColumnDecode { .. } => StoreError::Damaged(T::WHAT),
        other => other.into(),
    }
}

/// `$word` is kept as `$kept`.
macro_rules! column {
    ($word:ident as $kept:ty) => {
        impl<'q> Bind<'q> for $word {
            const KIND: Kind = <$kept as Bind<'q>>::KIND;

            fn value(self) -> Value<'q> {
                self.0.value()
            }
        }

        impl<'r> Column<'r> for $word {
            fn read(cell: Cell<'r>) -> Result<Self, BoxDynError> {
                <$kept as Column<'r>>::read(cell).map($word)
            }
        }
    };
}

/// An enum is kept as text.
macro_rules! named {
    ($word:ident: $($variant:ident = $text:literal),+) => {
        impl<'q> Bind<'q> for $word {
            const KIND: Kind = Kind::Text;

            fn value(self) -> Value<'q> {
                match self { $($word::$variant => $text.value(),)+ }
            }
        }

        impl<'r> Column<'r> for $word {
            fn read(cell: Cell<'r>) -> Result<Self, BoxDynError> {
                match <&str>::read(cell)? { $($text => Ok($word::$variant),)+ _ => Err("not a value of ours".into()) }
            }
        }
    };
}

/// Columns have the names of the fields; another name is given in parentheses.
macro_rules! record {
    ($record:ident, $what:literal: $($field:ident $(($column:literal))?),+) => {
        impl FromRow for $record {
            fn from_row(row: &Row) -> sqlx::Result<Self> {
                Ok(Self { $($field: row.try_get(record!(@column $field $($column)?))?),+ })
            }
        }

        impl Record for $record {
            const WHAT: &'static str = $what;
        }
    };
    (@column $field:ident) => { stringify!($field) };
    (@column $field:ident $column:literal) => { $column };
}

column!(Timestamp as i64);
column!(Digest as [u8; 32]);
column!(UserId as [u8; 16]);
column!(GrantId as [u8; 16]);
column!(ApiKeyId as [u8; 16]);
column!(ConnectionId as [u8; 16]);
column!(SessionId as [u8; 16]);
column!(PasskeyId as [u8; 16]);
column!(NodeId as [u8; 16]);

named!(Role: Administrator = "administrator", Member = "member");
named!(Decision: Approved = "approved", Denied = "denied");
named!(DeviceState: Waiting = "waiting", Approved = "approved", Denied = "denied", Used = "used");
named!(SigningAlgorithm: Es256 = "ES256", EdDsa = "EdDSA");
named!(LinkCallback: Service = "service", Shared = "shared");
named!(ConnectionState: Active = "active", Open = "open", NeedsConsent = "needs_consent");

record!(User, "user": id, name, password_hash, email, role, disabled, created_at);
record!(LinkedIdentity, "identity":
    issuer, subject, provider, user("user_id"), name, email, created_at, last_used_at);
record!(Client, "client":
    realm, id, metadata, secret, registration_token, created_at, last_used_at, owner("owner_id"), expires_at);
record!(Session, "session":
    token, id, user("user_id"), means, address, user_agent, created_at, last_seen_at, expires_at);
record!(ClientDocument, "client metadata document": url, body, fetched_at, fresh_until);
record!(Grant, "grant":
    id, user("user_id"), client_id, client_name, realm, resource, scope, created_at, revoked_at);
record!(GrantedClient, "grant": realm, client_id, client_name, grants);
record!(AuthorizationCode, "authorization code":
    code, grant("grant_id"), redirect_uri, code_challenge, expires_at, used_at, dpop_jkt);
record!(DeviceCode, "device code":
    code, user_code, realm, client_id, resource, scope, expires_at, interval, polled_at, claimed_by, state,
    grant("grant_id"));
record!(RememberedConsent, "remembered consent":
    user("user_id"), realm, client_id, resource, redirect_host, scope, expires_at);
record!(Flow, "flow": id, session, data, expires_at);
record!(SigningKey, "signing key": kid, algorithm, sealed, created_at, active_from, token_ttl);
record!(StoredCertificate, "certificate":
    name, names, directory, chain, sealed, not_before, not_after, renew_at, ask_at, failures, last_error);
record!(AcmeChallenge, "challenge": kind, key, name, answer, expires_at);
record!(Upstream, "upstream": authority, decision, alias, name, decided_by, decided_at);
record!(Node, "node": id, host, pid, version, started_at, ending, streams, memory, behind_ms);
record!(Discovery, "discovery": authority, document, found_at);
record!(UpstreamClient, "registration at an upstream":
    issuer, redirect_uri, client_id, sealed_secret, auth_method, expires_at, created_at);
record!(Connection, "connection":
    id, user("user_id"), authority, account, state, sealed, personal, scope, expires_at, version, refreshing_since,
    last_error, created_at, updated_at, last_used_at);
record!(ApiKey, "API key":
    id, name, secret, scopes, resources, services, users, created_at, expires_at, last_used_at);
record!(ServiceLink, "link to a service":
    id, api_key, user("user_id"), service, scope, callback, return_to, expires_at);
record!(McpSession, "MCP session":
    token, user("user_id"), client_id, realm, sealed, created_at, last_seen_at);
record!(Authenticator, "authenticator": user("user_id"), sealed, browser, last_step, created_at, confirmed_at);
record!(Passkey, "passkey":
    id, credential_id, user("user_id"), name, public_key, sign_count, created_at, last_used_at);
record!(ServicePat, "personal access token": user("user_id"), service, sealed, created_at);
record!(Parting, "parting": id, user("user_id"), authority, account, sealed, attempts);
record!(PasskeyHolder, "passkey holder": handle, after_password);
record!(AuditEvent, "audit event": at, actor, action, subject, address, upstream, client, status, duration_ms);

impl FromRow for refreshes::Standing {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let holder: Option<String> = row.try_get("lease_holder")?;
        let until: Option<Timestamp> = row.try_get("lease_until")?;
        let at: Option<Timestamp> = row.try_get("refreshing_since")?;
        let presented: Option<Digest> = row.try_get("refreshing_token")?;
        let attempt = at.zip(presented).map(|(at, presented)| Attempt {
            holder: holder.clone().unwrap_or_default(),
            at,
            presented,
        });
        Ok(Self { version: row.try_get("version")?, fence: row.try_get("fence")?, lease: holder.zip(until), attempt })
    }
}

impl FromRow for UpstreamAccess {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let damaged = |index: &str| sqlx::Error::ColumnDecode { index: index.to_owned(), source: "no list".into() };
        let list = |column: &str| -> sqlx::Result<Vec<String>> {
            serde_json::from_str(row.try_get(column)?).map_err(|_| damaged(column))
        };
        let users = list("users")?.into_iter().map(|id| id.parse().map_err(|_| damaged("users")));
        Ok(Self {
            authority: row.try_get("authority")?,
            users: users.collect::<sqlx::Result<_>>()?,
            groups: list("groups")?,
        })
    }
}

impl Record for UpstreamAccess {
    const WHAT: &'static str = "permission";
}

impl FromRow for RefreshToken {
    fn from_row(row: &Row) -> sqlx::Result<Self> {
        let successor = match row.try_get("successor_token")? {
            Some(token) => Some(Successor {
                token,
                sealed: row.try_get("successor_sealed")?,
                rotated_at: row.try_get("rotated_at")?,
            }),
            None => None,
        };
        Ok(Self {
            token: row.try_get("token")?,
            grant: row.try_get("grant_id")?,
            issued_at: row.try_get("issued_at")?,
            expires_at: row.try_get("expires_at")?,
            successor,
            first_used_at: row.try_get("first_used_at")?,
            dpop_jkt: row.try_get("dpop_jkt")?,
        })
    }
}

impl Record for RefreshToken {
    const WHAT: &'static str = "refresh token";
}

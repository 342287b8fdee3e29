//! What is kept sealed: the tokens of a connection, and a flow that waits for the browser to come back.

use super::{ConnectionKey, Connections};
use crate::error::Fault;
use crate::ids::{ConnectionId, Digest, UserId};
use crate::store::{Connection, Parting};
use crate::vault::Place;
use data_encoding::{BASE64, HEXLOWER};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Who we are at an authorization server.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct OurClient {
    pub(super) id: String,
    pub(super) secret: Option<String>,
    /// `none`, `client_secret_basic` or `client_secret_post`.
    pub(super) auth_method: String,
}

/// Everything that a request to the token endpoint needs; recorded when the flow begins, so that neither a later
/// registration nor later metadata sends a code or a refresh token elsewhere.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct AtServer {
    /// What registrations are kept by.
    pub(super) issuer: String,
    pub(super) token_endpoint: String,
    pub(super) client: OurClient,
    pub(super) redirect_uri: String,
    /// RFC 8707; `None`: not sent.
    pub(super) resource: Option<String>,
    /// Where the authorization is given back (RFC 7009), as far as the metadata says.
    #[serde(default)]
    pub(super) revocation_endpoint: Option<String>,
}

/// The tokens of a connection. An open one, used without authorization, has an empty access token and no server.
#[derive(Clone, Default, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    pub(super) server: Option<AtServer>,
    /// The scopes that were asked for: a server that grants less is not asked again and again.
    pub(super) asked: String,
    /// When these tokens replaced ones that the upstream had rejected, in seconds since the Unix epoch.
    pub(super) replaced_rejected_at: Option<i64>,
    /// The refresh token that was exchanged for the present one, until that has been used successfully itself.
    #[serde(default)]
    pub(super) previous_refresh_token: Option<String>,
}

/// A flow between `begin` and `finish`.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Pending {
    pub(super) user: String,
    pub(super) authority: String,
    pub(super) account: String,
    pub(super) server: AtServer,
    /// What `iss` must be (RFC 9207 §2.4); unknown when an administrator gave endpoints without an issuer.
    pub(super) expected_iss: Option<String>,
    /// Whether the metadata promised `iss`.
    pub(super) iss_promised: bool,
    pub(super) verifier: String,
    pub(super) scope: String,
    pub(super) return_to: String,
}

impl Pending {
    /// Whose connection it is going to be.
    pub(super) fn key(&self) -> Option<ConnectionKey> {
        ConnectionKey::parse(self.user.parse().ok()?, &self.authority, &self.account)
    }
}

impl Connections {
    pub(super) fn seal_tokens(&self, key: &ConnectionKey, tokens: &Tokens) -> Result<Vec<u8>, Fault> {
        let user = key.user.to_string();
        let row = row_of(&user, key.target.as_str(), key.account_text());
        let place = connection_place(&row, &user, key.target.as_str());
        Ok(self.vault.seal(&place, &to_json(tokens)?))
    }

    pub(super) fn open_tokens(&self, row: &Connection) -> Result<Tokens, Fault> {
        self.open_at((row.user, &row.authority, &row.account), row.id, &row.sealed)
    }

    /// The tokens of a connection that there is no more.
    pub(super) fn open_parting(&self, parting: &Parting) -> Result<Tokens, Fault> {
        self.open_at((parting.user, &parting.authority, &parting.account), parting.id, &parting.sealed)
    }

    fn open_at(
        &self,
        (user, authority, account): (UserId, &str, &str),
        id: ConnectionId,
        sealed: &[u8],
    ) -> Result<Tokens, Fault> {
        let user = user.to_string();
        let row = row_of(&user, authority, account);
        let opened = self.vault.open(&connection_place(&row, &user, authority), sealed);
        let opened = opened.map_err(|error| Fault::gateway(format!("connection {id}: {error}")))?;
        from_json(&opened, "connection")
    }

    pub(super) fn seal_pending(&self, id: &Digest, pending: &Pending) -> Result<String, Fault> {
        let row = HEXLOWER.encode(&id.0);
        Ok(BASE64.encode(&self.vault.seal(&flow_place(&row), &to_json(pending)?)))
    }

    pub(super) fn open_pending(&self, id: &Digest, data: &str) -> Result<Pending, Fault> {
        let row = HEXLOWER.encode(&id.0);
        let sealed = BASE64.decode(data.as_bytes()).map_err(|_| Fault::gateway("a flow is damaged"))?;
        let opened =
            self.vault.open(&flow_place(&row), &sealed).map_err(|error| Fault::gateway(format!("a flow: {error}")))?;
        from_json(&opened, "flow")
    }
}

/// Not the row's id: that is only known once the row is written.
pub(super) fn row_of(user: &str, authority: &str, account: &str) -> String {
    format!("{user}/{authority}/{account}")
}

pub(super) fn connection_place<'a>(row: &'a str, person: &'a str, upstream: &'a str) -> Place<'a> {
    Place { table: "connections", row, column: "sealed", person, upstream }
}

fn flow_place(row: &str) -> Place<'_> {
    Place { table: "flows", row, column: "data", person: "", upstream: "" }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Fault> {
    serde_json::to_vec(value).map(Zeroizing::new).map_err(Fault::gateway)
}

pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Fault> {
    // The parser's own message could quote the text.
    serde_json::from_slice(bytes).map_err(|_| Fault::gateway(format!("a sealed {what} holds something unknown")))
}

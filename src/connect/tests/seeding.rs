//! Connections without the flow that leads to them, for tests of what becomes of them.

use super::*;
use crate::connect::sealed::{AtServer, OurClient, Tokens};
use crate::store::Connection;

/// What an authorization server gave.
pub(crate) struct Given<'a> {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) token_endpoint: &'a str,
    pub(crate) expires_in: Duration,
}

/// The row of a connection with these tokens; not kept yet.
pub(crate) fn row(connections: &Connections, key: &ConnectionKey, given: Given<'_>) -> Connection {
    let tokens = Tokens {
        access_token: given.access,
        refresh_token: Some(given.refresh),
        server: Some(AtServer {
            issuer: "http://issuer.example".to_owned(),
            revocation_endpoint: None,
            token_endpoint: given.token_endpoint.to_owned(),
            client: OurClient { id: "us".to_owned(), secret: None, auth_method: "none".to_owned() },
            redirect_uri: String::new(),
            resource: None,
        }),
        asked: String::new(),
        replaced_rejected_at: None,
        previous_refresh_token: None,
    };
    let row = connections.new_row(key, ConnectionState::Active, &tokens, String::new()).unwrap();
    Connection { expires_at: Some(row.updated_at.after(given.expires_in)), ..row }
}

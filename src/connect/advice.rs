//! What an administrator has to correct when a provider does not accept the client that was registered by hand.

use super::party::Party;
use super::sealed::AtServer;

/// Codes about our id and our secret (RFC 6749 §5.2; then those of GitHub and Slack).
const CLIENT: [&str; 8] = [
    "invalid_client",
    "unauthorized_client",
    "incorrect_client_credentials",
    "bad_client_secret",
    "invalid_client_id",
    "bad_client_id",
    "application_suspended",
    "invalid_client_credentials",
];

/// Whether a code says that our client is not known, or is not who it says.
pub(super) fn is_about_our_client(code: &str) -> bool {
    CLIENT.contains(&code)
}

/// What to correct; `None` when that is not a matter of the configured client, nor of which clients the provider takes.
pub(super) fn on(party: &Party, server: &AtServer, code: &str) -> Option<String> {
    let name = &party.name;
    if !party.configured(server) {
        let refused = code.contains("redirect") || code == "unauthorized_client";
        let advice = party.advice(server).filter(|_| refused)?;
        return Some(format!("{name} takes certain clients only. {advice}"));
    }
    let place = party.place();
    if is_about_our_client(code) {
        return Some(format!(
            "{name} does not accept this gateway's client. An administrator must correct client_id and client_secret of \
             {place}; they are those of the client that is registered at {name}."
        ));
    }
    if code.contains("redirect") {
        return Some(format!(
            "{name} does not know the address that it is to send you back to. An administrator must register the redirect \
             URI {} at {name}, exactly as it is written here.",
            server.redirect_uri
        ));
    }
    (code == "invalid_scope").then(|| {
        format!(
            "{name} does not know one of the scopes that it was asked for, or the client may not have it. An administrator \
             must correct scopes of {place}, or allow them for the client that is registered at {name}."
        )
    })
}

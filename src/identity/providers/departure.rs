//! A browser that left for a provider: what we need when it comes back. It is bound to the browser by a cookie, taken once,
//! and gone after ten minutes (security case B 58).

use super::{Purpose, Returning, Tools};
use crate::error::Fault;
use crate::ids::Digest;
use crate::store::Flow;
use crate::vault::Place;
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How long a person may take there.
const LIFE: Duration = Duration::from_secs(600);

/// What is remembered, sealed.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Departure {
    /// Where the browser went.
    pub(super) provider: String,
    /// RFC 7636.
    pub(super) verifier: String,
    /// OpenID Connect Core §3.1.2.1.
    pub(super) nonce: String,
    /// The id of the person who links an identity.
    pub(super) linking: Option<String>,
    pub(super) return_to: String,
}

impl Departure {
    pub(super) fn purpose(&self) -> Result<Purpose, Fault> {
        match &self.linking {
            None => Ok(Purpose::SignIn),
            Some(user) => user.parse().map(Purpose::Link).map_err(|_| Fault::gateway("a departure is damaged")),
        }
    }

    /// Remembers it for the browser with this cookie.
    pub(super) async fn keep(&self, tools: &Tools, state: &str, browser: Digest) -> Result<(), Fault> {
        let id = id_of(state);
        let text = Zeroizing::new(serde_json::to_vec(self).map_err(Fault::gateway)?);
        let data = BASE64.encode(&tools.vault.seal(&place(&row_of(&id)), &text));
        let flow = Flow { id, session: browser, data, expires_at: tools.clock.now().after(LIFE) };
        Ok(tools.store.insert_flow(&flow).await?)
    }

    /// The departure of a `state`, for the browser that left and once only.
    pub(super) async fn claim(tools: &Tools, state: &str, browser: Returning) -> Result<Self, Fault> {
        let (id, now) = (id_of(state), tools.clock.now());
        let gone = || {
            let text = "This sign-in was completed already, or took longer than ten minutes. Please sign in again.";
            Fault::caller(text)
        };
        let flow = tools.store.flow(&id, now).await?.ok_or_else(gone)?;
        // Looked at before it is taken: another browser must not be able to end this one's (security case A 4).
        let by_session = browser.session.filter(|(_, session)| flow.session.matches(session));
        let by_visitor = browser.visitor.is_some_and(|visitor| flow.session.matches(&visitor));
        let elsewhere = || Fault::caller("This sign-in was begun in another browser. Please begin again in this one.");
        if by_session.is_none() && !by_visitor {
            return Err(elsewhere());
        }
        let flow = tools.store.take_flow(&id, now).await?.ok_or_else(gone)?;
        let departure = Self::open(tools, &flow)?;
        let fits = match departure.purpose()? {
            Purpose::SignIn => by_visitor,
            Purpose::Link(user) => by_session.is_some_and(|(person, _)| person == user),
        };
        if fits { Ok(departure) } else { Err(elsewhere()) }
    }

    fn open(tools: &Tools, flow: &Flow) -> Result<Self, Fault> {
        let damaged = || Fault::gateway("a departure is damaged");
        let sealed = BASE64.decode(flow.data.as_bytes()).map_err(|_| damaged())?;
        let text = tools.vault.open(&place(&row_of(&flow.id)), &sealed).map_err(Fault::gateway)?;
        serde_json::from_slice(&text).map_err(|_| damaged())
    }
}

/// Other flows share the table, so these are told apart by the prefix.
fn id_of(state: &str) -> Digest {
    Digest::of(format!("login:{state}"))
}

fn row_of(id: &Digest) -> String {
    HEXLOWER.encode(&id.0)
}

fn place(row: &str) -> Place<'_> {
    Place { table: "flows", row, column: "data", person: "", upstream: "" }
}

//! A sign-in whose second factor is missing. There is no session yet: what there is belongs to one browser, is good for
//! nothing but the second factor, and only for a while.

use super::Dashboard;
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::ids::{Digest, UserId};
use crate::session::Visitor;
use crate::store::{Flow, User};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the second factor may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Wrong codes before the password is asked for again.
const ATTEMPTS: u32 = 5;

/// A person who has shown the right password.
pub(super) struct Pending {
    /// Who.
    pub(super) user: User,
    /// Where to go on afterwards.
    pub(super) return_to: String,
    attempts: u32,
    expires_at: Timestamp,
}

/// As it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    user: String,
    /// Digest of the stored hash: a password that was changed meanwhile proves nothing any more.
    password: String,
    return_to: String,
    attempts: u32,
}

impl Dashboard {
    /// Writes down for a browser that its person has shown the right password.
    pub(super) async fn begin_pending(&self, visitor: &Visitor, user: &User, return_to: &str) -> Result<(), Fault> {
        let expires_at = self.clock.now().after(PATIENCE);
        let pending = Pending { user: user.clone(), return_to: return_to.to_owned(), attempts: 0, expires_at };
        self.keep_pending(visitor, &pending).await
    }

    /// What a browser has begun.
    pub(super) async fn find_pending(&self, visitor: &Visitor) -> Result<Option<Pending>, Fault> {
        let flow = self.store.flow(&handle(visitor), self.clock.now()).await?;
        self.read_pending(flow).await
    }

    /// The same, taken away: of two attempts at once only one is made.
    pub(super) async fn take_pending(&self, visitor: &Visitor) -> Result<Option<Pending>, Fault> {
        let flow = self.store.take_flow(&handle(visitor), self.clock.now()).await?;
        self.read_pending(flow).await
    }

    /// Puts a sign-in back after a wrong code; `false` when that was the last attempt. It does not last longer for it.
    pub(super) async fn retry_pending(&self, visitor: &Visitor, pending: &mut Pending) -> Result<bool, Fault> {
        pending.attempts += 1;
        if pending.attempts >= ATTEMPTS {
            return Ok(false);
        }
        self.keep_pending(visitor, pending).await?;
        Ok(true)
    }

    async fn read_pending(&self, flow: Option<Flow>) -> Result<Option<Pending>, Fault> {
        let Some(Flow { data, expires_at, .. }) = flow else { return Ok(None) };
        let Ok(written) = serde_json::from_str(&data) else { return Ok(None) };
        let Written { user, password, return_to, attempts } = written;
        let Ok(id) = user.parse::<UserId>() else { return Ok(None) };
        let user = self.store.user(id).await?.filter(|user| !user.disabled && mark(user) == password);
        Ok(user.map(|user| Pending { user, return_to, attempts, expires_at }))
    }

    async fn keep_pending(&self, visitor: &Visitor, pending: &Pending) -> Result<(), Fault> {
        let Pending { user, return_to, attempts, expires_at } = pending;
        let (id, return_to) = (user.id.to_string(), return_to.clone());
        let written = Written { user: id, password: mark(user), return_to, attempts: *attempts };
        let data = serde_json::to_string(&written).map_err(Fault::gateway)?;
        let flow = Flow { id: handle(visitor), session: visitor.browser, data, expires_at: *expires_at };
        Ok(self.store.insert_flow(&flow).await?)
    }
}

fn mark(user: &User) -> String {
    HEXLOWER.encode(&Digest::of(user.password_hash.as_deref().unwrap_or_default()).0)
}

/// Found by the browser's cookie alone, and by nothing that other flows are found by.
fn handle(visitor: &Visitor) -> Digest {
    Digest::of([b"sign-in".as_slice(), &visitor.browser.0].concat())
}

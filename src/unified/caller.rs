//! Who calls, and what it sees.

use crate::hostname::Account;
use crate::ids::{GrantId, UserId};
use crate::life::Life;
use crate::mcp::era::Era;
use crate::mcp::rpc::Members;
use crate::telemetry::SharedSpan;
use crate::tokens::AccessToken;
use crate::upstream::Upstream;
use http::HeaderMap;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// An MCP client of ours, as far as one request or one session knows it.
#[derive(Clone)]
pub struct Caller {
    /// The person.
    pub user: UserId,
    /// What it was let in with; none where nobody has to be let in (`portcullis bridge`), and then nothing is audited.
    pub token: Option<Arc<AccessToken>>,
    /// Where from.
    pub address: IpAddr,
    /// The OAuth client.
    pub client_id: Arc<str>,
    /// The person's consent to it.
    pub grant: GrantId,
    /// Ends with the grant.
    pub life: Arc<Life>,
    /// How it speaks.
    pub era: Era,
    /// The version that it speaks.
    pub version: String,
    /// `clientInfo`
    pub info: Value,
    /// What it can do for servers.
    pub capabilities: Members,
    /// From which level on it wants log messages: of this request (modern), of all (legacy).
    pub log_level: Option<String>,
    /// Its session; of modern clients, what stands for one toward upstreams that need one.
    pub session: Arc<str>,
    /// What it sees.
    pub view: View,
    /// Whether it wants the three tools that search, describe and call instead of all (`/mcp?tools=meta`).
    pub meta_tools: bool,
    /// The header fields of a modern request, for those that mirror arguments.
    pub headers: HeaderMap,
    /// The span of the request that this is for, if anybody wants traces.
    pub trace: Option<SharedSpan>,
}

/// What a caller sees.
#[derive(Clone)]
pub enum View {
    /// Everything that the person has connected and may use.
    Everything,
    /// One upstream, under its own names.
    One {
        /// Which.
        upstream: Arc<Upstream>,
        /// Which account there.
        account: Option<Account>,
    },
}

//! The one outbound client of everything but the data plane, and the resolver and address guard that the data path shares with it
//! (decision 6).

mod authorities;
mod caching;
mod client;
mod guard;
mod names;
mod probe;
mod resolver;
mod streaming;
mod websocket;

pub use authorities::system_bundle;
pub use caching::{SHORTEST, lifetime};
pub use client::{Clients, FetchError, Fetched, HttpClient, Reuse, check_url};
pub use guard::{Forbidden, permits};
pub use probe::{Distrust, Knock, Prober, TlsHandshake};
pub use resolver::{ResolveError, Resolver};
pub use streaming::Streamed;
pub use websocket::{Handshake, Opened, Receiver, Sender, WebSocket, WebSocketError};

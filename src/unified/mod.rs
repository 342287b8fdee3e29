//! The door for MCP clients that want everything at one address: `/mcp` on the root domain, over all upstreams that the person
//! has connected, and the hostnames of upstreams that are programs of ours. It is an MCP server to the client, in either era, and
//! an MCP client to the upstreams ([`crate::mcp_client`]).

pub mod aggregate;
mod back;
mod caller;
mod door;
mod legacy;
mod modern;
mod questions;
mod visit;
mod wire;

pub use aggregate::{Aggregate, AggregateParts, Description};
pub use back::{Asked, Back, Outgoing};
pub use caller::{Caller, View};
pub use door::{Door, DoorParts, open_routes, routes};
pub use visit::visits;

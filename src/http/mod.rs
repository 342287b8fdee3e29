//! The one outbound client of the control plane, and the resolver and address guard that the data path shares with it
//! (decision 6).

mod caching;
mod client;
mod guard;
mod names;
mod resolver;

pub use caching::{SHORTEST, lifetime};
pub use client::{Clients, FetchError, Fetched, HttpClient, check_url};
pub use guard::{Forbidden, permits};
pub use resolver::{ResolveError, Resolver};

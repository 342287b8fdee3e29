//! The token broker: programs with a key get a person's token of a service, and a link for a person who has not connected
//! it yet. The services are `oidc-provider`, set up like Google and like GitHub.

mod flows;
mod keys;
mod links;
mod people;
pub mod world;

//! The words of OAuth 2.1, shared by our authorization server and by our client toward upstreams. Pure: no I/O.

pub mod basic;
pub mod challenge;
pub mod error;
pub mod grant_type;
pub mod metadata;
pub mod pkce;
pub mod quirks;
pub mod redirect;
pub mod registration;
pub mod resource;
pub mod scheme;
pub mod scope;
pub mod user_code;

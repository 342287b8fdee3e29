//! Hostnames: which upstream does `nvrxaltborwgc43tnfqw4ltdn5wq-enc.gw.example` mean, and what is the hostname of an
//! upstream? (DESIGN 1.1.) Decoding is the exact inverse of encoding: every spelling but the canonical one is refused,
//! so that no two labels reach one upstream.

mod authority;
mod encoded;
mod label;
mod site;

pub use authority::{Authority, InvalidAuthority, UpstreamAddress};
pub use encoded::{Encoded, short_name};
pub use label::{Account, InvalidLabel, Label, MAX_ENCODED_AUTHORITY, Target};
pub use site::{HostName, Realm, Scheme, Site};

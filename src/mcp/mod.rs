//! The words of the Model Context Protocol that the gateway understands: what a message asks for, which tools an
//! administrator allows, what a list of tools looks like without the others, and which version says what. Pure: bytes in,
//! knowledge out.

pub mod era;
pub mod level;
mod listing;
mod message;
mod method;
pub mod mirror;
pub mod rpc;
pub mod sse;
#[cfg(test)]
mod tests;
mod tools;
mod version;

pub use listing::without_denied;
pub use message::{Message, Messages};
pub use method::Method;
pub use tools::{Pattern, ToolPolicy, Verdict};
pub use version::mirrors_are_true;

//! The unified endpoint toward its clients, over real sockets: who is let in, both eras, sessions, and how streams end.

mod admission;
mod asker;
mod calls;
pub mod client;
mod legacy;
mod modern;
mod nodes;
mod streams;

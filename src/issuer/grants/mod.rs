//! Grant types: each validates what the client presents and says what is to be issued; `token` does the rest.

pub(super) mod code;
pub(super) mod exchange;
pub(super) mod refresh;

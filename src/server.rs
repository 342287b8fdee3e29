//! Listening, reloading, draining.

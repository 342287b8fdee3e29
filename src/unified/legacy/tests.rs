//! Sessions: whose they are, and what of them outlives a process.

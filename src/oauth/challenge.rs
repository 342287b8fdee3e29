//! `WWW-Authenticate: Bearer …` (RFC 6750 §3, RFC 9728 §5.1): written for our callers, read from upstreams.

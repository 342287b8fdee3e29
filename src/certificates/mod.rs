//! Certificates that are ordered from a certificate authority (ACME, RFC 8555), kept, and renewed.

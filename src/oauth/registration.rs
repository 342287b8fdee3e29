//! Client metadata: dynamic registration (RFC 7591) and client ID metadata documents.

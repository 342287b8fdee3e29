//! Redirect URIs: which may be registered and which match (OAuth 2.1 §2.3, RFC 8252 §7).

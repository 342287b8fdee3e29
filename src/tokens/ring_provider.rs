//! ring as the cryptography of `jsonwebtoken` 11, which has no such back-end: ES256 and EdDSA only.

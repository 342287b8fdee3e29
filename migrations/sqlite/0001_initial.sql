-- Times are seconds since the Unix epoch. Ids have 16 bytes, digests (SHA-256) 32. Columns named `sealed` or `…_sealed` are
-- written by the vault; nothing else in here can be used by whoever steals the file.

CREATE TABLE users (
    id            BLOB PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT NOT NULL COLLATE NOCASE UNIQUE,
    password_hash TEXT,
    email         TEXT,
    role          TEXT NOT NULL CHECK (role IN ('administrator', 'member')),
    disabled      INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    token        BLOB PRIMARY KEY CHECK (length(token) = 32),
    user_id      BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of_user ON sessions (user_id);

-- Clients of ours that registered dynamically (RFC 7591), by issuer.
CREATE TABLE clients (
    realm              TEXT NOT NULL,
    id                 TEXT NOT NULL,
    metadata           TEXT NOT NULL,
    secret             BLOB,
    registration_token BLOB NOT NULL,
    created_at         INTEGER NOT NULL,
    last_used_at       INTEGER,
    PRIMARY KEY (realm, id)
) STRICT;

CREATE TABLE client_documents (
    url         TEXT PRIMARY KEY,
    body        TEXT NOT NULL,
    fetched_at  INTEGER NOT NULL,
    fresh_until INTEGER NOT NULL
) STRICT;

CREATE TABLE grants (
    id          BLOB PRIMARY KEY CHECK (length(id) = 16),
    user_id     BLOB NOT NULL,
    client_id   TEXT NOT NULL,
    client_name TEXT NOT NULL,
    realm       TEXT NOT NULL,
    resource    TEXT NOT NULL,
    scope       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;
CREATE INDEX grants_of_user ON grants (user_id);
CREATE INDEX grants_of_client ON grants (realm, client_id);
CREATE INDEX grants_by_revocation ON grants (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE codes (
    code           BLOB PRIMARY KEY CHECK (length(code) = 32),
    grant_id       BLOB NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    redirect_uri   TEXT NOT NULL,
    code_challenge TEXT NOT NULL,
    expires_at     INTEGER NOT NULL,
    used_at        INTEGER
) STRICT;
CREATE INDEX codes_of_grant ON codes (grant_id);

CREATE TABLE refresh_tokens (
    token            BLOB PRIMARY KEY CHECK (length(token) = 32),
    grant_id         BLOB NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    issued_at        INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    first_used_at    INTEGER,
    successor        BLOB,
    successor_sealed BLOB,
    rotated_at       INTEGER
) STRICT;
CREATE INDEX refresh_tokens_of_grant ON refresh_tokens (grant_id);

CREATE TABLE flows (
    id         BLOB PRIMARY KEY CHECK (length(id) = 32),
    session    BLOB NOT NULL,
    data       TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    kid        TEXT PRIMARY KEY,
    algorithm  TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;

CREATE TABLE upstreams (
    authority  TEXT PRIMARY KEY,
    decision   TEXT NOT NULL CHECK (decision IN ('approved', 'denied')),
    alias      TEXT UNIQUE,
    name       TEXT,
    decided_by BLOB,
    decided_at INTEGER NOT NULL
) STRICT;

CREATE TABLE discoveries (
    authority TEXT PRIMARY KEY,
    document  TEXT NOT NULL,
    found_at  INTEGER NOT NULL
) STRICT;

-- Our own registrations at the upstreams' authorization servers.
CREATE TABLE upstream_clients (
    issuer        TEXT NOT NULL,
    redirect_uri  TEXT NOT NULL,
    client_id     TEXT NOT NULL,
    sealed_secret BLOB,
    auth_method   TEXT NOT NULL,
    expires_at    INTEGER,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (issuer, redirect_uri)
) STRICT;

CREATE TABLE connections (
    id               BLOB PRIMARY KEY CHECK (length(id) = 16),
    user_id          BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    authority        TEXT NOT NULL,
    account          TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('active', 'open', 'needs_consent')),
    sealed           BLOB NOT NULL,
    scope            TEXT NOT NULL,
    expires_at       INTEGER,
    version          INTEGER NOT NULL,
    refreshing_since INTEGER,
    last_error       TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    UNIQUE (user_id, authority, account)
) STRICT;
CREATE INDEX connections_by_expiry ON connections (expires_at) WHERE state = 'active';

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    address TEXT
) STRICT;

-- What memory must learn about, here and in other processes. AUTOINCREMENT: a number is never used again.
CREATE TABLE changes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    subject BLOB,
    at      INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

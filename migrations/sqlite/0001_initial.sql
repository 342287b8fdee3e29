-- Times are seconds since the Unix epoch, identifiers have 16 bytes, digests (SHA-256) 32. What is called `sealed` was
-- encrypted by the vault.

CREATE TABLE users (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    password_hash TEXT,
    email         TEXT,
    role          TEXT    NOT NULL,
    disabled      INTEGER NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    token        BLOB    NOT NULL PRIMARY KEY CHECK (length(token) = 32),
    user_id      BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE clients (
    realm              TEXT    NOT NULL,
    id                 TEXT    NOT NULL,
    metadata           TEXT    NOT NULL,
    secret             BLOB    CHECK (length(secret) = 32),
    registration_token BLOB    NOT NULL CHECK (length(registration_token) = 32),
    created_at         INTEGER NOT NULL,
    last_used_at       INTEGER,
    PRIMARY KEY (realm, id)
) STRICT;
CREATE INDEX clients_never_used ON clients (created_at) WHERE last_used_at IS NULL;

CREATE TABLE client_documents (
    url         TEXT    NOT NULL PRIMARY KEY,
    body        TEXT    NOT NULL,
    fetched_at  INTEGER NOT NULL,
    fresh_until INTEGER NOT NULL
) STRICT;

-- No reference to users: a revoked grant outlives its person, because its access tokens do.
CREATE TABLE grants (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id     BLOB    NOT NULL CHECK (length(user_id) = 16),
    client_id   TEXT    NOT NULL,
    client_name TEXT    NOT NULL,
    realm       TEXT    NOT NULL,
    resource    TEXT    NOT NULL,
    scope       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;
CREATE INDEX grants_by_user ON grants (user_id);
CREATE INDEX grants_by_client ON grants (realm, client_id);
CREATE INDEX grants_revoked ON grants (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE codes (
    code           BLOB    NOT NULL PRIMARY KEY CHECK (length(code) = 32),
    grant_id       BLOB    NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    redirect_uri   TEXT    NOT NULL,
    code_challenge TEXT    NOT NULL,
    expires_at     INTEGER NOT NULL,
    used_at        INTEGER
) STRICT;
CREATE INDEX codes_by_grant ON codes (grant_id);
CREATE INDEX codes_by_expiry ON codes (expires_at);

-- The three columns of the successor are there together or not at all.
CREATE TABLE refresh_tokens (
    token            BLOB    NOT NULL PRIMARY KEY CHECK (length(token) = 32),
    grant_id         BLOB    NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    issued_at        INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    first_used_at    INTEGER,
    successor_token  BLOB    CHECK (length(successor_token) = 32),
    successor_sealed BLOB,
    rotated_at       INTEGER,
    CHECK ((successor_token IS NULL) = (successor_sealed IS NULL)),
    CHECK ((successor_token IS NULL) = (rotated_at IS NULL))
) STRICT;
CREATE INDEX refresh_tokens_by_grant ON refresh_tokens (grant_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

CREATE TABLE flows (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    session    BLOB    NOT NULL CHECK (length(session) = 32),
    data       TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX flows_by_expiry ON flows (expires_at);

CREATE TABLE signing_keys (
    kid        TEXT    NOT NULL PRIMARY KEY,
    algorithm  TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;

CREATE TABLE upstreams (
    authority  TEXT    NOT NULL PRIMARY KEY,
    decision   TEXT    NOT NULL,
    alias      TEXT    COLLATE NOCASE UNIQUE,
    name       TEXT,
    decided_by BLOB    REFERENCES users (id) ON DELETE SET NULL,
    decided_at INTEGER NOT NULL
) STRICT;
CREATE INDEX upstreams_by_person ON upstreams (decided_by);

CREATE TABLE discoveries (
    authority TEXT    NOT NULL PRIMARY KEY,
    document  TEXT    NOT NULL,
    found_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE upstream_clients (
    issuer        TEXT    NOT NULL,
    redirect_uri  TEXT    NOT NULL,
    client_id     TEXT    NOT NULL,
    sealed_secret BLOB,
    auth_method   TEXT    NOT NULL,
    expires_at    INTEGER,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (issuer, redirect_uri)
) STRICT;

CREATE TABLE connections (
    id               BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id          BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    authority        TEXT    NOT NULL,
    account          TEXT    NOT NULL,
    state            TEXT    NOT NULL,
    sealed           BLOB    NOT NULL,
    scope            TEXT    NOT NULL,
    expires_at       INTEGER,
    version          INTEGER NOT NULL,
    refreshing_since INTEGER,
    last_error       TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    UNIQUE (user_id, authority, account)
) STRICT;
CREATE INDEX connections_expiring ON connections (expires_at) WHERE state = 'active';

CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    address TEXT
) STRICT;

-- What every process must learn about. AUTOINCREMENT: a number is never given out twice, even after the newest rows went.
CREATE TABLE changes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT    NOT NULL,
    subject BLOB    CHECK (length(subject) = 16)
) STRICT;

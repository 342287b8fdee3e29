-- What SQLite has after migration 0010; what the tables mean stands there. `COLLATE "C"` orders texts by their bytes and
-- lower() touches ASCII alone, as SQLite does both.

CREATE TABLE users (
    id            BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT    COLLATE "C" NOT NULL,
    password_hash TEXT    COLLATE "C",
    email         TEXT    COLLATE "C",
    role          TEXT    COLLATE "C" NOT NULL,
    disabled      BOOLEAN NOT NULL,
    created_at    BIGINT  NOT NULL
);
CREATE UNIQUE INDEX users_by_name ON users (lower(name));

CREATE TABLE sessions (
    token        BYTEA  NOT NULL PRIMARY KEY CHECK (length(token) = 32),
    id           BYTEA  NOT NULL UNIQUE CHECK (length(id) = 16),
    user_id      BYTEA  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    means        TEXT   COLLATE "C" NOT NULL,
    address      TEXT   COLLATE "C",
    user_agent   TEXT   COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_by_use ON sessions (last_seen_at);

CREATE TABLE clients (
    realm              TEXT   COLLATE "C" NOT NULL,
    id                 TEXT   COLLATE "C" NOT NULL,
    metadata           TEXT   COLLATE "C" NOT NULL,
    secret             BYTEA  CHECK (length(secret) = 32),
    registration_token BYTEA  NOT NULL CHECK (length(registration_token) = 32),
    created_at         BIGINT NOT NULL,
    last_used_at       BIGINT,
    owner_id           BYTEA  REFERENCES users (id) ON DELETE CASCADE CHECK (length(owner_id) = 16),
    expires_at         BIGINT,
    PRIMARY KEY (realm, id)
);
CREATE INDEX clients_never_used ON clients (created_at) WHERE last_used_at IS NULL;
CREATE INDEX clients_by_owner ON clients (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX clients_by_expiry ON clients (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE used_once (
    digest     BYTEA  NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_once_by_expiry ON used_once (expires_at);

CREATE TABLE client_documents (
    url         TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    body        TEXT   COLLATE "C" NOT NULL,
    fetched_at  BIGINT NOT NULL,
    fresh_until BIGINT NOT NULL
);

CREATE TABLE grants (
    id          BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id     BYTEA  NOT NULL CHECK (length(user_id) = 16),
    client_id   TEXT   COLLATE "C" NOT NULL,
    client_name TEXT   COLLATE "C" NOT NULL,
    realm       TEXT   COLLATE "C" NOT NULL,
    resource    TEXT   COLLATE "C" NOT NULL,
    scope       TEXT   COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    revoked_at  BIGINT,
    parent_id   BYTEA  CHECK (length(parent_id) = 16)
);
CREATE INDEX grants_by_user ON grants (user_id);
CREATE INDEX grants_by_client ON grants (realm, client_id);
CREATE INDEX grants_revoked ON grants (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX grants_by_parent ON grants (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE codes (
    code           BYTEA  NOT NULL PRIMARY KEY CHECK (length(code) = 32),
    grant_id       BYTEA  NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    redirect_uri   TEXT   COLLATE "C" NOT NULL,
    code_challenge TEXT   COLLATE "C" NOT NULL,
    expires_at     BIGINT NOT NULL,
    used_at        BIGINT,
    dpop_jkt       TEXT   COLLATE "C"
);
CREATE INDEX codes_by_grant ON codes (grant_id);
CREATE INDEX codes_by_expiry ON codes (expires_at);

CREATE TABLE refresh_tokens (
    token            BYTEA  NOT NULL PRIMARY KEY CHECK (length(token) = 32),
    grant_id         BYTEA  NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    issued_at        BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    first_used_at    BIGINT,
    successor_token  BYTEA  CHECK (length(successor_token) = 32),
    successor_sealed BYTEA,
    rotated_at       BIGINT,
    dpop_jkt         TEXT   COLLATE "C",
    CHECK ((successor_token IS NULL) = (successor_sealed IS NULL)),
    CHECK ((successor_token IS NULL) = (rotated_at IS NULL))
);
CREATE INDEX refresh_tokens_by_grant ON refresh_tokens (grant_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

CREATE TABLE device_codes (
    code       BYTEA  NOT NULL PRIMARY KEY CHECK (length(code) = 32),
    user_code  BYTEA  NOT NULL UNIQUE CHECK (length(user_code) = 32),
    realm      TEXT   COLLATE "C" NOT NULL,
    client_id  TEXT   COLLATE "C" NOT NULL,
    resource   TEXT   COLLATE "C" NOT NULL,
    scope      TEXT   COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    interval   BIGINT NOT NULL,
    polled_at  BIGINT,
    claimed_by BYTEA  REFERENCES users (id) ON DELETE CASCADE,
    state      TEXT   COLLATE "C" NOT NULL,
    grant_id   BYTEA  REFERENCES grants (id) ON DELETE CASCADE,
    CHECK ((grant_id IS NULL) = (state IN ('waiting', 'denied')))
);
CREATE INDEX device_codes_by_expiry ON device_codes (expires_at);
CREATE INDEX device_codes_by_person ON device_codes (claimed_by);
CREATE INDEX device_codes_by_grant ON device_codes (grant_id);

CREATE TABLE device_guesses (
    user_id BYTEA  NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    wrong   BIGINT NOT NULL,
    since   BIGINT NOT NULL
);

CREATE TABLE remembered_consents (
    user_id       BYTEA  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    realm         TEXT   COLLATE "C" NOT NULL,
    client_id     TEXT   COLLATE "C" NOT NULL,
    resource      TEXT   COLLATE "C" NOT NULL,
    redirect_host TEXT   COLLATE "C" NOT NULL,
    scope         TEXT   COLLATE "C" NOT NULL,
    expires_at    BIGINT NOT NULL,
    PRIMARY KEY (user_id, realm, client_id, resource, redirect_host)
);
CREATE INDEX remembered_consents_by_client ON remembered_consents (realm, client_id);
CREATE INDEX remembered_consents_by_expiry ON remembered_consents (expires_at);

CREATE TABLE flows (
    id         BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    session    BYTEA  NOT NULL CHECK (length(session) = 32),
    data       TEXT   COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX flows_by_expiry ON flows (expires_at);

CREATE TABLE signing_keys (
    kid         TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    algorithm   TEXT   COLLATE "C" NOT NULL,
    sealed      BYTEA  NOT NULL,
    created_at  BIGINT NOT NULL,
    active_from BIGINT NOT NULL,
    token_ttl   BIGINT NOT NULL
);

CREATE TABLE identities (
    issuer       TEXT   COLLATE "C" NOT NULL,
    subject      TEXT   COLLATE "C" NOT NULL,
    provider     TEXT   COLLATE "C" NOT NULL,
    user_id      BYTEA  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT   COLLATE "C" NOT NULL,
    email        TEXT   COLLATE "C",
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_by_user ON identities (user_id);

CREATE TABLE authenticators (
    user_id      BYTEA  NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed       BYTEA  NOT NULL,
    browser      BYTEA  NOT NULL CHECK (length(browser) = 32),
    last_step    BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    confirmed_at BIGINT
);

CREATE TABLE recovery_codes (
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code    BYTEA NOT NULL CHECK (length(code) = 32),
    PRIMARY KEY (user_id, code)
);

CREATE TABLE passkey_holders (
    user_id        BYTEA   NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    handle         BYTEA   NOT NULL UNIQUE CHECK (length(handle) = 32),
    after_password BOOLEAN NOT NULL
);

CREATE TABLE passkeys (
    id            BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    credential_id BYTEA  NOT NULL UNIQUE,
    user_id       BYTEA  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name          TEXT   COLLATE "C" NOT NULL,
    public_key    BYTEA  NOT NULL,
    sign_count    BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    last_used_at  BIGINT
);
CREATE INDEX passkeys_by_user ON passkeys (user_id);

CREATE TABLE user_groups (
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name    TEXT  COLLATE "C" NOT NULL,
    source  TEXT  COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, name, source)
);
CREATE INDEX user_groups_by_name ON user_groups (name);

CREATE TABLE upstreams (
    authority  TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    decision   TEXT   COLLATE "C" NOT NULL,
    alias      TEXT   COLLATE "C",
    name       TEXT   COLLATE "C",
    decided_by BYTEA  REFERENCES users (id) ON DELETE SET NULL,
    decided_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX upstreams_by_alias ON upstreams (lower(alias));
CREATE INDEX upstreams_by_person ON upstreams (decided_by);

CREATE TABLE upstream_access (
    authority TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    users     TEXT COLLATE "C" NOT NULL,
    groups    TEXT COLLATE "C" NOT NULL
);

CREATE TABLE discoveries (
    authority TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    document  TEXT   COLLATE "C" NOT NULL,
    found_at  BIGINT NOT NULL
);

CREATE TABLE upstream_clients (
    issuer        TEXT   COLLATE "C" NOT NULL,
    redirect_uri  TEXT   COLLATE "C" NOT NULL,
    client_id     TEXT   COLLATE "C" NOT NULL,
    sealed_secret BYTEA,
    auth_method   TEXT   COLLATE "C" NOT NULL,
    expires_at    BIGINT,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (issuer, redirect_uri)
);

CREATE TABLE connections (
    id               BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id          BYTEA  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    authority        TEXT   COLLATE "C" NOT NULL,
    account          TEXT   COLLATE "C" NOT NULL,
    state            TEXT   COLLATE "C" NOT NULL,
    sealed           BYTEA  NOT NULL,
    scope            TEXT   COLLATE "C" NOT NULL,
    expires_at       BIGINT,
    version          BIGINT NOT NULL,
    refreshing_since BIGINT,
    last_error       TEXT   COLLATE "C",
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    UNIQUE (user_id, authority, account)
);
CREATE INDEX connections_expiring ON connections (expires_at) WHERE state = 'active';

CREATE TABLE step_ups (
    connection_id BYTEA NOT NULL PRIMARY KEY REFERENCES connections (id) ON DELETE CASCADE,
    document      TEXT  COLLATE "C" NOT NULL
);

CREATE TABLE settings (
    name  TEXT  COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE api_keys (
    id           BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name         TEXT   COLLATE "C" NOT NULL,
    secret       BYTEA  NOT NULL CHECK (length(secret) = 32),
    scopes       TEXT   COLLATE "C" NOT NULL,
    resources    TEXT   COLLATE "C" NOT NULL,
    services     TEXT   COLLATE "C" NOT NULL,
    users        TEXT   COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT
);

-- BY DEFAULT: an installation that moves here keeps its numbers.
CREATE TABLE audit (
    id          BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at          BIGINT NOT NULL,
    actor       TEXT   COLLATE "C" NOT NULL,
    action      TEXT   COLLATE "C" NOT NULL,
    subject     TEXT   COLLATE "C" NOT NULL,
    address     TEXT   COLLATE "C",
    upstream    TEXT   COLLATE "C",
    client      TEXT   COLLATE "C",
    status      BIGINT,
    duration_ms BIGINT
);
CREATE INDEX audit_by_time ON audit (at);

-- What every process must learn about. Who writes has an advisory lock, so that numbers become visible in their order.
CREATE TABLE changes (
    id      BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    kind    TEXT   COLLATE "C" NOT NULL,
    subject BYTEA  CHECK (length(subject) = 16)
);

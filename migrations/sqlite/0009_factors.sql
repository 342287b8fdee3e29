-- Sessions get a name that may be shown, and what their person recognises them by; those that there are go on.
CREATE TABLE named_sessions (
    token        BLOB    NOT NULL PRIMARY KEY CHECK (length(token) = 32),
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    user_id      BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    means        TEXT    NOT NULL,
    address      TEXT,
    user_agent   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;
INSERT INTO named_sessions
SELECT token, randomblob(16), user_id, 'password', NULL, '', created_at, last_seen_at, expires_at FROM sessions;
DROP TABLE sessions;
ALTER TABLE named_sessions RENAME TO sessions;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_by_use ON sessions (last_seen_at);

-- Authenticator apps (RFC 6238). One that is not confirmed does not count. `last_step` is the newest step whose code was
-- used: no code is taken twice. `browser` is the one that began: nobody else's set-up can be slipped under a person.
CREATE TABLE authenticators (
    user_id      BLOB    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed       BLOB    NOT NULL,
    browser      BLOB    NOT NULL CHECK (length(browser) = 32),
    last_step    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    confirmed_at INTEGER
) STRICT;

CREATE TABLE recovery_codes (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code    BLOB NOT NULL CHECK (length(code) = 32),
    PRIMARY KEY (user_id, code)
) STRICT, WITHOUT ROWID;

-- What passkeys know a person by, and whether one is asked for after the password.
CREATE TABLE passkey_holders (
    user_id        BLOB    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    handle         BLOB    NOT NULL UNIQUE CHECK (length(handle) = 32),
    after_password INTEGER NOT NULL
) STRICT;

CREATE TABLE passkeys (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    credential_id BLOB    NOT NULL UNIQUE,
    user_id       BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name          TEXT    NOT NULL,
    public_key    BLOB    NOT NULL,
    sign_count    INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER
) STRICT;
CREATE INDEX passkeys_by_user ON passkeys (user_id);

-- Devices that wait for a person (RFC 8628). `interval` is in seconds.
CREATE TABLE device_codes (
    code       BLOB    NOT NULL PRIMARY KEY CHECK (length(code) = 32),
    user_code  BLOB    NOT NULL UNIQUE CHECK (length(user_code) = 32),
    realm      TEXT    NOT NULL,
    client_id  TEXT    NOT NULL,
    resource   TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    interval   INTEGER NOT NULL,
    polled_at  INTEGER,
    claimed_by BLOB    REFERENCES users (id) ON DELETE CASCADE,
    state      TEXT    NOT NULL,
    grant_id   BLOB    REFERENCES grants (id) ON DELETE CASCADE,
    CHECK ((grant_id IS NULL) = (state IN ('waiting', 'denied')))
) STRICT;
CREATE INDEX device_codes_by_expiry ON device_codes (expires_at);
CREATE INDEX device_codes_by_person ON device_codes (claimed_by);
CREATE INDEX device_codes_by_grant ON device_codes (grant_id);

-- How many codes a person has typed that no device shows.
CREATE TABLE device_guesses (
    user_id BLOB    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    wrong   INTEGER NOT NULL,
    since   INTEGER NOT NULL
) STRICT;

-- What people do not want to be asked again.
CREATE TABLE remembered_consents (
    user_id       BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    realm         TEXT    NOT NULL,
    client_id     TEXT    NOT NULL,
    resource      TEXT    NOT NULL,
    redirect_host TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    expires_at    INTEGER NOT NULL,
    PRIMARY KEY (user_id, realm, client_id, resource, redirect_host)
) STRICT;
CREATE INDEX remembered_consents_by_client ON remembered_consents (realm, client_id);
CREATE INDEX remembered_consents_by_expiry ON remembered_consents (expires_at);

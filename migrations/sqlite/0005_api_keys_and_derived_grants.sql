-- Keys that programs show instead of a person's session. Lists are separated by spaces, and an empty one limits nothing;
-- `users` are identifiers in hexadecimal, which stay when the person goes, so that a limit never becomes none.
CREATE TABLE api_keys (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name         TEXT    NOT NULL,
    secret       BLOB    NOT NULL CHECK (length(secret) = 32),
    scopes       TEXT    NOT NULL,
    resources    TEXT    NOT NULL,
    services     TEXT    NOT NULL,
    users        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
) STRICT;

-- The grant that another one was derived from by token exchange: it ends with that one.
ALTER TABLE grants ADD COLUMN parent_id BLOB CHECK (length(parent_id) = 16);
CREATE INDEX grants_by_parent ON grants (parent_id) WHERE parent_id IS NOT NULL;

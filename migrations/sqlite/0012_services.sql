-- Personal access tokens that people left for services, sealed. No reference to a service: those are in the configuration.
CREATE TABLE service_pats (
    user_id    BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    service    TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, service)
) STRICT;

-- Authorizations that ended here and are still to be given back to the provider, with the sealed tokens that this takes.
-- `sealed` is the one of the connection, and opens at its place. No reference to users: they may be gone.
CREATE TABLE partings (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id    BLOB    NOT NULL CHECK (length(user_id) = 16),
    authority  TEXT    NOT NULL,
    account    TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    attempts   INTEGER NOT NULL,
    due_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX partings_by_due ON partings (due_at);

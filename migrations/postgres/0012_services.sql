-- Personal access tokens that people left for services, sealed. No reference to a service: those are in the configuration.
CREATE TABLE service_pats (
    user_id    BYTEA   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    service    TEXT    COLLATE "C" NOT NULL,
    sealed     BYTEA   NOT NULL,
    created_at BIGINT  NOT NULL,
    PRIMARY KEY (user_id, service)
);

-- Authorizations that ended here and are still to be given back to the provider, with the sealed tokens that this takes.
-- `sealed` is the one of the connection, and opens at its place. No reference to users: they may be gone.
CREATE TABLE partings (
    id         BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id    BYTEA   NOT NULL CHECK (length(user_id) = 16),
    authority  TEXT    COLLATE "C" NOT NULL,
    account    TEXT    COLLATE "C" NOT NULL,
    sealed     BYTEA   NOT NULL,
    attempts   BIGINT  NOT NULL,
    due_at     BIGINT  NOT NULL
);
CREATE INDEX partings_by_due ON partings (due_at);

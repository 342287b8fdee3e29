-- Links by which a program sends one person to connect one service of the broker. Only the digest is kept; a link is gone
-- once that person has approved, when it expires, and with its API key.
CREATE TABLE service_links (
    id         BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 32),
    api_key    BYTEA  NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    user_id    BYTEA  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    service    TEXT   COLLATE "C" NOT NULL,
    scope      TEXT   COLLATE "C" NOT NULL,
    callback   TEXT   COLLATE "C" NOT NULL CHECK (callback IN ('service', 'shared')),
    return_to  TEXT   COLLATE "C",
    expires_at BIGINT NOT NULL
);
CREATE INDEX service_links_by_api_key ON service_links (api_key);
CREATE INDEX service_links_by_user ON service_links (user_id);
CREATE INDEX service_links_by_expiry ON service_links (expires_at);

-- Who has an e-mail address, in whatever letter case.
CREATE INDEX users_by_email ON users (lower(email)) WHERE email IS NOT NULL;
CREATE INDEX identities_by_email ON identities (lower(email)) WHERE email IS NOT NULL;

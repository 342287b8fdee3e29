-- Sessions of MCP clients of 2025 at the unified endpoint, so that any node goes on with them, also after a restart. Only the digest
-- of a session's id is kept; what its client said and which sessions at upstreams belong to it is sealed.
CREATE TABLE mcp_sessions (
    token        BLOB    NOT NULL PRIMARY KEY CHECK (length(token) = 32),
    user_id      BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id    TEXT    NOT NULL,
    realm        TEXT    NOT NULL,
    sealed       BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
) STRICT;
CREATE INDEX mcp_sessions_by_user ON mcp_sessions (user_id, last_seen_at);
CREATE INDEX mcp_sessions_by_last_use ON mcp_sessions (last_seen_at);

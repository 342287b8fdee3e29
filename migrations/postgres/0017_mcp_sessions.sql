-- Sessions of MCP clients of 2025 at the unified endpoint, so that any node goes on with them, also after a restart. Only the digest
-- of a session's id is kept; what its client said and which sessions at upstreams belong to it is sealed.
CREATE TABLE mcp_sessions (
    token        BYTEA  NOT NULL PRIMARY KEY CHECK (length(token) = 32),
    user_id      BYTEA  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id    TEXT   COLLATE "C" NOT NULL,
    realm        TEXT   COLLATE "C" NOT NULL,
    sealed       BYTEA  NOT NULL,
    created_at   BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL
);
CREATE INDEX mcp_sessions_by_user ON mcp_sessions (user_id, last_seen_at);
CREATE INDEX mcp_sessions_by_last_use ON mcp_sessions (last_seen_at);

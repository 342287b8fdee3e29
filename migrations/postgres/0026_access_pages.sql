-- Which tools of an upstream may be used, as administrators say it beside the configuration: both count. Patterns as in `tools.allow`
-- and `tools.deny`, JSON arrays; `allowed` is NULL where everything may be used that is not denied.
CREATE TABLE upstream_tools (
    authority TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    allowed   TEXT COLLATE "C",
    denied    TEXT COLLATE "C" NOT NULL
);

-- The tools that an upstream listed when an administrator asked last, for the page on which they are ticked. JSON.
CREATE TABLE tool_lists (
    authority TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    document  TEXT COLLATE "C" NOT NULL,
    read_at   BIGINT NOT NULL
);

-- Who wanted to use an upstream about which no administrator had decided, and when last. Gone with the decision.
CREATE TABLE upstream_requests (
    authority TEXT COLLATE "C" NOT NULL,
    user_id   BYTEA  NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client    TEXT COLLATE "C" NOT NULL,
    asked_at  BIGINT NOT NULL,
    PRIMARY KEY (authority, user_id)
);
CREATE INDEX upstream_requests_by_user ON upstream_requests (user_id, asked_at);

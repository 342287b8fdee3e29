-- The processes that serve, as each of them said last. Nothing is lost for good when a crash empties it.
CREATE UNLOGGED TABLE nodes (
    id         BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    host       TEXT    COLLATE "C" NOT NULL,
    pid        BIGINT  NOT NULL,
    version    TEXT    COLLATE "C" NOT NULL,
    started_at BIGINT  NOT NULL,
    seen_at    BIGINT  NOT NULL,
    ending     BOOLEAN NOT NULL,
    streams    BIGINT  NOT NULL,
    memory     BIGINT  NOT NULL,
    behind_ms  BIGINT  NOT NULL
);

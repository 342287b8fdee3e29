-- The processes that serve, as each of them said last.
CREATE TABLE nodes (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    host       TEXT    NOT NULL,
    pid        INTEGER NOT NULL,
    version    TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    ending     INTEGER NOT NULL CHECK (ending IN (0, 1)),
    streams    INTEGER NOT NULL,
    memory     INTEGER NOT NULL,
    behind_ms  INTEGER NOT NULL
) STRICT;

-- What happened, added up while it happens: a row for each step of time and for everything, each upstream, client, person, tool of an
-- upstream, and the combinations that are asked for. A name that does not matter is empty.
CREATE TABLE activity (
    -- How long the step is, in seconds.
    resolution   INTEGER NOT NULL,
    -- Which names matter: 1 person, 2 upstream, 4 client, 8 tool.
    kind         INTEGER NOT NULL,
    -- When it begins.
    step         INTEGER NOT NULL,
    person       TEXT    NOT NULL,
    upstream     TEXT    NOT NULL,
    client       TEXT    NOT NULL,
    tool         TEXT    NOT NULL,
    requests     INTEGER NOT NULL,
    errors       INTEGER NOT NULL,
    refused      INTEGER NOT NULL,
    refreshes    INTEGER NOT NULL,
    -- The most at once.
    streams      INTEGER NOT NULL,
    -- Requests that took so many milliseconds at most, and longer than the column before says.
    within_5     INTEGER NOT NULL,
    within_10    INTEGER NOT NULL,
    within_25    INTEGER NOT NULL,
    within_50    INTEGER NOT NULL,
    within_100   INTEGER NOT NULL,
    within_250   INTEGER NOT NULL,
    within_500   INTEGER NOT NULL,
    within_1000  INTEGER NOT NULL,
    within_2500  INTEGER NOT NULL,
    within_5000  INTEGER NOT NULL,
    within_15000 INTEGER NOT NULL,
    within_60000 INTEGER NOT NULL,
    beyond       INTEGER NOT NULL,
    PRIMARY KEY (resolution, kind, step, person, upstream, client, tool)
) STRICT, WITHOUT ROWID;

-- Who counts the streams that are open, and when it did so last, by the clock of the database.
CREATE TABLE activity_nodes (
    node    TEXT    NOT NULL PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT;

CREATE TABLE activity_streams (
    node     TEXT    NOT NULL REFERENCES activity_nodes (node) ON DELETE CASCADE,
    person   TEXT    NOT NULL,
    upstream TEXT    NOT NULL,
    client   TEXT    NOT NULL,
    streams  INTEGER NOT NULL,
    PRIMARY KEY (node, person, upstream, client)
) STRICT, WITHOUT ROWID;

-- Written now and then.
ALTER TABLE connections ADD COLUMN last_used_at INTEGER;

-- What happened, added up while it happens: a row for each step of time and for everything, each upstream, client, person, tool of an
-- upstream, and the combinations that are asked for. A name that does not matter is empty.
CREATE TABLE activity (
    -- How long the step is, in seconds.
    resolution   BIGINT NOT NULL,
    -- Which names matter: 1 person, 2 upstream, 4 client, 8 tool.
    kind         BIGINT NOT NULL,
    -- When it begins.
    step         BIGINT NOT NULL,
    person       TEXT   COLLATE "C" NOT NULL,
    upstream     TEXT   COLLATE "C" NOT NULL,
    client       TEXT   COLLATE "C" NOT NULL,
    tool         TEXT   COLLATE "C" NOT NULL,
    requests     BIGINT NOT NULL,
    errors       BIGINT NOT NULL,
    refused      BIGINT NOT NULL,
    refreshes    BIGINT NOT NULL,
    -- The most at once.
    streams      BIGINT NOT NULL,
    -- Requests that took so many milliseconds at most, and longer than the column before says.
    within_5     BIGINT NOT NULL,
    within_10    BIGINT NOT NULL,
    within_25    BIGINT NOT NULL,
    within_50    BIGINT NOT NULL,
    within_100   BIGINT NOT NULL,
    within_250   BIGINT NOT NULL,
    within_500   BIGINT NOT NULL,
    within_1000  BIGINT NOT NULL,
    within_2500  BIGINT NOT NULL,
    within_5000  BIGINT NOT NULL,
    within_15000 BIGINT NOT NULL,
    within_60000 BIGINT NOT NULL,
    beyond       BIGINT NOT NULL,
    PRIMARY KEY (resolution, kind, step, person, upstream, client, tool)
) WITH (fillfactor = 80);

-- Who counts the streams that are open, and when it did so last, by the clock of the database.
CREATE TABLE activity_nodes (
    node    TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL
);

CREATE TABLE activity_streams (
    node     TEXT   COLLATE "C" NOT NULL REFERENCES activity_nodes (node) ON DELETE CASCADE,
    person   TEXT   COLLATE "C" NOT NULL,
    upstream TEXT   COLLATE "C" NOT NULL,
    client   TEXT   COLLATE "C" NOT NULL,
    streams  BIGINT NOT NULL,
    PRIMARY KEY (node, person, upstream, client)
);

-- Written now and then.
ALTER TABLE connections ADD COLUMN last_used_at BIGINT;

-- What all nodes together have let through: until when each key of a limit is used up, in nanoseconds of the Unix epoch.
CREATE TABLE limits_used (
    bucket     INTEGER NOT NULL PRIMARY KEY,
    arrives_at INTEGER NOT NULL
) STRICT;

-- What all nodes together have let through: until when each key of a limit is used up, in nanoseconds of the Unix epoch.
-- Nothing is lost for good when a crash empties it.
CREATE UNLOGGED TABLE limits_used (
    bucket     BIGINT NOT NULL PRIMARY KEY,
    arrives_at BIGINT NOT NULL
);

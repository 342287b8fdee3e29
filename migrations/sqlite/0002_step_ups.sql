-- What upstreams asked for beyond what a connection has (403 insufficient_scope).
CREATE TABLE step_ups (
    connection_id BLOB NOT NULL PRIMARY KEY REFERENCES connections (id) ON DELETE CASCADE,
    document      TEXT NOT NULL
) STRICT;

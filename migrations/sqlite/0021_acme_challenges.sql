-- What an authority is going to ask, so that any node answers. Nothing here is secret: the answers are public for as long as they are
-- good for something.
CREATE TABLE acme_challenges (
    -- The token of a file (http-01), or the name of a handshake (tls-alpn-01).
    key        TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    answer     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT;

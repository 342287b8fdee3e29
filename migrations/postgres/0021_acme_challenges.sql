-- What an authority is going to ask, so that any node answers. Nothing here is secret: the answers are public for as long as they are
-- good for something.
CREATE TABLE acme_challenges (
    -- The token of a file (http-01), or the name of a handshake (tls-alpn-01).
    key        TEXT   COLLATE "C" NOT NULL,
    kind       TEXT   COLLATE "C" NOT NULL,
    name       TEXT   COLLATE "C" NOT NULL,
    answer     TEXT   COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (kind, key)
);

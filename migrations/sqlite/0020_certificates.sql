-- Certificates that are ordered from an authority (ACME), by the name that they are for: the root domain or an MCP hostname. A row
-- stands as soon as somebody orders; chain and key come with the first certificate. The key is sealed.
CREATE TABLE certificates (
    name         TEXT    NOT NULL PRIMARY KEY,
    -- All names of the certificate, separated by blanks; the wanted ones until there is one.
    names        TEXT    NOT NULL,
    directory    TEXT    NOT NULL,
    chain        TEXT,
    sealed       BLOB,
    not_before   INTEGER,
    not_after    INTEGER,
    -- When to order the next one; earlier than the certificate's end.
    renew_at     INTEGER NOT NULL,
    -- When the authority says how it would have it (RFC 9773).
    ask_at       INTEGER,
    -- Who orders at present, by the clock of the database.
    lease_holder TEXT,
    lease_until  INTEGER,
    failures     INTEGER NOT NULL DEFAULT 0,
    last_error   TEXT
) STRICT;
CREATE TABLE acme_accounts (
    directory  TEXT    NOT NULL PRIMARY KEY,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

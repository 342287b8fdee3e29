-- Certificates that are ordered from an authority (ACME), by the name that they are for: the root domain or an MCP hostname. A row
-- stands as soon as somebody orders; chain and key come with the first certificate. The key is sealed.
CREATE TABLE certificates (
    name         TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    -- All names of the certificate, separated by blanks; the wanted ones until there is one.
    names        TEXT   COLLATE "C" NOT NULL,
    directory    TEXT   COLLATE "C" NOT NULL,
    chain        TEXT   COLLATE "C",
    sealed       BYTEA,
    not_before   BIGINT,
    not_after    BIGINT,
    -- When to order the next one; earlier than the certificate's end.
    renew_at     BIGINT NOT NULL,
    -- When the authority says how it would have it (RFC 9773).
    ask_at       BIGINT,
    -- Who orders at present, by the clock of the database.
    lease_holder TEXT   COLLATE "C",
    lease_until  BIGINT,
    failures     BIGINT NOT NULL DEFAULT 0,
    last_error   TEXT   COLLATE "C"
);
CREATE TABLE acme_accounts (
    directory  TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    sealed     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);

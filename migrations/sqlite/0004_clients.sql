-- Whom a client acts for that an administrator made; when a registration ends, if it does.
ALTER TABLE clients ADD COLUMN owner_id BLOB REFERENCES users (id) ON DELETE CASCADE CHECK (length(owner_id) = 16);
ALTER TABLE clients ADD COLUMN expires_at INTEGER;
CREATE INDEX clients_by_owner ON clients (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX clients_by_expiry ON clients (expires_at) WHERE expires_at IS NOT NULL;

-- What may be presented once only, until it expires by itself: digests of signed assertions and of proofs
-- of possession.
CREATE TABLE used_once (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX used_once_by_expiry ON used_once (expires_at);

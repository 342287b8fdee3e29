-- Every line of the audit log is chained to the one before it: positions count from 1 without a gap, and a hash is the SHA-256 of
-- the hash before it and of the line (docs/audit.md). Lines of earlier versions have neither.
ALTER TABLE audit ADD COLUMN position INTEGER;
ALTER TABLE audit ADD COLUMN hash BLOB CHECK (length(hash) = 32);
CREATE UNIQUE INDEX audit_by_position ON audit (position);
CREATE INDEX audit_unchained ON audit (id) WHERE position IS NULL;

-- One row, made with the first line of the chain: after which id it began, the last line that retention took, and the newest.
CREATE TABLE audit_chain (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    begun_after INTEGER NOT NULL,
    kept_after  INTEGER NOT NULL,
    kept_hash   BLOB    NOT NULL CHECK (length(kept_hash) = 32),
    head        INTEGER NOT NULL,
    head_hash   BLOB    NOT NULL CHECK (length(head_hash) = 32)
) STRICT;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit WHEN OLD.position IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- Retention moves the checkpoint first.
CREATE TRIGGER audit_ends_with_retention_only BEFORE DELETE ON audit
WHEN OLD.position > (SELECT kept_after FROM audit_chain)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- Every line of the audit log is chained to the one before it: positions count from 1 without a gap, and a hash is the SHA-256 of
-- the hash before it and of the line (docs/audit.md). Lines of earlier versions have neither.
ALTER TABLE audit ADD COLUMN position BIGINT;
ALTER TABLE audit ADD COLUMN hash BYTEA CHECK (length(hash) = 32);
CREATE UNIQUE INDEX audit_by_position ON audit (position);
CREATE INDEX audit_unchained ON audit (id) WHERE position IS NULL;

-- One row, made with the first line of the chain: after which id it began, the last line that retention took, and the newest.
CREATE TABLE audit_chain (
    id          BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    begun_after BIGINT NOT NULL,
    kept_after  BIGINT NOT NULL,
    kept_hash   BYTEA  NOT NULL CHECK (length(kept_hash) = 32),
    head        BIGINT NOT NULL,
    head_hash   BYTEA  NOT NULL CHECK (length(head_hash) = 32)
);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

-- Retention moves the checkpoint first.
CREATE FUNCTION audit_line_is_past() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.position > (SELECT kept_after FROM audit_chain) THEN
        RAISE EXCEPTION 'the audit log is append-only';
    END IF;
    RETURN OLD;
END
$$;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit FOR EACH ROW WHEN (OLD.position IS NOT NULL)
    EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_ends_with_retention_only BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_line_is_past();
CREATE TRIGGER audit_is_never_truncated BEFORE TRUNCATE ON audit FOR EACH STATEMENT
    EXECUTE FUNCTION audit_is_append_only();

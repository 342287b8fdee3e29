-- Lines of the audit log that were written together stand in one row: a call of a tool is worth a line, but not a row and the places of
-- it in four indexes. Numbers, positions and hashes are those that the lines would have as rows (src/store/audit_log/bundle.rs).
CREATE TABLE audit_bundles (
    first_id       BIGINT NOT NULL PRIMARY KEY,
    last_id        BIGINT NOT NULL,
    first_position BIGINT NOT NULL,
    last_position  BIGINT NOT NULL,
    -- Of any of its lines, the earliest and the latest.
    first_at       BIGINT NOT NULL,
    last_at        BIGINT NOT NULL,
    lines          BIGINT NOT NULL,
    -- Of its last line.
    hash           BYTEA  NOT NULL CHECK (length(hash) = 32),
    content        BYTEA  NOT NULL
);
CREATE INDEX audit_bundles_by_time ON audit_bundles (first_at);
-- Hashes cannot be made smaller, and trying costs more than the rest of writing a bundle.
ALTER TABLE audit_bundles ALTER COLUMN content SET STORAGE EXTERNAL;

-- How many lines of a bundle are whose.
CREATE TABLE audit_bundle_actors (
    actor  TEXT   COLLATE "C" NOT NULL,
    bundle BIGINT NOT NULL,
    lines  BIGINT NOT NULL,
    PRIMARY KEY (actor, bundle)
);
CREATE INDEX audit_bundle_actors_by_bundle ON audit_bundle_actors (bundle);

CREATE FUNCTION audit_bundle_is_past() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.last_position > (SELECT kept_after FROM audit_chain) THEN
        RAISE EXCEPTION 'the audit log is append-only';
    END IF;
    RETURN OLD;
END
$$;

CREATE TRIGGER audit_bundles_are_never_changed BEFORE UPDATE ON audit_bundles FOR EACH ROW
    EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_bundles_end_with_retention_only BEFORE DELETE ON audit_bundles FOR EACH ROW
    EXECUTE FUNCTION audit_bundle_is_past();
CREATE TRIGGER audit_bundles_are_never_truncated BEFORE TRUNCATE ON audit_bundles FOR EACH STATEMENT
    EXECUTE FUNCTION audit_is_append_only();

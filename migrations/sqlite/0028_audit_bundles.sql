-- Lines of the audit log that were written together stand in one row: a call of a tool is worth a line, but not a row and the places of
-- it in four indexes. Numbers, positions and hashes are those that the lines would have as rows (src/store/audit_log/bundle.rs).
CREATE TABLE audit_bundles (
    first_id       INTEGER PRIMARY KEY,
    last_id        INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    last_position  INTEGER NOT NULL,
    -- Of any of its lines, the earliest and the latest.
    first_at       INTEGER NOT NULL,
    last_at        INTEGER NOT NULL,
    lines          INTEGER NOT NULL,
    -- Of its last line.
    hash           BLOB    NOT NULL CHECK (length(hash) = 32),
    content        BLOB    NOT NULL
) STRICT;
CREATE INDEX audit_bundles_by_time ON audit_bundles (first_at);

-- How many lines of a bundle are whose.
CREATE TABLE audit_bundle_actors (
    actor  TEXT    NOT NULL,
    bundle INTEGER NOT NULL,
    lines  INTEGER NOT NULL,
    PRIMARY KEY (actor, bundle)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_bundle_actors_by_bundle ON audit_bundle_actors (bundle);

CREATE TRIGGER audit_bundles_are_never_changed BEFORE UPDATE ON audit_bundles
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- Retention moves the checkpoint first.
CREATE TRIGGER audit_bundles_end_with_retention_only BEFORE DELETE ON audit_bundles
WHEN OLD.last_position > (SELECT kept_after FROM audit_chain)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

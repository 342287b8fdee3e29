-- What is known of a request to an upstream; all of it is missing for what people and administrators do.
ALTER TABLE audit ADD COLUMN upstream TEXT;
ALTER TABLE audit ADD COLUMN client TEXT;
ALTER TABLE audit ADD COLUMN status INTEGER;
ALTER TABLE audit ADD COLUMN duration_ms INTEGER;
CREATE INDEX audit_by_time ON audit (at);

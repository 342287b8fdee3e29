-- Who refreshes a connection, and since when (src/store/refreshes.rs). The fence goes up with every lease and every change of the
-- tokens, and never down. `refreshing_since` and `refreshing_token` are the intent: they stay until it is known what became of it.
ALTER TABLE connections ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN lease_holder TEXT;
ALTER TABLE connections ADD COLUMN lease_until INTEGER;
ALTER TABLE connections ADD COLUMN refreshing_token BLOB CHECK (length(refreshing_token) = 32);

-- When to refresh although nobody asks.
ALTER TABLE connections ADD COLUMN refresh_at INTEGER;
UPDATE connections SET refresh_at = CASE
    WHEN expires_at - updated_at > 4500 THEN expires_at - 900
    ELSE expires_at - (expires_at - updated_at) / 5 END;
DROP INDEX connections_expiring;
CREATE INDEX connections_due ON connections (refresh_at) WHERE state = 'active';

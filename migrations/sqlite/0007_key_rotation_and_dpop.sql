-- A key signs from its `active_from` until the next key does, and verifies as long as a token can live that it signed:
-- `token_ttl` is the longest life, in seconds, that any process gave one.
ALTER TABLE signing_keys ADD COLUMN active_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE signing_keys ADD COLUMN token_ttl INTEGER NOT NULL DEFAULT 0;
UPDATE signing_keys SET active_from = created_at;
ALTER TABLE signing_keys DROP COLUMN retired_at;

-- The thumbprint of the key that a code or a refresh token is bound to, where there is one (RFC 9449 §5, §10).
ALTER TABLE codes ADD COLUMN dpop_jkt TEXT;
ALTER TABLE refresh_tokens ADD COLUMN dpop_jkt TEXT;

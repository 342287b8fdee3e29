-- A connection may hold values that its person gave us instead of tokens that a server gave: the names of those values,
-- separated by spaces. NULL for tokens. The values are sealed where the tokens are.
ALTER TABLE connections ADD COLUMN personal TEXT;

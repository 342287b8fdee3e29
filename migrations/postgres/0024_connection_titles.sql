-- What a person calls one of several connections; nothing for what the upstream is called anyway.
ALTER TABLE connections ADD COLUMN title TEXT COLLATE "C" CHECK (length(title) BETWEEN 1 AND 60);

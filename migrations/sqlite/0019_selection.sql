-- What a person does not want to see at /mcp; everything else appears there. The authority is an upstream's, the account empty
-- for the plain one. No reference to a connection: it may come and go.
CREATE TABLE hidden_members (
    user_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    authority TEXT NOT NULL,
    account   TEXT NOT NULL,
    PRIMARY KEY (user_id, authority, account)
) STRICT;

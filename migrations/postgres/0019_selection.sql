-- What a person does not want to see at /mcp; everything else appears there. The authority is an upstream's, the account empty
-- for the plain one. No reference to a connection: it may come and go.
CREATE TABLE hidden_members (
    user_id   BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    authority TEXT  COLLATE "C" NOT NULL,
    account   TEXT  COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, authority, account)
);

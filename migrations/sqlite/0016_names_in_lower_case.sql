-- Names are looked up in lower case, as in PostgreSQL.
CREATE UNIQUE INDEX users_by_name ON users (lower(name));

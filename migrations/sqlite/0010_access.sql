-- Who belongs to which group. Source '' is an administrator, else the identity provider that said so; the same membership
-- can come from several.
CREATE TABLE user_groups (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    source  TEXT NOT NULL,
    PRIMARY KEY (user_id, name, source)
) STRICT;
CREATE INDEX user_groups_by_name ON user_groups (name);

-- Upstreams that not everybody may use. People are named by id, so that a name that somebody else gets later opens nothing;
-- groups by name. Both are JSON arrays. No reference to upstreams: a restriction outlives a decision about the upstream.
CREATE TABLE upstream_access (
    authority TEXT NOT NULL PRIMARY KEY,
    users     TEXT NOT NULL,
    groups    TEXT NOT NULL
) STRICT;

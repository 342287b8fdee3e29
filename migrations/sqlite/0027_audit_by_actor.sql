-- What one person did, newest first, however much others did: each member's page asks for it.
CREATE INDEX audit_by_actor ON audit (actor, id);

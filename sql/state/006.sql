-- Version 6. A command of one sync is found without reading the whole log.

CREATE INDEX audit_of_sync ON audit (sync, command) WHERE sync IS NOT NULL;

PRAGMA user_version = 6;

-- Version 6. `revision` is that of the config that a run began with; NULL while it waits, and where an older version made it.

ALTER TABLE runs ADD COLUMN revision TEXT;

PRAGMA user_version = 6;

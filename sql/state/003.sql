-- Version 3. Syncs whose full resync was asked for, begun, and has not opened its epoch: whatever became of the run, the
-- next one makes it. A run that an older version left before its first row may have opened its epoch or not: it is owed,
-- since what opens one again before anything is sent costs nothing.

CREATE TABLE owed_fulls (
    sync TEXT PRIMARY KEY
) STRICT;

INSERT INTO owed_fulls (sync)
SELECT DISTINCT sync FROM runs AS run
WHERE json_extract(choice, '$.reason') = 'requested'
AND json_extract(tally, '$.rows_read') = 0
AND (
    json_extract(phase, '$.phase') = 'starting'
    OR json_extract(phase, '$.outcome') IN ('failed', 'interrupted')
    OR (json_extract(phase, '$.outcome') = 'cancelled' AND error IS NULL)
)
AND NOT EXISTS (
    SELECT 1 FROM runs AS later
    WHERE later.sync = run.sync AND later.id > run.id
    AND later.finished_at IS NOT NULL AND later.choice IS NOT NULL
);

-- Runs that have begun and not ended are few, whatever waits.
CREATE INDEX going_runs ON runs (phase) WHERE finished_at IS NULL;

-- Bytes of the journal of `generation` that are safe at least; 0 while it has not begun. NULL where an older version
-- remembered the snapshot.
ALTER TABLE known_snapshots ADD COLUMN journal INTEGER;

PRAGMA user_version = 3;

CREATE TABLE IF NOT EXISTS write_backs (
    write_back_id TEXT PRIMARY KEY,
    consult_id TEXT NOT NULL,
    report_version INTEGER NOT NULL,
    study_uid TEXT NOT NULL,
    holder TEXT NOT NULL,
    deadline REAL NOT NULL,                -- seconds since 1970
    state TEXT NOT NULL DEFAULT 'open',    -- open, done, failed
    reason TEXT NOT NULL DEFAULT '',       -- why the last try failed
    tries INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS write_backs_open ON write_backs (not_before) WHERE state = 'open';

CREATE TABLE IF NOT EXISTS written_back (  -- kept for good: these objects are never announced as the hospital's own
    sop_instance_uid TEXT PRIMARY KEY,
    study_uid TEXT NOT NULL,
    series_uid TEXT NOT NULL DEFAULT '',   -- in which the PACS lists it; empty: it was not seen there
    sha256 TEXT NOT NULL,
    write_back_id TEXT NOT NULL,
    stored INTEGER NOT NULL DEFAULT 0      -- 1: the PACS took it
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS written_back_studies ON written_back (study_uid);
CREATE INDEX IF NOT EXISTS written_back_of ON written_back (write_back_id);

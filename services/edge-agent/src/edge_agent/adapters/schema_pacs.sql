CREATE TABLE IF NOT EXISTS pacs_studies (
    study_uid TEXT PRIMARY KEY,
    study_date TEXT NOT NULL,
    series_count INTEGER,                     -- as the PACS says; NULL: it does not
    instance_count INTEGER,
    attributes TEXT NOT NULL,                 -- digest of patient and study attributes
    dirty INTEGER NOT NULL DEFAULT 1,         -- 1: a catalogue is to be made
    history INTEGER NOT NULL DEFAULT 0,       -- 1: told in the night window, at the backfill's rate
    announcement INTEGER NOT NULL DEFAULT 0,  -- the last one's number
    listed INTEGER NOT NULL DEFAULT 0,        -- 1: the last announcement says that it is there
    fingerprint TEXT NOT NULL DEFAULT '',     -- digest of the instances' UIDs as the PACS lists them
    content TEXT NOT NULL DEFAULT '',         -- digest of what was announced
    headers_full INTEGER NOT NULL DEFAULT 0,
    headers_asked INTEGER NOT NULL DEFAULT 0, -- times all its instances were asked for their headers since they changed
    missed INTEGER NOT NULL DEFAULT 0,        -- whole sweeps without it, one after the other
    tries INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    checked_at REAL NOT NULL DEFAULT 0,       -- when its instances were last compared
    problem TEXT NOT NULL DEFAULT ''          -- why the centre refuses its catalogue
);
CREATE INDEX IF NOT EXISTS pacs_waiting ON pacs_studies (history, study_date DESC) WHERE dirty = 1;
CREATE INDEX IF NOT EXISTS pacs_known ON pacs_studies (study_date DESC);

CREATE TABLE IF NOT EXISTS pacs_contents (
    study_uid TEXT PRIMARY KEY,
    instances BLOB NOT NULL                   -- zstd of a JSON array: the instances as announced, in display order
);

CREATE TABLE IF NOT EXISTS pacs_headers (     -- of a PACS without WADO-RS: headers read from the instances themselves
    study_uid TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    header BLOB NOT NULL,                     -- zstd of DICOM JSON
    note INTEGER NOT NULL DEFAULT 0,          -- 1: a rejection note, kept as long as the study
    UNIQUE (study_uid, sop_instance_uid)
);

CREATE TABLE IF NOT EXISTS pacs_state (name TEXT PRIMARY KEY, value REAL NOT NULL);

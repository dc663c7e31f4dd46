CREATE TABLE IF NOT EXISTS retrievals (
    retrieval_id TEXT PRIMARY KEY,
    study_uid TEXT NOT NULL,
    revision INTEGER NOT NULL,             -- 0: only a cancellation is known
    priority INTEGER NOT NULL,
    deadline REAL NOT NULL,
    series TEXT NOT NULL,
    first TEXT NOT NULL,
    state TEXT NOT NULL,                   -- open, done, cancelled, failed
    ended_at REAL
);
CREATE INDEX IF NOT EXISTS retrievals_open ON retrievals (retrieval_id) WHERE state = 'open';

CREATE TABLE IF NOT EXISTS retrieved (
    retrieval_id TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (retrieval_id, sop_instance_uid)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS policy (
    hospital TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    tier TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS migrations (
    study_uid TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,             -- of the instances that were copied
    missing INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    copied_at REAL NOT NULL
);

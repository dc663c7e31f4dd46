CREATE TABLE IF NOT EXISTS instances (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    study_uid TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    length INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'received',
    on_disk INTEGER NOT NULL DEFAULT 1,
    reason TEXT NOT NULL DEFAULT '',
    traceparent TEXT,
    received_at REAL NOT NULL,
    stored_order INTEGER,
    UNIQUE (sop_instance_uid, sha256)
);
CREATE INDEX IF NOT EXISTS of_study ON instances (study_uid, number);
CREATE INDEX IF NOT EXISTS to_send ON instances (study_uid, number) WHERE state = 'received';
CREATE INDEX IF NOT EXISTS ring ON instances (stored_order) WHERE state = 'stored' AND on_disk = 1;

CREATE TABLE IF NOT EXISTS studies (
    study_uid TEXT PRIMARY KEY,
    waiting INTEGER NOT NULL DEFAULT 0,      -- instances in state received
    sent INTEGER NOT NULL DEFAULT 0,         -- 1 once one left that state
    last_change INTEGER NOT NULL DEFAULT 0,  -- rises with each arrival and rejection
    announced_change INTEGER NOT NULL DEFAULT 0,
    announcement INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS studies_waiting ON studies (waiting) WHERE waiting > 0;
CREATE INDEX IF NOT EXISTS studies_changed ON studies (study_uid) WHERE last_change > announced_change;

CREATE TABLE IF NOT EXISTS totals (state TEXT PRIMARY KEY, instances INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO totals VALUES ('received', 0, 0), ('sent', 0, 0), ('stored', 0, 0), ('rejected', 0, 0);

CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL, topic TEXT NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL,
    traceparent TEXT,
    problem TEXT
);

CREATE TABLE IF NOT EXISTS refusals (reason TEXT PRIMARY KEY, count INTEGER NOT NULL);

CREATE TRIGGER IF NOT EXISTS arrived AFTER INSERT ON instances BEGIN
    UPDATE totals SET instances = instances + 1, bytes = bytes + new.length WHERE state = new.state;
    INSERT INTO studies (study_uid, waiting, last_change) VALUES (new.study_uid, 1, 1)
        ON CONFLICT DO UPDATE SET waiting = waiting + 1, last_change = last_change + 1;
END;
CREATE TRIGGER IF NOT EXISTS moved AFTER UPDATE OF state, on_disk ON instances BEGIN
    UPDATE totals SET instances = instances - old.on_disk, bytes = bytes - old.on_disk * old.length
        WHERE state = old.state;
    UPDATE totals SET instances = instances + new.on_disk, bytes = bytes + new.on_disk * new.length
        WHERE state = new.state;
    UPDATE studies SET
        waiting = waiting - (old.state = 'received') + (new.state = 'received'),
        sent = sent OR new.state != 'received',
        last_change = last_change + (new.state = 'rejected' AND old.state != 'rejected')
        WHERE study_uid = new.study_uid;
END;

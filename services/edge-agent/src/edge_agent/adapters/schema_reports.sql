CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- counts the hospital's messages: the revision of what an order says
    sha256 TEXT NOT NULL UNIQUE,
    control_id TEXT NOT NULL,
    media_type TEXT NOT NULL,
    length INTEGER NOT NULL,
    state TEXT NOT NULL,                       -- reports: waiting, sent, refused; orders: taken
    reason TEXT NOT NULL DEFAULT '',
    received_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_waiting ON messages (number) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS messages_by_state ON messages (state);

CREATE TABLE IF NOT EXISTS message_refusals (reason TEXT PRIMARY KEY, count INTEGER NOT NULL);

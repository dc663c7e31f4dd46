CREATE TABLE IF NOT EXISTS commitments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    ae_title TEXT NOT NULL,            -- who asked
    address TEXT NOT NULL,
    transaction_uid TEXT NOT NULL,
    items TEXT NOT NULL,               -- JSON: [[SOP class UID, SOP instance UID], …]
    received_at REAL NOT NULL,
    next_at REAL NOT NULL,             -- when it is looked at again
    attempts INTEGER NOT NULL DEFAULT 0,
    outcome TEXT NOT NULL DEFAULT '',  -- '' open, 'success', 'failure', 'undelivered'
    UNIQUE (ae_title, transaction_uid)
);
CREATE INDEX IF NOT EXISTS commitments_open ON commitments (next_at) WHERE outcome = '';

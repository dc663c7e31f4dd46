CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    study_uid TEXT NOT NULL DEFAULT '',
    leaves_at TEXT NOT NULL,           -- local time, ISO 8601: when it leaves the worklist, or the row itself
    document TEXT                      -- OrderPlaced as JSON; NULL: cancelled
);
CREATE INDEX IF NOT EXISTS orders_leaving ON orders (leaves_at);

-- What atalaya keeps. Times are nanoseconds since 1970 (UTC), so that they sort; words are those of the
-- domain; JSON columns are written and read by rows.rs alone.

-- "ATLY": tells our file from that of another program.
PRAGMA application_id = 1096043609;

-- The newest commit: what happened after it was not seen.
CREATE TABLE life (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at  INTEGER NOT NULL
) STRICT;

CREATE TABLE facts (
    watch      TEXT PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    removed_at INTEGER,
    self_registered INTEGER NOT NULL,
    state      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX facts_removed ON facts (removed_at) WHERE removed_at IS NOT NULL;

CREATE TABLE flips (
    id         INTEGER PRIMARY KEY,
    watch      TEXT NOT NULL,
    at         INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    verdict_before TEXT NOT NULL,
    verdict    TEXT NOT NULL,
    noticed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX flips_of_watch ON flips (watch, at);

CREATE TABLE incidents (
    id          INTEGER PRIMARY KEY,
    watch       TEXT NOT NULL,
    condition   TEXT NOT NULL,
    resolved_at INTEGER,
    set_aside   INTEGER NOT NULL DEFAULT 0,
    detail      TEXT NOT NULL
) STRICT;
-- One trouble is one incident. A row that was set aside is no longer known and hinders nobody.
CREATE UNIQUE INDEX incidents_one_open ON incidents (watch, condition)
    WHERE resolved_at IS NULL AND set_aside = 0;
CREATE INDEX incidents_of_watch ON incidents (watch, id);
CREATE INDEX incidents_resolved ON incidents (resolved_at) WHERE resolved_at IS NOT NULL;

CREATE TABLE decisions (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    watch    TEXT NOT NULL,
    incident INTEGER,
    stage    TEXT NOT NULL,
    outcome  TEXT NOT NULL,
    rule     TEXT NOT NULL,
    origin   TEXT NOT NULL,
    receiver TEXT
) STRICT;
CREATE INDEX decisions_of_watch ON decisions (watch, at);

CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY,
    key         TEXT NOT NULL UNIQUE,
    receiver    TEXT NOT NULL,
    message     INTEGER,
    incidents   TEXT NOT NULL,
    condition   TEXT NOT NULL,
    severity    TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    body        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    state       TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    deadline    INTEGER NOT NULL,
    error       TEXT,
    reference   TEXT,
    failed_over INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX deliveries_owed ON deliveries (receiver, id) WHERE state IN ('pending', 'sending');
CREATE INDEX deliveries_over ON deliveries (changed_at)
    WHERE state IN ('sent', 'failed', 'superseded');

-- Which deliveries tell of an incident.
CREATE TABLE told (
    incident INTEGER NOT NULL,
    delivery INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    PRIMARY KEY (incident, delivery)
) STRICT, WITHOUT ROWID;
CREATE INDEX told_by ON told (delivery);

-- A group: one message of a human receiver, with its edits.
CREATE TABLE messages (
    id        INTEGER PRIMARY KEY,
    opened_at INTEGER NOT NULL,
    closed    INTEGER NOT NULL,
    members   TEXT NOT NULL,
    detail    TEXT NOT NULL
) STRICT;

-- How the receiver names the newest message of a group.
CREATE TABLE message_references (
    message   INTEGER PRIMARY KEY,
    reference TEXT NOT NULL
) STRICT;

CREATE TABLE silences (
    id       INTEGER PRIMARY KEY,
    ended_at INTEGER,
    detail   TEXT NOT NULL
) STRICT;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

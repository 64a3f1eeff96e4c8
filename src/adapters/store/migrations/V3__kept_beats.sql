-- What is kept of beats: those that ended a long silence or said something new, each with how the time before
-- it was; and when we could not hear. So that a time can be judged again under another registry.
CREATE TABLE beats (
    id     INTEGER PRIMARY KEY,
    watch  TEXT NOT NULL,
    at     INTEGER NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX beats_of_watch ON beats (watch, at);

CREATE TABLE deafness (
    source TEXT NOT NULL,
    since  INTEGER NOT NULL,
    until  INTEGER,
    PRIMARY KEY (source, since)
) STRICT, WITHOUT ROWID;

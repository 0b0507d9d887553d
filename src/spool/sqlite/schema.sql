-- Times are milliseconds since 1970 in UTC.

CREATE TABLE account (
    name TEXT PRIMARY KEY,
    patience_ms INTEGER NOT NULL,     -- how long it has been working; the clock by which its mail expires
    asked INTEGER,                    -- when an operator last ordered a retry
    state TEXT,                       -- what is wrong with it; null: it works
    reason TEXT,
    cure TEXT,
    since INTEGER
) WITHOUT ROWID;

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    received INTEGER NOT NULL,
    size INTEGER NOT NULL,
    reverse_path TEXT NOT NULL,       -- empty: null
    smtputf8 INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    helo TEXT NOT NULL,
    ip TEXT,
    due INTEGER,                      -- when it may be claimed, or its lease ends; null: nobody is owed it
    held INTEGER NOT NULL DEFAULT 0,
    leased INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    patience_ms INTEGER NOT NULL,     -- the account's clock at acceptance
    last_reply TEXT
);

CREATE INDEX message_due ON message (account, held, due) WHERE due IS NOT NULL;

CREATE TABLE recipient (
    message INTEGER NOT NULL,
    place INTEGER NOT NULL,
    address TEXT NOT NULL,
    original TEXT,                    -- whom the client asked for, where it was somebody else
    owed INTEGER NOT NULL,
    PRIMARY KEY (message, place)
) WITHOUT ROWID;

CREATE TABLE content (
    message INTEGER NOT NULL,
    piece INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (message, piece)
);

CREATE TABLE past (
    number INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    place INTEGER NOT NULL,
    at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reply TEXT NOT NULL,
    attempts INTEGER NOT NULL
);

CREATE INDEX past_message ON past (message);
CREATE INDEX past_at ON past (at);

-- Leased messages leave the index of what is due: no clock ends a lease.
DROP INDEX message_due;
UPDATE message SET due = received WHERE due IS NOT NULL AND leased = 1;
CREATE INDEX message_due ON message (account, due) WHERE due IS NOT NULL AND held = 0 AND leased = 0;

-- The final dot may be out, and no outcome is known.
ALTER TABLE message ADD COLUMN sending INTEGER NOT NULL DEFAULT 0;
-- When the last one was settled; null: somebody is owed it.
ALTER TABLE message ADD COLUMN settled INTEGER;
-- Until when content is kept although nobody is owed it; null: it is gone, or still owed.
ALTER TABLE message ADD COLUMN content_until INTEGER;
CREATE INDEX message_content_until ON message (content_until) WHERE content_until IS NOT NULL;

-- The first piece of a content, found by the message alone: most have no other.
ALTER TABLE content RENAME TO old_content;
CREATE TABLE content (
    message INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
);
CREATE TABLE further_content (
    message INTEGER NOT NULL,
    piece INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (message, piece)
);
INSERT INTO content SELECT message, bytes FROM old_content WHERE piece = 0;
INSERT INTO further_content SELECT message, piece, bytes FROM old_content WHERE piece > 0;
DROP TABLE old_content;

-- The past is short, and is read from its end or from its beginning.
UPDATE message SET settled = (SELECT max(at) FROM past WHERE past.message = message.id) WHERE due IS NULL;
DROP INDEX past_message;
DROP INDEX past_at;

-- The account that it went through; null: the message's own.
ALTER TABLE past ADD COLUMN account TEXT;

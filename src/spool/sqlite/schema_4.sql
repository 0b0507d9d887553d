-- The name that the client logged in with; null: it did not.
ALTER TABLE message ADD COLUMN login TEXT;

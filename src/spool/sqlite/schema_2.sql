-- Recipients in 24 hours that Gmail is believed to allow, and since when that is believed; null: as configured.
ALTER TABLE account ADD COLUMN believed_limit INTEGER;
ALTER TABLE account ADD COLUMN believed_since INTEGER;

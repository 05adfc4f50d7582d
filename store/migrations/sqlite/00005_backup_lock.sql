-- The date before which a backup's site lets nobody delete it; 0 for "none". A
-- column with a constant default rewrites no row.

-- +goose Up
ALTER TABLE backups ADD COLUMN locked_until BIGINT NOT NULL DEFAULT 0;

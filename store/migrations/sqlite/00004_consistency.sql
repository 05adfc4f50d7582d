-- Why a backup is no more than crash-consistent, and how the VPS felt it: JSON of
-- the latency of its writes before and during.

-- +goose Up
ALTER TABLE backups ADD COLUMN consistency_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE backups ADD COLUMN latency TEXT;

-- +goose Down
ALTER TABLE backups DROP COLUMN latency;
ALTER TABLE backups DROP COLUMN consistency_reason;

-- Why a backup is a repair: in words, for the operator.

-- +goose Up
ALTER TABLE backups ADD COLUMN incremental_reason TEXT NOT NULL DEFAULT '';

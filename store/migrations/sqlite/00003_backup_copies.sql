-- Copies of backups at further places, and what is to be collected where.

-- +goose Up
ALTER TABLE operations ADD COLUMN place TEXT NOT NULL DEFAULT '';

-- One copy of a backup to a place at a time, one collection of a vault.
CREATE UNIQUE INDEX operations_upkeep ON operations (kind, account_id, backup_id, place)
    WHERE status IN ('queued', 'in_progress') AND place <> '';

-- A copy outlives its backup's row until it is deleted, too.
CREATE TABLE backup_copies (
    backup_id     TEXT   NOT NULL,
    place         TEXT   NOT NULL,
    account_id    TEXT   NOT NULL REFERENCES accounts (id),
    state         TEXT   NOT NULL,
    bytes         BIGINT NOT NULL,
    completed_at  BIGINT NOT NULL,
    error         TEXT   NOT NULL,
    due_at        BIGINT NOT NULL, -- by the lease clock
    PRIMARY KEY (backup_id, place)
);
CREATE INDEX backup_copies_due ON backup_copies (due_at) WHERE state <> 'complete';

CREATE TABLE vault_garbage (
    account_id  TEXT   NOT NULL REFERENCES accounts (id),
    place       TEXT   NOT NULL,
    deletions   BIGINT NOT NULL,
    due_at      BIGINT NOT NULL, -- by the lease clock
    PRIMARY KEY (account_id, place)
);

-- Sets of disks of VPSs beside those in force. Columns with a constant default
-- rewrite no row.

-- +goose Up
ALTER TABLE vps ADD COLUMN last_generation BIGINT NOT NULL DEFAULT 0; -- the highest number given out; 0: its own
ALTER TABLE vps ADD COLUMN base_backup TEXT NOT NULL DEFAULT '';      -- that the disks in force were restored from
ALTER TABLE backups ADD COLUMN data_bytes BIGINT NOT NULL DEFAULT 0;  -- that a restore writes; 0: not known
ALTER TABLE hosts ADD COLUMN room_bytes BIGINT NOT NULL DEFAULT 0;    -- free where disks lie; 0: not known

CREATE TABLE generations (
    vps_id       TEXT   NOT NULL REFERENCES vps (id) ON DELETE CASCADE,
    number       BIGINT NOT NULL,
    account_id   TEXT   NOT NULL REFERENCES accounts (id),
    host_id      TEXT   NOT NULL REFERENCES hosts (id),
    state        TEXT   NOT NULL,
    disks        TEXT   NOT NULL,
    os           TEXT,
    base_backup  TEXT   NOT NULL,
    expires_at   BIGINT NOT NULL,
    due_at       BIGINT NOT NULL, -- by the lease clock
    error        TEXT   NOT NULL,
    PRIMARY KEY (vps_id, number)
);
-- One safety point of a VPS.
CREATE UNIQUE INDEX generations_safety ON generations (vps_id) WHERE state IN ('safety', 'returning');
CREATE INDEX generations_state ON generations (state);

-- The disks of a VPS are dropped one generation at a time.
CREATE UNIQUE INDEX operations_drop ON operations (vps_id)
    WHERE status IN ('queued', 'in_progress') AND kind = 'generation_drop';

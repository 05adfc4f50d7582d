-- Local snapshots of VPSs, and schedules of them. A column with a constant
-- default rewrites no row.

-- +goose Up
ALTER TABLE hosts ADD COLUMN snapshots BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE snapshots (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id    TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    vps_id        TEXT COLLATE "C" NOT NULL REFERENCES vps (id),
    generation    BIGINT NOT NULL,
    position      BIGINT NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    description   TEXT COLLATE "C" NOT NULL,
    status        TEXT COLLATE "C" NOT NULL,
    scheduled     BOOLEAN NOT NULL,
    requested_at  BIGINT NOT NULL,
    taken_at      BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    frozen        BOOLEAN NOT NULL,
    error         TEXT COLLATE "C" NOT NULL,
    due_at        BIGINT NOT NULL -- by the lease clock
);
CREATE UNIQUE INDEX snapshots_position ON snapshots (vps_id, generation, position);
CREATE UNIQUE INDEX snapshots_name ON snapshots (vps_id, generation, name) WHERE status <> 'deleting';
CREATE INDEX snapshots_expiry ON snapshots (expires_at) WHERE status = 'completed';
CREATE INDEX snapshots_deleting ON snapshots (due_at) WHERE status = 'deleting';

CREATE TABLE snapshot_schedules (
    vps_id          TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES vps (id),
    account_id      TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    enabled         BOOLEAN NOT NULL,
    interval_hours  BIGINT NOT NULL,
    last_at         BIGINT NOT NULL,
    next_at         BIGINT NOT NULL,
    due_at          BIGINT NOT NULL -- by the lease clock
);
CREATE INDEX snapshot_schedules_next ON snapshot_schedules (next_at) WHERE enabled;

-- The schema as version 5 of SQLite's has it: both count on from here. Times are
-- microseconds since 1970 UTC, 0 for "none"; JSON is text. Texts are compared by
-- their bytes, whatever the language of the server is. Whatever is compared without
-- regard to case is kept folded beside the original.

-- +goose Up
CREATE TABLE accounts (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name                TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at          BIGINT NOT NULL,
    active              BOOLEAN NOT NULL,
    verified            BOOLEAN NOT NULL,
    card_on_file        BOOLEAN NOT NULL,
    cloud_access        BOOLEAN NOT NULL,
    unpaid_invoice      BOOLEAN NOT NULL,
    limit_cpu_cores     BIGINT NOT NULL,
    limit_memory_gb     BIGINT NOT NULL,
    limit_storage_gb    BIGINT NOT NULL,
    limit_instances     BIGINT NOT NULL,
    backup_slots        BIGINT NOT NULL,
    wrapped_key         BYTEA NOT NULL,
    next_wrapped_key    BYTEA NOT NULL DEFAULT '',
    ring_epoch          BIGINT NOT NULL DEFAULT 0,
    shredded_at         BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE api_keys (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id          TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    name                TEXT COLLATE "C" NOT NULL,
    scopes              TEXT COLLATE "C" NOT NULL,
    hash                TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at          BIGINT NOT NULL,
    expires_at          BIGINT NOT NULL,
    revoked_at          BIGINT NOT NULL
);
CREATE INDEX api_keys_account ON api_keys (account_id, created_at, id);

CREATE TABLE operator_keys (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name                TEXT COLLATE "C" NOT NULL,
    hash                TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at          BIGINT NOT NULL,
    revoked_at          BIGINT NOT NULL
);

CREATE TABLE regions (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name                TEXT COLLATE "C" NOT NULL,
    is_default          BOOLEAN NOT NULL,
    created_at          BIGINT NOT NULL
);
CREATE UNIQUE INDEX regions_default ON regions (is_default) WHERE is_default;

CREATE TABLE hosts (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    region              TEXT COLLATE "C" NOT NULL REFERENCES regions (id),
    name                TEXT COLLATE "C" NOT NULL UNIQUE,
    driver              TEXT COLLATE "C" NOT NULL,
    created_at          BIGINT NOT NULL,
    enabled             BOOLEAN NOT NULL,
    seen_at             BIGINT NOT NULL,
    capacity_cpu_cores  BIGINT NOT NULL,
    capacity_memory_gb  BIGINT NOT NULL,
    capacity_storage_gb BIGINT NOT NULL,
    capacity_instances  BIGINT NOT NULL
);
CREATE INDEX hosts_region ON hosts (region);

CREATE TABLE os_images (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name                TEXT COLLATE "C" NOT NULL UNIQUE,
    os                  TEXT COLLATE "C" NOT NULL,
    disk                TEXT COLLATE "C" NOT NULL,
    format              TEXT COLLATE "C" NOT NULL,
    size_bytes          BIGINT NOT NULL,
    boot                TEXT COLLATE "C" NOT NULL,
    created_at          BIGINT NOT NULL
);

CREATE TABLE vps (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id          TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    region              TEXT COLLATE "C" NOT NULL REFERENCES regions (id),
    host_id             TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    name                TEXT COLLATE "C" NOT NULL,
    name_folded         TEXT COLLATE "C" NOT NULL,
    os                  TEXT COLLATE "C",
    service             TEXT COLLATE "C" NOT NULL,
    power               TEXT COLLATE "C" NOT NULL,
    desired             TEXT COLLATE "C" NOT NULL,
    cpu_cores           BIGINT NOT NULL,
    memory_mib          BIGINT NOT NULL,
    storage_bytes       BIGINT NOT NULL, -- the sum of disks, for limits
    disks               TEXT COLLATE "C" NOT NULL,
    boot                TEXT COLLATE "C" NOT NULL,
    mac                 TEXT COLLATE "C" NOT NULL UNIQUE,
    primary_ip          TEXT COLLATE "C" NOT NULL,
    ports               TEXT COLLATE "C" NOT NULL,
    amount_minor        BIGINT NOT NULL,
    currency            TEXT COLLATE "C" NOT NULL,
    billing_cycle       TEXT COLLATE "C" NOT NULL,
    is_payg             BOOLEAN NOT NULL,
    generation          BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    restored_from       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX vps_account ON vps (account_id, created_at, id);
CREATE INDEX vps_host ON vps (host_id);

CREATE TABLE backups (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id          TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    vps_id              TEXT COLLATE "C" NOT NULL REFERENCES vps (id),
    status              TEXT COLLATE "C" NOT NULL,
    type                TEXT COLLATE "C" NOT NULL,
    note                TEXT COLLATE "C" NOT NULL,
    protected           BOOLEAN NOT NULL,
    site                TEXT COLLATE "C" NOT NULL,
    requested_at        BIGINT NOT NULL,
    point_at            BIGINT NOT NULL,
    point               TEXT COLLATE "C" NOT NULL,
    generation          BIGINT NOT NULL,
    size_bytes          BIGINT NOT NULL,
    changed_bytes       BIGINT NOT NULL,
    transferred_bytes   BIGINT NOT NULL,
    incremental         TEXT COLLATE "C" NOT NULL,
    consistency         TEXT COLLATE "C" NOT NULL,
    cpu_cores           BIGINT NOT NULL,
    memory_mib          BIGINT NOT NULL,
    disks               TEXT COLLATE "C" NOT NULL,
    boot                TEXT COLLATE "C" NOT NULL,
    os                  TEXT COLLATE "C",
    locked_until        BIGINT NOT NULL DEFAULT 0,
    consistency_reason  TEXT COLLATE "C" NOT NULL DEFAULT '',
    latency             TEXT COLLATE "C"
);
CREATE INDEX backups_vps ON backups (vps_id, requested_at, id);
CREATE INDEX backups_status ON backups (status);

-- An operation names its VPS and backup without references: it outlives them.
CREATE TABLE operations (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind                TEXT COLLATE "C" NOT NULL,
    account_id          TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    vps_id              TEXT COLLATE "C" NOT NULL,
    backup_id           TEXT COLLATE "C" NOT NULL,
    host_id             TEXT COLLATE "C" NOT NULL,
    key_id              TEXT COLLATE "C" NOT NULL,
    lock_name           TEXT COLLATE "C" NOT NULL,
    status              TEXT COLLATE "C" NOT NULL,
    input               TEXT COLLATE "C" NOT NULL,
    result              TEXT COLLATE "C",
    failure             TEXT COLLATE "C",
    progress            TEXT COLLATE "C" NOT NULL,
    epoch               BIGINT NOT NULL,
    runner              TEXT COLLATE "C" NOT NULL,
    lease_until         BIGINT NOT NULL, -- by the lease clock, as is not_before
    lease_ttl           BIGINT NOT NULL, -- microseconds
    not_before          BIGINT NOT NULL,
    attempts            BIGINT NOT NULL,
    cancel              BOOLEAN NOT NULL,
    journal_bytes       BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    started_at          BIGINT NOT NULL,
    finished_at         BIGINT NOT NULL,
    place               TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX operations_lock ON operations (vps_id, lock_name)
    WHERE status IN ('queued', 'in_progress') AND lock_name <> '';
CREATE INDEX operations_claim ON operations (host_id, created_at, id)
    WHERE status IN ('queued', 'in_progress');
CREATE INDEX operations_account ON operations (account_id, created_at, id);
CREATE INDEX operations_vps ON operations (vps_id, created_at, id);
CREATE INDEX operations_backup ON operations (backup_id) WHERE backup_id <> '';

CREATE TABLE journal (
    operation_id        TEXT COLLATE "C" NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    name                TEXT COLLATE "C" NOT NULL,
    value               TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (operation_id, name)
);

CREATE TABLE idempotency (
    account_id          TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    caller              TEXT COLLATE "C" NOT NULL,
    method              TEXT COLLATE "C" NOT NULL,
    path                TEXT COLLATE "C" NOT NULL,
    name                TEXT COLLATE "C" NOT NULL, -- the key the caller chose
    fingerprint         TEXT COLLATE "C" NOT NULL,
    done                BOOLEAN NOT NULL,
    owner               TEXT COLLATE "C" NOT NULL,
    status              BIGINT NOT NULL,
    headers             TEXT COLLATE "C" NOT NULL,
    body                BYTEA NOT NULL,
    created_at          BIGINT NOT NULL,
    PRIMARY KEY (account_id, caller, method, path, name)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE meta (
    name                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value               BYTEA NOT NULL
);

-- Every recovery kit that was printed: a fingerprint of its key, never the key.
CREATE TABLE kits (
    account_id          TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    number              BIGINT NOT NULL,
    issued_at           BIGINT NOT NULL,
    fingerprint         TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (account_id, number)
);

-- What was said of the destruction of an account's keys.
CREATE TABLE certificates (
    account_id          TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES accounts (id),
    document            TEXT COLLATE "C" NOT NULL
);

-- One copy of a backup to a place at a time, one collection of a vault.
CREATE UNIQUE INDEX operations_upkeep ON operations (kind, account_id, backup_id, place)
    WHERE status IN ('queued', 'in_progress') AND place <> '';

-- A copy outlives its backup's row until it is deleted, too.
CREATE TABLE backup_copies (
    backup_id           TEXT COLLATE "C" NOT NULL,
    place               TEXT COLLATE "C" NOT NULL,
    account_id          TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    state               TEXT COLLATE "C" NOT NULL,
    bytes               BIGINT NOT NULL,
    completed_at        BIGINT NOT NULL,
    error               TEXT COLLATE "C" NOT NULL,
    due_at              BIGINT NOT NULL, -- by the lease clock
    PRIMARY KEY (backup_id, place)
);
CREATE INDEX backup_copies_due ON backup_copies (due_at) WHERE state <> 'complete';

CREATE TABLE vault_garbage (
    account_id          TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    place               TEXT COLLATE "C" NOT NULL,
    deletions           BIGINT NOT NULL,
    due_at              BIGINT NOT NULL, -- by the lease clock
    PRIMARY KEY (account_id, place)
);

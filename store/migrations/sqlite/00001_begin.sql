-- Times are microseconds since 1970 UTC, 0 for "none"; JSON is text. Whatever
-- is compared without regard to case is kept folded beside the original.

-- +goose Up
CREATE TABLE accounts (
    id                TEXT    NOT NULL PRIMARY KEY,
    name              TEXT    NOT NULL UNIQUE,
    created_at        BIGINT  NOT NULL,
    active            BOOLEAN NOT NULL,
    verified          BOOLEAN NOT NULL,
    card_on_file      BOOLEAN NOT NULL,
    cloud_access      BOOLEAN NOT NULL,
    unpaid_invoice    BOOLEAN NOT NULL,
    limit_cpu_cores   BIGINT  NOT NULL,
    limit_memory_gb   BIGINT  NOT NULL,
    limit_storage_gb  BIGINT  NOT NULL,
    limit_instances   BIGINT  NOT NULL,
    backup_slots      BIGINT  NOT NULL,
    wrapped_key       BLOB    NOT NULL
);

CREATE TABLE api_keys (
    id          TEXT   NOT NULL PRIMARY KEY,
    account_id  TEXT   NOT NULL REFERENCES accounts (id),
    name        TEXT   NOT NULL,
    scopes      TEXT   NOT NULL,
    hash        TEXT   NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    revoked_at  BIGINT NOT NULL
);
CREATE INDEX api_keys_account ON api_keys (account_id, created_at, id);

CREATE TABLE operator_keys (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    hash        TEXT   NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL,
    revoked_at  BIGINT NOT NULL
);

CREATE TABLE regions (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    is_default  BOOLEAN NOT NULL,
    created_at  BIGINT  NOT NULL
);
CREATE UNIQUE INDEX regions_default ON regions (is_default) WHERE is_default;

CREATE TABLE hosts (
    id                   TEXT    NOT NULL PRIMARY KEY,
    region               TEXT    NOT NULL REFERENCES regions (id),
    name                 TEXT    NOT NULL UNIQUE,
    driver               TEXT    NOT NULL,
    created_at           BIGINT  NOT NULL,
    enabled              BOOLEAN NOT NULL,
    seen_at              BIGINT  NOT NULL,
    capacity_cpu_cores   BIGINT  NOT NULL,
    capacity_memory_gb   BIGINT  NOT NULL,
    capacity_storage_gb  BIGINT  NOT NULL,
    capacity_instances   BIGINT  NOT NULL
);
CREATE INDEX hosts_region ON hosts (region);

CREATE TABLE os_images (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    os          TEXT   NOT NULL,
    disk        TEXT   NOT NULL,
    format      TEXT   NOT NULL,
    size_bytes  BIGINT NOT NULL,
    boot        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE vps (
    id             TEXT    NOT NULL PRIMARY KEY,
    account_id     TEXT    NOT NULL REFERENCES accounts (id),
    region         TEXT    NOT NULL REFERENCES regions (id),
    host_id        TEXT    NOT NULL REFERENCES hosts (id),
    name           TEXT    NOT NULL,
    name_folded    TEXT    NOT NULL,
    os             TEXT,
    service        TEXT    NOT NULL,
    power          TEXT    NOT NULL,
    desired        TEXT    NOT NULL,
    cpu_cores      BIGINT  NOT NULL,
    memory_mib     BIGINT  NOT NULL,
    storage_bytes  BIGINT  NOT NULL, -- the sum of disks, for limits
    disks          TEXT    NOT NULL,
    boot           TEXT    NOT NULL,
    mac            TEXT    NOT NULL UNIQUE,
    primary_ip     TEXT    NOT NULL,
    ports          TEXT    NOT NULL,
    amount_minor   BIGINT  NOT NULL,
    currency       TEXT    NOT NULL,
    billing_cycle  TEXT    NOT NULL,
    is_payg        BOOLEAN NOT NULL,
    generation     BIGINT  NOT NULL,
    created_at     BIGINT  NOT NULL,
    restored_from  TEXT    NOT NULL
);
CREATE INDEX vps_account ON vps (account_id, created_at, id);
CREATE INDEX vps_host ON vps (host_id);

CREATE TABLE backups (
    id                 TEXT    NOT NULL PRIMARY KEY,
    account_id         TEXT    NOT NULL REFERENCES accounts (id),
    vps_id             TEXT    NOT NULL REFERENCES vps (id),
    status             TEXT    NOT NULL,
    type               TEXT    NOT NULL,
    note               TEXT    NOT NULL,
    protected          BOOLEAN NOT NULL,
    site               TEXT    NOT NULL,
    requested_at       BIGINT  NOT NULL,
    point_at           BIGINT  NOT NULL,
    point              TEXT    NOT NULL,
    generation         BIGINT  NOT NULL,
    size_bytes         BIGINT  NOT NULL,
    changed_bytes      BIGINT  NOT NULL,
    transferred_bytes  BIGINT  NOT NULL,
    incremental        TEXT    NOT NULL,
    consistency        TEXT    NOT NULL,
    cpu_cores          BIGINT  NOT NULL,
    memory_mib         BIGINT  NOT NULL,
    disks              TEXT    NOT NULL,
    boot               TEXT    NOT NULL,
    os                 TEXT
);
CREATE INDEX backups_vps ON backups (vps_id, requested_at, id);
CREATE INDEX backups_status ON backups (status);

-- An operation names its VPS and backup without references: it outlives them.
CREATE TABLE operations (
    id             TEXT    NOT NULL PRIMARY KEY,
    kind           TEXT    NOT NULL,
    account_id     TEXT    NOT NULL REFERENCES accounts (id),
    vps_id         TEXT    NOT NULL,
    backup_id      TEXT    NOT NULL,
    host_id        TEXT    NOT NULL,
    key_id         TEXT    NOT NULL,
    lock_name      TEXT    NOT NULL,
    status         TEXT    NOT NULL,
    input          TEXT    NOT NULL,
    result         TEXT,
    failure        TEXT,
    progress       TEXT    NOT NULL,
    epoch          BIGINT  NOT NULL,
    runner         TEXT    NOT NULL,
    lease_until    BIGINT  NOT NULL, -- by the lease clock, as is not_before
    lease_ttl      BIGINT  NOT NULL, -- microseconds
    not_before     BIGINT  NOT NULL,
    attempts       BIGINT  NOT NULL,
    cancel         BOOLEAN NOT NULL,
    journal_bytes  BIGINT  NOT NULL,
    created_at     BIGINT  NOT NULL,
    started_at     BIGINT  NOT NULL,
    finished_at    BIGINT  NOT NULL
);
CREATE UNIQUE INDEX operations_lock ON operations (vps_id, lock_name)
    WHERE status IN ('queued', 'in_progress') AND lock_name <> '';
CREATE INDEX operations_claim ON operations (host_id, created_at, id)
    WHERE status IN ('queued', 'in_progress');
CREATE INDEX operations_account ON operations (account_id, created_at, id);
CREATE INDEX operations_vps ON operations (vps_id, created_at, id);
CREATE INDEX operations_backup ON operations (backup_id) WHERE backup_id <> '';

CREATE TABLE journal (
    operation_id  TEXT NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    name          TEXT NOT NULL,
    value         TEXT NOT NULL,
    PRIMARY KEY (operation_id, name)
);

CREATE TABLE idempotency (
    account_id    TEXT    NOT NULL REFERENCES accounts (id),
    caller        TEXT    NOT NULL,
    method        TEXT    NOT NULL,
    path          TEXT    NOT NULL,
    name          TEXT    NOT NULL, -- the key the caller chose
    fingerprint   TEXT    NOT NULL,
    done          BOOLEAN NOT NULL,
    owner         TEXT    NOT NULL,
    status        BIGINT  NOT NULL,
    headers       TEXT    NOT NULL,
    body          BLOB    NOT NULL,
    created_at    BIGINT  NOT NULL,
    PRIMARY KEY (account_id, caller, method, path, name)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE meta (
    name   TEXT NOT NULL PRIMARY KEY,
    value  BLOB NOT NULL
);

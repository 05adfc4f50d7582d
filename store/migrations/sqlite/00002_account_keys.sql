-- Rotation and destruction of accounts' keys. Adding columns with a constant
-- default rewrites no row, so this is done at once however large the tables are.

-- +goose Up
ALTER TABLE accounts ADD COLUMN next_wrapped_key BLOB NOT NULL DEFAULT x'';
ALTER TABLE accounts ADD COLUMN ring_epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN shredded_at BIGINT NOT NULL DEFAULT 0;

-- Every recovery kit that was printed: a fingerprint of its key, never the key.
CREATE TABLE kits (
    account_id   TEXT   NOT NULL REFERENCES accounts (id),
    number       BIGINT NOT NULL,
    issued_at    BIGINT NOT NULL,
    fingerprint  TEXT   NOT NULL,
    PRIMARY KEY (account_id, number)
);

-- What was said of the destruction of an account's keys.
CREATE TABLE certificates (
    account_id  TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
    document    TEXT NOT NULL
);

-- How many requests every caller may make yet, and when each key was used. A column
-- with a constant default rewrites no row. The limits need not outlive the server:
-- unlogged, nobody waits for a disk because of them.

-- +goose Up
ALTER TABLE api_keys ADD COLUMN last_used_at BIGINT NOT NULL DEFAULT 0;

CREATE UNLOGGED TABLE rate_limits (
    caller    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    whole_at  BIGINT NOT NULL -- by the lease clock
);
CREATE INDEX rate_limits_whole ON rate_limits (whole_at);

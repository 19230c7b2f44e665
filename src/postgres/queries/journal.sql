-- The journal: made when it is missing, never changed when it is there.
CREATE SCHEMA IF NOT EXISTS candlefish;
CREATE TABLE IF NOT EXISTS candlefish.run (
    run_id text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    source text NOT NULL,
    target_schema text NOT NULL,
    status text NOT NULL,
    settings text NOT NULL,
    version text NOT NULL
);
CREATE TABLE IF NOT EXISTS candlefish.run_table (
    run_id text NOT NULL REFERENCES candlefish.run ON DELETE CASCADE,
    position int NOT NULL,
    source text NOT NULL,
    target_schema text NOT NULL,
    target text NOT NULL,
    created boolean NOT NULL,
    map text NOT NULL,
    rows_written bigint,
    rows_rejected bigint,
    PRIMARY KEY (run_id, source)
);
CREATE TABLE IF NOT EXISTS candlefish.chunk (
    run_id text NOT NULL,
    source text NOT NULL,
    chunk int NOT NULL,
    rows_written bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    landed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, source, chunk)
);
CREATE TABLE IF NOT EXISTS candlefish.kept_definition (
    run_id text NOT NULL,
    target_schema text NOT NULL,
    target text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    definition text NOT NULL,
    valid boolean NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    rebuilt_at timestamptz,
    PRIMARY KEY (run_id, target_schema, target, kind, name)
);

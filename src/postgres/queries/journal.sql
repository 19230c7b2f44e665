-- The journal: made when it is missing; of an older one only what it lacks is added.
-- CREATE … IF NOT EXISTS asks for the right to create even where there is nothing to create.
DO $$
BEGIN
    IF to_regnamespace('candlefish') IS NULL THEN
        CREATE SCHEMA candlefish;
    END IF;
END
$$;
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
    made_oid oid,
    PRIMARY KEY (run_id, source)
);
CREATE TABLE IF NOT EXISTS candlefish.chunk (
    run_id text NOT NULL,
    source text NOT NULL,
    chunk int NOT NULL,
    rows_written bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    landed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, source, chunk)
);
-- The whole plan of a run, so that the part after an interruption does what the part before it began; and its answer, once it has one.
CREATE TABLE IF NOT EXISTS candlefish.plan (
    run_id text PRIMARY KEY REFERENCES candlefish.run ON DELETE CASCADE,
    plan text NOT NULL,
    report text
);
-- What a run has made besides rows, each in the transaction that made it.
CREATE TABLE IF NOT EXISTS candlefish.step (
    run_id text NOT NULL REFERENCES candlefish.run ON DELETE CASCADE,
    step text NOT NULL,
    said text NOT NULL,
    done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, step)
);
-- Where a run is, told every two seconds by the process that carries it out.
CREATE TABLE IF NOT EXISTS candlefish.heartbeat (
    run_id text PRIMARY KEY REFERENCES candlefish.run ON DELETE CASCADE,
    process text NOT NULL,
    phase text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at timestamptz NOT NULL DEFAULT clock_timestamp()
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
    comment text,
    switched text[],
    PRIMARY KEY (run_id, target_schema, target, kind, name)
);
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = 'candlefish.chunk'::regclass AND attname = 'bytes') THEN
        ALTER TABLE candlefish.chunk ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = 'candlefish.run_table'::regclass AND attname = 'made_oid') THEN
        ALTER TABLE candlefish.run_table ADD COLUMN made_oid oid;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = 'candlefish.kept_definition'::regclass AND attname = 'comment') THEN
        ALTER TABLE candlefish.kept_definition ADD COLUMN comment text;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = 'candlefish.kept_definition'::regclass AND attname = 'switched') THEN
        ALTER TABLE candlefish.kept_definition ADD COLUMN switched text[];
    END IF;
END
$$;

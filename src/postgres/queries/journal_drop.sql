-- The journal goes with its last run; the schema too, unless something else is in it.
DROP TABLE candlefish.heartbeat, candlefish.step, candlefish.plan, candlefish.chunk, candlefish.kept_definition, candlefish.run_table, candlefish.run;
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = 'candlefish'::regnamespace) THEN
        DROP SCHEMA candlefish;
    END IF;
END
$$;

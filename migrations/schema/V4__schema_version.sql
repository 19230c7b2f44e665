-- The registry's own version table, which the application reads at start. What candlefish has applied is in schema candlefish.
CREATE TABLE schema_version (
    version    integer PRIMARY KEY,
    applied_at timestamptz DEFAULT now()
);

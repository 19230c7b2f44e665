-- Time ranges over all services. Rows arrive in the order of time, so BRIN needs some kilobytes where a B-tree needs a hundred megabytes.
CREATE INDEX health_metrics_created_at_idx ON health_metrics USING brin (created_at) WITH (autosummarize = on);
CREATE INDEX logs_created_at_idx ON logs USING brin (created_at) WITH (autosummarize = on);

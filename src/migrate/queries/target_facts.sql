-- What kind of server the target is: a standby, read-only sessions, its encoding.
SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), current_setting('server_encoding')

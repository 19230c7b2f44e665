-- The size of this database, for which the server looks at each of its files. No parameters.
SELECT pg_database_size(current_database()) AS bytes

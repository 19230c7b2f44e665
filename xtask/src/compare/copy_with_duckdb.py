"""DuckDB's bare copy: every table of a SQLite file into PostgreSQL; no keys, no indexes. Arguments: FILE.db URL"""
import importlib, pathlib, sys
import duckdb

db = duckdb.connect()
for name in ("sqlite_scanner", "postgres_scanner"):
    package = pathlib.Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
    (extension,) = package.glob("extensions/*/*.duckdb_extension")
    db.execute(f"LOAD '{extension}'")
db.execute(f"ATTACH '{sys.argv[1]}' AS source (TYPE sqlite, READ_ONLY)")
db.execute(f"ATTACH '{sys.argv[2]}' AS target (TYPE postgres)")
tables = db.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'source' AND table_name NOT LIKE 'sqlite_%'")
for (table,) in tables.fetchall():
    db.execute(f'CREATE TABLE target.public."{table}" AS SELECT * FROM source."{table}"')

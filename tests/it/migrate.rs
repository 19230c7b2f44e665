//! `candlefish migrate`, whole: the registry, files of every shape, tables that were there before, and what each flag promises.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::support::{Case, Database, Output, fixture};

/// A table of SQLite as psql would show it: `a|b`, NULL as nothing, in the order that `sql` gives.
fn sqlite_rows(file: &Path, sql: &str) -> Vec<String> {
    let source = Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut statement = source.prepare(sql).unwrap();
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>, column| match row.get_ref_unwrap(column) {
        ValueRef::Null => String::new(),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => real.to_string(),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
        ValueRef::Blob(_) => panic!("no blobs here"),
    };
    let rows = statement.query_map([], |row| Ok((0..columns).map(|column| text(row, column)).collect::<Vec<_>>().join("|"))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Columns, keys, indexes and defaults of the tables of `public`: what a schema is.
const SCHEMA: &str = "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || is_identity || coalesce(' ' || column_default, '')
      FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1";

/// Names and contents of a folder's files.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let mut files: Vec<_> =
        entries.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

fn counts_agree(database: &Database, source: &Path) {
    for table in sqlite_rows(source, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'") {
        let count = format!("SELECT count(*) FROM \"{table}\"");
        assert_eq!(database.rows(&count), sqlite_rows(source, &count), "rows of {table}");
    }
}

#[test]
fn the_registry_arrives_in_its_own_schema() {
    for version in ["registry-v1", "registry-v2"] {
        let database = Database::fresh();
        let case = Case::new(version).source(version).database(&database);
        let output = case.run("migrate {source} --to {url}").exit(0).stderr_has("mapping: registry (");
        assert!(!output.stdout.contains("LOSS"), "{output}");
        let source = case.source_path();
        counts_agree(&database, source);
        // Users carry their old id inside the new one; those who refer to them agree.
        assert_eq!(database.value("SELECT count(*) FROM users WHERE id <> legacy_uuid('users', legacy_id)"), "0");
        assert_eq!(database.value("SELECT pg_typeof(id) FROM users LIMIT 1"), "uuid");
        for sql in [
            "SELECT legacy_id, username, email, password_hash, role, api_key FROM users ORDER BY 1",
            "SELECT id, name, port, group_name, status, health_check_url, container_id, description FROM services ORDER BY 1",
        ] {
            let of_sqlite =
                sql.replace("legacy_id", "id").replace(", description", if version == "registry-v1" { ", NULL" } else { ", description" });
            assert_eq!(database.rows(sql), sqlite_rows(source, &of_sqlite), "{version}");
        }
        let instants = "SELECT id, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') FROM services ORDER BY 1";
        let of_sqlite = "SELECT id, strftime('%Y-%m-%d %H:%M:%f', started_at) FROM services ORDER BY 1";
        assert_eq!(database.rows(instants), sqlite_rows(source, of_sqlite), "{version}: times");
        // Deleted services have used up their ids.
        assert_eq!(database.value("INSERT INTO services(name, port) VALUES ('next', 1) RETURNING id"), "39");
        // A new user has an id that is a UUID, and no old one.
        assert_eq!(
            database.value("INSERT INTO users(username, email, password_hash) VALUES ('next', 'n@x', 'x') RETURNING legacy_id IS NULL"),
            "t"
        );
        assert!(database.try_execute("INSERT INTO users(username, email, password_hash) VALUES ('patrick', 'other@x', 'x')").is_err());
        assert!(database.try_execute("INSERT INTO services(name) VALUES ('no port')").is_err());
    }
    let database = Database::fresh();
    let case = Case::new("sessions").source("registry-v2").database(&database);
    case.run("migrate {source} --to {url} --mapping registry").exit(0);
    let joined = "SELECT s.id, u.username FROM sessions s JOIN users u ON u.id = s.user_id ORDER BY s.id COLLATE \"C\"";
    assert_eq!(database.rows(joined), sqlite_rows(case.source_path(), &joined.replace(" COLLATE \"C\"", "")));
    assert!(
        database.try_execute("INSERT INTO sessions(id, user_id, token_hash) VALUES ('s', gen_random_uuid(), 't')").is_err(),
        "the key holds"
    );
}

#[test]
fn the_registry_as_it_is() {
    for version in ["registry-v1", "registry-v2"] {
        let database = Database::fresh();
        let case = Case::new(version).source(version).database(&database);
        let report = case.run("migrate {source} --to {url} --mapping derive --json").exit(0).json();
        assert_eq!(report["mapping"], "derive");
        let source = case.source_path();
        counts_agree(&database, source);
        let services = "SELECT id, name, port, group_name, status, container_id, health_check_url FROM services ORDER BY id";
        assert_eq!(database.rows(services), sqlite_rows(source, services));
        assert_eq!(database.value("INSERT INTO services(name, port) VALUES ('next', 1) RETURNING id"), "39");
        assert_eq!(database.value("INSERT INTO users(username, email, password_hash) VALUES ('next', 'n@x', 'x') RETURNING id"), "21");
        for index in sqlite_rows(source, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL") {
            assert_eq!(database.value(&format!("SELECT count(*) FROM pg_indexes WHERE indexname = '{index}'")), "1", "{index}");
        }
        let not_null = "SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND (c.\"notnull\" OR c.pk) ORDER BY 1";
        let in_postgres =
            "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public' AND is_nullable = 'NO'
             ORDER BY (table_name || '.' || column_name) COLLATE \"C\"";
        assert_eq!(database.rows(in_postgres), sqlite_rows(source, not_null));
        // Rows of services that were deleted keep their key from being valid, and are named.
        let key = "SELECT convalidated FROM pg_constraint WHERE conrelid = 'logs'::regclass AND contype = 'f'";
        assert_eq!(database.value(key), "f");
        assert!(report["warnings"].to_string().contains("foreign_key_not_valid"));
    }
}

/// The registry's migrations are its schema in another form, and know nothing of what somebody has made beside it.
#[test]
fn what_was_added_to_a_registry_is_said() {
    let lacking = |output: &Output| -> Vec<String> {
        let report = output.json();
        let all = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "object_not_in_target");
        let mut said: Vec<String> = all.map(|warning| format!("{} {}", warning["object"].as_str().unwrap(), warning["message"])).collect();
        said.sort();
        said.iter().map(|said| said.split(" in the target's").next().unwrap().replace('"', "")).collect()
    };
    for version in ["registry-v1", "registry-v2"] {
        let sql = fs::read_to_string(fixture(version).join("source.sql")).unwrap();
        let added = "
            CREATE UNIQUE INDEX mine ON services(container_id, id); CREATE INDEX logs_level ON logs(level);
            ALTER TABLE services ADD COLUMN cost INT NOT NULL DEFAULT 3 CHECK (cost > 0);
            CREATE TABLE extra(id INTEGER PRIMARY KEY, s INT REFERENCES services(id), q INT CHECK (q < 9)); CREATE INDEX extra_q ON extra(q);
            CREATE VIEW costs AS SELECT id, cost FROM services;";
        for (added, expected) in [
            ("", vec![]),
            (
                added,
                vec![
                    "logs.logs_level has no index",
                    "services.check has no check",
                    "services.cost has no default",
                    "services.cost has no not null",
                    "services.mine has no unique",
                ],
            ),
        ] {
            let database = Database::fresh();
            let case = Case::new(version).source_sql(&format!("{sql}{added}")).database(&database);
            let code = i32::from(!added.is_empty());
            let planned = case.run("migrate {source} --to {url} --mapping registry --dry-run --json").exit(code);
            let run = case.run("migrate {source} --to {url} --mapping registry --json").exit(code);
            let numberless = |said: Vec<String>| -> Vec<String> {
                said.iter().map(|said| said.replace("check 1", "check").replace("check 2", "check")).collect()
            };
            assert_eq!(numberless(lacking(&planned)), expected, "{planned}");
            assert_eq!(numberless(lacking(&run)), expected, "{run}");
            if !added.is_empty() {
                assert_eq!(database.value("SELECT count(*) FROM costs WHERE cost = 3"), database.value("SELECT count(*) FROM services"));
            }
        }
    }
}

#[test]
fn a_second_run_is_refused_emptied_or_replaced() {
    for mapping in ["registry", "derive"] {
        let database = Database::fresh();
        let case = Case::new(mapping).source("registry-v2").database(&database);
        let line = format!("migrate {{source}} --to {{url}} --mapping {mapping}");
        case.run(&line).exit(0);
        let (schema, users) = (database.rows(SCHEMA), database.rows("SELECT * FROM users ORDER BY username"));
        let error = case.run(&format!("{line} --json")).exit(2).json();
        assert_eq!(error["error"]["code"], "target_not_empty", "{mapping}");
        assert_eq!(error["error"]["target_changed"], false);
        let agains: &[&str] = if mapping == "registry" { &["--existing truncate"] } else { &["--existing truncate", "--replace --yes"] };
        for again in agains {
            database.execute("DELETE FROM logs; UPDATE users SET email = 'changed ' || email");
            case.run(&format!("{line} {again}")).exit(0);
            assert_eq!(database.rows("SELECT * FROM users ORDER BY username"), users, "{mapping} {again}");
            assert_eq!(database.rows(SCHEMA), schema, "{mapping} {again}: nothing doubled, nothing missing");
            counts_agree(&database, case.source_path());
        }
    }
}

#[test]
fn the_registry_is_replaced_too() {
    let database = Database::fresh();
    let case = Case::new("replace the registry").source("registry-v2").database(&database);
    case.run("migrate {source} --to {url} --mapping registry").exit(0);
    let schema = database.rows(SCHEMA);
    case.run("migrate {source} --to {url} --mapping registry --replace --yes").exit(0);
    assert_eq!(database.rows(SCHEMA), schema);
    counts_agree(&database, case.source_path());
}

#[test]
fn replace_takes_nothing_that_candlefish_did_not_make() {
    let database = Database::fresh();
    let case = Case::new("replace").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1);").database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    database.execute("CREATE TABLE mine(id bigint REFERENCES t(id)); INSERT INTO mine VALUES (1)");
    // Never CASCADE: what hangs on the table is somebody's.
    let error = case.run("migrate {source} --to {url} --replace --yes --json").exit(2).json();
    assert!(error["error"]["message"].as_str().unwrap().contains("mine"), "{error}");
    assert!(error["error"]["hint"].as_str().unwrap().contains("never cascades"), "{error}");
    assert!(!error.to_string().contains("CASCADE"), "{error}");
    assert_eq!(error["error"]["target_changed"], false, "{error}");
    assert_eq!(database.rows("SELECT * FROM t JOIN mine USING (id)"), ["1"]);
    database.execute("DROP TABLE mine; CREATE VIEW ours AS SELECT 1 AS one");
    case.run("migrate {source} --to {url} --replace --yes").exit(0);
    assert_eq!(database.rows("SELECT * FROM ours"), ["1"]);
}

#[test]
fn replace_knows_its_tables_by_more_than_their_names() {
    let database = Database::fresh();
    let case = Case::new("replace-other")
        .source_sql("CREATE TABLE users(id INTEGER PRIMARY KEY); INSERT INTO users VALUES (1), (2);")
        .database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    // A table of ours that the application has gone on with: what goes with it is said before anyone agrees.
    database.execute("INSERT INTO users VALUES (3)");
    let said = "--replace drops \"public\".\"users\" (3 rows; the run that made it brought 2)";
    case.run("migrate {source} --to {url} --replace").exit(2).stderr_has(said);
    case.run("migrate {source} --to {url} --replace --yes").exit(0).stderr_has(said);
    assert_eq!(database.value("SELECT count(*) FROM users"), "2");
    // The application's own table of the same name, and the table that another file has brought, are not ours.
    database.execute(
        "DROP TABLE users; CREATE TABLE users(id uuid PRIMARY KEY, live text); INSERT INTO users VALUES (gen_random_uuid(), 'mine')",
    );
    case.run("migrate {source} --to {url} --replace --yes")
        .exit(2)
        .stderr_has("--replace leaves it alone: it is not the table that an earlier run made");
    assert_eq!(database.rows("SELECT live FROM users"), ["mine"]);
    database.execute("DROP TABLE users");
    case.run("migrate {source} --to {url}").exit(0);
    let other = Case::new("replace-of-another")
        .source_sql("CREATE TABLE users(id INTEGER PRIMARY KEY); INSERT INTO users VALUES (9);")
        .database(&database);
    other.run("migrate {source} --to {url} --replace --yes").exit(2).stderr_has("--replace leaves it alone: it was made from /");
    assert_eq!(database.rows("SELECT id FROM users ORDER BY 1"), ["1", "2"]);
}

#[test]
fn the_source_and_its_folder_are_as_they_were() {
    let rows = "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES(1,'a'),(2,'b');";
    for (name, mode) in [("journal", "DELETE"), ("wal", "WAL")] {
        let database = Database::fresh();
        let case = Case::new(name).source_sql(&format!("PRAGMA journal_mode = {mode}; {rows}")).database(&database);
        let before = contents(case.dir());
        case.run("migrate {source} --to {url}").exit(0);
        assert_eq!(contents(case.dir()), before, "{name}");
        assert_eq!(before.len(), 1, "no -wal or -shm is left");
    }
    // A writer is there, and has not brought its log into the file.
    let database = Database::fresh();
    let case = Case::new("live").source_sql(&format!("PRAGMA journal_mode = WAL; {rows}")).database(&database);
    let writer = Connection::open(case.source_path()).unwrap();
    writer.execute_batch("PRAGMA wal_autocheckpoint = 0; INSERT INTO t VALUES(3,'only in the log');").unwrap();
    let before: Vec<_> = contents(case.dir()).into_iter().filter(|(name, _)| !name.ends_with("-shm")).collect();
    assert_eq!(before.len(), 2);
    case.run("migrate {source} --to {url}").exit(0);
    let after: Vec<_> = contents(case.dir()).into_iter().filter(|(name, _)| !name.ends_with("-shm")).collect();
    assert_eq!(after, before);
    assert_eq!(database.rows("SELECT * FROM t ORDER BY id"), ["1|a", "2|b", "3|only in the log"]);
    drop(writer);

    // The writer died: its log is all there is of the last row.
    let database = Database::fresh();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("dead.db");
    let writer = Connection::open(&copy).unwrap();
    writer.execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; {rows}")).unwrap();
    let dead = tempfile::tempdir().unwrap();
    for name in ["dead.db", "dead.db-wal"] {
        fs::copy(folder.path().join(name), dead.path().join(name)).unwrap();
    }
    drop(writer);
    let before = contents(dead.path());
    let case = Case::new("dead").source_file(dead.path().join("dead.db")).database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    assert_eq!(database.value("SELECT count(*) FROM t"), "2");
    let after: Vec<_> = contents(dead.path()).into_iter().filter(|(name, _)| !name.ends_with("-shm")).collect();
    assert_eq!(after, before, "the log is kept");
}

#[test]
fn tables_without_rowid_keep_their_keys() {
    let database = Database::fresh();
    let sql = "CREATE TABLE t(b TEXT, a INTEGER, v, PRIMARY KEY(b DESC, a)) WITHOUT ROWID; INSERT INTO t VALUES('x',2,'v'),('x',1,NULL),('a',9,'w');
        CREATE TABLE i(id INTEGER PRIMARY KEY, v TEXT) WITHOUT ROWID; INSERT INTO i VALUES(7,'x');
        CREATE TABLE s(id INTEGER PRIMARY KEY, n INT NOT NULL, a ANY) STRICT; INSERT INTO s VALUES(1,2,'x'),(2,3,4);";
    let case = Case::new("without rowid").source_sql(sql).database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    assert_eq!(database.rows("SELECT * FROM t ORDER BY b, a"), ["a|9|w", "x|1|", "x|2|v"]);
    assert_eq!(
        database.rows("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'p'"),
        ["PRIMARY KEY (b, a)"]
    );
    // No rowid, no next id: SQLite asks for one there, and so does PostgreSQL.
    assert!(database.try_execute("INSERT INTO i(v) VALUES ('y')").is_err());
    assert_eq!(database.rows("SELECT * FROM s ORDER BY id"), ["1|2|x", "2|3|4"]);
}

#[test]
fn a_schema_that_was_there_is_obeyed() {
    let database = Database::fresh();
    database.execute(
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE mood AS ENUM ('ok', 'sad');
         CREATE TABLE parents(id int PRIMARY KEY, name varchar(5));
         CREATE TABLE things(id serial PRIMARY KEY, \"parentId\" int NOT NULL REFERENCES parents(id) ON DELETE CASCADE, n positive, m mood, price numeric(6,2),
           twice int GENERATED ALWAYS AS (n * 2) STORED, addr inet, tags int[], on_off boolean, at timestamptz, note varchar(10) DEFAULT 'none', touched text);
         CREATE INDEX things_m ON things (m); CREATE UNIQUE INDEX things_addr ON things (addr) WHERE addr IS NOT NULL;
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.touched := ''fired''; RETURN NEW; END';
         CREATE TRIGGER touch BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION touch()",
    );
    let schema = database.rows(SCHEMA);
    let sql = "CREATE TABLE things(id INTEGER PRIMARY KEY AUTOINCREMENT, parentId INTEGER REFERENCES parents(id), n INTEGER, m TEXT, price REAL, addr TEXT, tags TEXT, on_off INTEGER, at TEXT);
        CREATE TABLE parents(id INTEGER PRIMARY KEY, name TEXT);
        INSERT INTO parents VALUES(1,'one'),(2,'two');
        INSERT INTO things VALUES(4,1,5,'ok',12.5,'10.0.0.1','{1,2,NULL}',1,'2024-01-02T03:04:05+02:00'),(9,2,6,'sad',0.01,NULL,'{}',0,'2024-01-02 03:04:05'),(7,2,NULL,NULL,NULL,'::1',NULL,NULL,NULL);";
    let case = Case::new("given").source_sql(sql).database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    assert_eq!(
        database.rows(
            "SELECT id, \"parentId\", n, m, price, twice, addr, tags, on_off, at AT TIME ZONE 'UTC', note, touched FROM things ORDER BY id"
        ),
        [
            "4|1|5|ok|12.50|10|10.0.0.1|{1,2,NULL}|t|2024-01-02 01:04:05|none|",
            "7|2|||||::1||||none|",
            "9|2|6|sad|0.01|12||{}|f|2024-01-02 03:04:05|none|"
        ]
    );
    assert_eq!(database.rows(SCHEMA), schema, "indexes and keys are back as they were");
    assert_eq!(
        database.value("SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'things'::regclass"),
        "t"
    );
    assert_eq!(database.rows("INSERT INTO things(\"parentId\") VALUES (1) RETURNING id, touched"), ["10|fired"]);
}

#[test]
fn rows_that_postgresql_refuses_are_set_aside_one_by_one() {
    let database = Database::fresh();
    database.execute(
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE mood AS ENUM ('ok', 'sad');
         CREATE TABLE t(id int PRIMARY KEY, n int CHECK (n <> 13), p positive, m mood, v varchar(3), q numeric(4,1), a inet, code text NOT NULL UNIQUE)",
    );
    let good = "INSERT INTO t SELECT i, 1, 1, 'ok', 'abc', 1.5, '10.0.0.1', 'c' || i FROM n;";
    let bad = "UPDATE t SET n = 13 WHERE id = 500; UPDATE t SET p = 0 WHERE id = 501; UPDATE t SET m = 'mad' WHERE id = 502; UPDATE t SET v = 'four' WHERE id = 1;
        UPDATE t SET q = 12345.6 WHERE id = 2000; UPDATE t SET a = 'nowhere' WHERE id = 999; UPDATE t SET code = NULL WHERE id = 1000; UPDATE t SET code = 'c3' WHERE id = 1001; UPDATE t SET n = 'words' WHERE id = 1500;";
    let sql = format!(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, p INTEGER, m TEXT, v TEXT, q REAL, a TEXT, code TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 2000) {good} {bad}"
    );
    let case = Case::new("refused rows").source_sql(&sql).database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(1).json();
    assert_eq!((&report["rows_read"], &report["rows_written"], &report["rows_rejected"]), (&2000.into(), &1991.into(), &9.into()));
    assert_eq!(database.value("SELECT count(*) FROM t"), "1991");
    let folder = case.dir().join(report["rejects_dir"].as_str().unwrap());
    let text = fs::read_to_string(folder.join("t.jsonl")).unwrap();
    let mut rejects: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rejects.sort_by_key(|reject| reject["key"]["id"].as_i64());
    let told: Vec<_> =
        rejects.iter().map(|reject| (reject["key"]["id"].as_i64().unwrap(), reject["column"].as_str().unwrap_or("-"))).collect();
    let (ids, columns): (Vec<_>, Vec<_>) = told.iter().copied().unzip();
    assert_eq!(ids, [1, 500, 501, 502, 999, 1000, 1001, 1500, 2000]);
    assert_eq!(columns, ["v", "-", "p", "m", "a", "code", "-", "n", "q"], "{text}");
    assert_eq!(rejects[1]["sqlstate"], "23514");
    assert_eq!(rejects[6]["sqlstate"], "23505");
    assert!(rejects.iter().all(|reject| reject["row"]["id"]["value"] == reject["key"]["id"] && reject["reason"].is_string()));
    // No more than agreed.
    let error = case.run("migrate {source} --to {url} --existing truncate --max-rejects 3 --json").exit(2).json();
    assert_eq!(error["error"]["code"], "too_many_rejects");
    assert_eq!(error["error"]["target_changed"], false, "{error}");
    let error = case.run("migrate {source} --to {url} --existing truncate --on-misfit fail --json").exit(2).json();
    assert_eq!((&error["error"]["code"], &error["error"]["target_changed"]), (&"misfit".into(), &false.into()), "{error}");
    // What can be known before has stopped them before they touched anything.
    assert_eq!(database.value("SELECT count(*) FROM t"), "1991");
    assert_eq!(case.run("runs --to {url} --json").exit(0).json()["runs"].as_array().map(Vec::len), Some(1));
    case.run("migrate {source} --to {url} --existing truncate").exit(1);
    assert!(database.try_execute("INSERT INTO t(id, code) VALUES (5000, 'c3')").is_err(), "UNIQUE holds");
}

#[test]
fn include_exclude_and_exclude_data() {
    let sql = "CREATE TABLE users(id INTEGER PRIMARY KEY); INSERT INTO users VALUES(1); CREATE TABLE user_notes(id INTEGER PRIMARY KEY, uid INTEGER REFERENCES users(id)); INSERT INTO user_notes VALUES(1,1);
        CREATE TABLE logs(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO logs VALUES(5,'x'); CREATE VIEW v AS SELECT s FROM logs;";
    let tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1";
    let database = Database::fresh();
    let case = Case::new("globs").source_sql(sql).database(&database);
    case.run("migrate {source} --to {url} --include user* --allow views").exit(0);
    assert_eq!(database.rows(tables), ["user_notes", "users"]);
    let database = Database::fresh();
    let case = case.database(&database);
    case.run("migrate {source} --to {url} --exclude user_* --exclude-data l?gs").exit(0);
    assert_eq!(database.rows(tables), ["logs", "users"]);
    assert_eq!(database.rows("SELECT count(*) FROM logs"), ["0"]);
    assert_eq!(database.rows("INSERT INTO logs(s) VALUES ('next') RETURNING id"), ["6"], "ids go on");
    // The parent is left out: the key cannot be, and that is said.
    let database = Database::fresh();
    let case = case.database(&database);
    let report = case.run("migrate {source} --to {url} --exclude users --json").exit(1).json();
    assert_eq!(report["warnings"][0]["code"], "foreign_key_missing", "{}", report["warnings"]);
}

#[test]
fn names_in_another_style() {
    let sql = "CREATE TABLE UserAccount(UserID INTEGER PRIMARY KEY, \"First Name\" TEXT, userName TEXT, user_name TEXT); INSERT INTO UserAccount VALUES(1,'Ada','a','b');
        CREATE TABLE HTTPLog(id INTEGER PRIMARY KEY, userId INTEGER REFERENCES UserAccount(UserID)); INSERT INTO HTTPLog VALUES(1,1); CREATE INDEX ByUser ON HTTPLog(userId);
        CREATE VIEW AllUsers AS SELECT UserID, userName FROM UserAccount;";
    let database = Database::fresh();
    let case = Case::new("snake").source_sql(sql).database(&database);
    let report = case.run("migrate {source} --to {url} --names snake --json").exit(0).json();
    assert_eq!(database.rows("SELECT user_id, first_name, user_name, user_name_2 FROM user_account"), ["1|Ada|a|b"]);
    assert_eq!(database.rows("SELECT user_id FROM http_log"), ["1"]);
    assert_eq!(database.rows("SELECT * FROM all_users"), ["1|a"]);
    assert_eq!(database.rows("SELECT indexname FROM pg_indexes WHERE tablename = 'http_log' ORDER BY 1"), ["by_user", "http_log_pkey"]);
    assert!(report["warnings"].to_string().contains("column_renamed"), "the collision is reported");
    let database = Database::fresh();
    let case = case.database(&database);
    case.run("migrate {source} --to {url} --names lower").exit(0);
    assert_eq!(database.rows("SELECT userid, \"first name\" FROM useraccount"), ["1|Ada"]);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_a_real_run_makes() {
    let everything = "SELECT n.nspname || ' ' || count(c.oid) FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid WHERE n.nspname !~ '^pg_(temp|toast_temp)' GROUP BY n.nspname ORDER BY 1";
    for source in ["registry-v2", "failure-modes"] {
        let (planned, made) = (Database::fresh(), Database::fresh());
        let before = planned.rows(everything);
        let case = match source {
            "failure-modes" => Case::new(source).source_sql(&format!("PRAGMA foreign_keys = OFF; {}", include_str!("failure-modes.sql"))),
            registry => Case::new(registry).source(registry),
        };
        let case = case.database(&planned);
        let before_source = fs::read(case.source_path()).unwrap();
        let line = "migrate {source} --to {url} --mapping derive";
        let plan = case.run(&format!("{line} --dry-run"));
        assert_eq!(planned.rows(everything), before);
        assert_eq!(fs::read(case.source_path()).unwrap(), before_source);
        assert!(fs::read_dir(case.dir()).unwrap().count() == 1, "no folder of rejects");
        // The plan's statements make what the run makes. Orphans keep a key from being valid, so here no key is.
        let is_sql = |line: &&str| !["LOSS", "weaker", "note"].iter().any(|word| line.starts_with(word));
        let script: Vec<&str> = plan.stdout.lines().take_while(is_sql).filter(|line| !line.contains("VALIDATE CONSTRAINT")).collect();
        planned.execute(&script.join("\n"));
        let case = case.database(&made);
        let run = case.run(line);
        assert_eq!(run.code, plan.code, "{run}");
        let valid =
            |database: &Database| -> Vec<String> { database.rows(SCHEMA).iter().map(|line| line.replace(" NOT VALID", "")).collect() };
        let (of_plan, of_run) = (valid(&planned), valid(&made));
        let only = |these: &[String], those: &[String]| these.iter().filter(|line| !those.contains(line)).cloned().collect::<Vec<_>>();
        assert_eq!(only(&of_plan, &of_run), only(&of_run, &of_plan), "{source}: planned, and made");
        assert_eq!(of_plan.len(), of_run.len());
    }
    let database = Database::fresh();
    let case = Case::new("registry").source("registry-v2").database(&database);
    case.run("migrate {source} --to {url} --dry-run").exit(0);
    assert_eq!(database.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0");
}

#[test]
fn two_runs_do_not_meet_in_one_schema() {
    let database = Database::fresh();
    let case = Case::new("two at once").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);").database(&database);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let holder = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("SELECT pg_advisory_lock(hashtext('candlefish migrate'), hashtext('public'))").await.unwrap();
        client
    });
    case.run("migrate {source} {url}").exit(2).stderr_has("another candlefish is migrating into schema \"public\"");
    case.run("migrate {source} {url} --dry-run").exit(0);
    drop(holder);
    drop(runtime);
    case.run("migrate {source} {url}").exit(0);
}

#[test]
fn replace_leaves_what_other_sources_have_brought() {
    let database = Database::fresh();
    let first = Case::new("first")
        .source_sql("CREATE TABLE t1(x); INSERT INTO t1 VALUES (1); CREATE VIEW v1 AS SELECT x FROM t1;")
        .database(&database);
    let second = Case::new("second").source_sql("CREATE TABLE t2(x); INSERT INTO t2 VALUES (1);").database(&database);
    first.run("migrate {source} {url}").exit(0);
    second.run("migrate {source} {url}").exit(0);
    second.run("migrate {source} {url} --replace --yes").exit(0);
    assert_eq!(database.rows("SELECT v1.x, t2.x FROM v1, t2"), ["1|1"]);
    second.run("migrate {source} {url} --replace --yes --include t2").exit(2);
}

#[test]
fn an_interrupted_run_is_not_filled_up_as_if_it_were_whole() {
    let database = Database::fresh();
    let case = Case::new("interrupted").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);").database(&database);
    case.run("migrate {source} {url}").exit(0);
    database.execute("UPDATE candlefish.run SET status = 'running'; ALTER TABLE t DROP CONSTRAINT t_pkey");
    case.run("migrate {source} {url} --existing truncate")
        .exit(2)
        .stderr_has("was interrupted, and its tables lack their keys and indexes");
    case.run("migrate {source} {url} --replace --yes").exit(0);
    assert_eq!(database.value("SELECT count(*) FROM pg_constraint WHERE conname = 't_pkey'"), "1");
}

#[test]
fn a_generated_column_over_another_is_plain_and_said() {
    let database = Database::fresh();
    let sql = "CREATE TABLE g(id INTEGER PRIMARY KEY, a INT, c INT AS (a*2), j AS (c+1), abc AS (abs(a))); INSERT INTO g(a) VALUES (1);";
    let case = Case::new("generated twice").source_sql(sql).database(&database);
    case.run("migrate {source} {url}").exit(1).stdout_has("it reads the generated column \"c\"");
    database.execute("INSERT INTO g(a) VALUES (-7)");
    assert_eq!(database.rows("SELECT a, c, j, abc FROM g ORDER BY id"), ["1|2|3|1", "-7|-14||7"]);
}

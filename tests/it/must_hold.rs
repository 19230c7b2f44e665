//! Files that every tool meets once and many do not survive: encodings, names, sizes, read-only folders, a log that is not checkpointed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::failure_modes::EVERYTHING;
use crate::support::{Case, Database, copy_binary, long};

/// Texts of every plane, and one that only UTF-16 can hold wrongly: half of a pair.
const UTF16: &str = "CREATE TABLE \"naïve 表\"(id INTEGER PRIMARY KEY, \"Größe\" TEXT DEFAULT 'süß', \"😀\" TEXT, b BLOB);
    INSERT INTO \"naïve 表\" VALUES (1, 'Ærøskøbing', '表ポあA鷗ŒéＢ逍Üßªąñ丂㐀𠀀', x'00ff'), (2, '', '👩‍👩‍👧', NULL), (3, NULL, 'plain', x'');
    CREATE INDEX \"größen\" ON \"naïve 表\"(\"Größe\"); CREATE VIEW v AS SELECT \"Größe\" FROM \"naïve 表\" WHERE \"😀\" > 'a';";

fn utf16(encoding: &str) {
    let database = Database::fresh();
    let case = Case::new(encoding).source_sql(&format!("PRAGMA encoding = '{encoding}'; {UTF16}")).database(&database);
    let kept: String = Connection::open(case.source_path()).unwrap().query_row("PRAGMA encoding", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, encoding);
    case.run("migrate {source} {url} --json").exit(0);
    assert_eq!(
        database.rows("SELECT id, \"Größe\", \"😀\", encode(b, 'hex') FROM \"naïve 表\" ORDER BY id"),
        ["1|Ærøskøbing|表ポあA鷗ŒéＢ逍Üßªąñ丂㐀𠀀|00ff", "2||👩‍👩‍👧|", "3||plain|"]
    );
    assert_eq!(database.rows("SELECT * FROM v"), ["Ærøskøbing", "", ""]);
    assert_eq!(case.run("verify {source} {url} --schema-objects --json").exit(0).json()["outcome"], "identical");
    assert_eq!(database.value("INSERT INTO \"naïve 表\"(id) VALUES (9) RETURNING \"Größe\""), "süß");
}

#[test]
fn a_file_in_utf_16_little_endian() {
    utf16("UTF-16le");
}

#[test]
fn a_file_in_utf_16_big_endian() {
    utf16("UTF-16be");
}

#[test]
fn half_of_a_pair_in_utf_16_is_set_aside_and_not_made_another_character() {
    // 'a', the first half of a pair, 'b': SQLite's own UTF-8 makes one character of the last two.
    for (encoding, text, pair) in [("UTF-16le", "61003DD86200", "3DD800DE"), ("UTF-16be", "0061D83D0062", "D83DDE00")] {
        let database = Database::fresh();
        let case = Case::new(encoding)
            .source_sql(&format!(
                "PRAGMA encoding = '{encoding}'; CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT);
                 INSERT INTO t VALUES (1, CAST(x'{text}' AS TEXT)), (2, CAST(x'{pair}' AS TEXT));"
            ))
            .database(&database);
        let report = case.run("migrate {source} {url} --json").exit(1).json();
        assert_eq!(database.rows("SELECT id, s FROM t"), ["2|😀"], "{report}");
        let aside = fs::read_to_string(case.dir().join(report["rejects_dir"].as_str().unwrap()).join("t.jsonl")).unwrap();
        assert!(aside.contains("the text is not valid UTF-8") && aside.contains("\"base64\":\"Ye2gvWI=\""), "{aside}");
        let verified = case.run("verify {source} {url} --json").exit(0).json();
        assert_eq!((&verified["tables"][0]["rows_set_aside"], &verified["outcome"]), (&1.into(), &"identical".into()));
        fs::write(case.dir().join("m.toml"), "[tables.t.columns.s]\nbad_text = \"replace\"\n").unwrap();
        case.run(&format!(
            "migrate {{source}} {{url}} --retry-rejects {} --mapping {{dir}}/m.toml",
            report["rejects_dir"].as_str().unwrap()
        ))
        .exit(0);
        assert_eq!(database.value("SELECT s FROM t WHERE id = 1"), "a\u{fffd}\u{fffd}\u{fffd}b", "one for each byte");
    }
}

#[test]
fn file_names_with_spaces_and_letters_beyond_ascii() {
    for name in
        ["my shop.db", "Kassenbücher 2024 (Kopie).sqlite", "表 😀.db", "a'b\"c?d#e%20f&g.db", "-rf.db", " .db", "file:x?mode=memory"]
    {
        let database = Database::fresh();
        let case = Case::new(name);
        let folder = case.dir().join("Ordner mit Ümläuten & Co");
        fs::create_dir(&folder).unwrap();
        let file = folder.join(name);
        // In WAL mode the name is used three times.
        Connection::open(&file).unwrap().execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(a TEXT)").unwrap();
        let open = Connection::open(&file).unwrap();
        open.execute_batch("INSERT INTO t VALUES ('in the log'), (char(0))").unwrap();
        let case = case.source_file(&file).database(&database);
        let report = case.run("migrate {source} {url} --json").exit(1).json();
        assert_eq!(report["source"], file.display().to_string());
        assert_eq!(database.rows("SELECT * FROM t"), ["in the log"], "{name}");
        assert_eq!(case.run("verify {source} {url} --json").exit(0).json()["outcome"], "identical", "{name}");
        // From within the folder, by its bare name, which may look like a flag.
        let run = case.command().args(["verify", "--to", &database.url(), "--", name]).current_dir(&folder).output().unwrap();
        assert_eq!(run.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&run.stderr));
        drop(open);
    }
}

#[test]
fn an_empty_database_and_a_file_without_bytes() {
    let database = Database::fresh();
    let case = Case::new("empty").source_sql("CREATE TABLE t(a); DROP TABLE t").database(&database);
    let report = case.run("migrate {source} {url} --json").exit(0).json();
    assert_eq!((&report["outcome"], &report["rows_read"]), (&"clean".into(), &0.into()));
    assert_eq!(case.run("verify {source} {url} --json").exit(0).json()["outcome"], "identical");
    fs::write(case.dir().join("none.db"), "").unwrap();
    let none = Case::new("no bytes").source_file(case.dir().join("none.db")).database(&database);
    none.run("migrate {source} {url} --json").exit(0).stderr_has("the file has no bytes");
    none.run("verify {source} {url} --schema-objects").exit(0);
    assert_eq!(database.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    // Tables without a row are tables.
    let tables = Case::new("no rows").source_sql("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)").database(&database);
    tables.run("migrate {source} {url}").exit(0);
    assert_eq!(database.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn three_hundred_and_sixty_seven_tables() {
    let mut sql = String::from("PRAGMA foreign_keys = OFF; BEGIN;");
    for n in 0..367 {
        let parent = (n + 1) % 367;
        sql.push_str(&format!(
            "CREATE TABLE t{n}(id INTEGER PRIMARY KEY, p INTEGER REFERENCES t{parent}, s TEXT); INSERT INTO t{n} VALUES (1, 1, 'row of {n}');
             CREATE INDEX t{n}_p ON t{n}(p);"
        ));
    }
    let database = Database::fresh();
    let case = Case::new("367 tables").source_sql(&format!("{sql} COMMIT;")).database(&database);
    let foretold = case.run("migrate {source} {url} --dry-run --json").exit(0).json()["estimate_seconds"].as_f64().unwrap();
    let report = case.run("migrate {source} {url} --json").exit(0).json();
    assert_eq!((&report["rows_written"], report["tables"].as_array().unwrap().len()), (&367.into(), 367));
    // Rows are not what takes the time here. Tests beside it take the machine's from either.
    let took = report["seconds"].as_f64().unwrap();
    assert!(foretold < took * 6.0 && took < foretold * 6.0, "foretold {foretold} s, took {took} s");
    let count = |sql: &str| database.value(sql);
    assert_eq!(count("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "367");
    let keys = "SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND convalidated AND contype =";
    assert_eq!(count(&format!("{keys} 'f'")), "367");
    assert_eq!(count(&format!("{keys} 'p'")), "367");
    assert_eq!(count("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public' AND indexname LIKE '%\\_p'"), "367");
    case.run("verify {source} {url} --schema-objects").exit(0);
}

#[test]
fn a_table_of_1600_columns_arrives_and_one_of_1601_is_refused_before_the_first_byte() {
    let table = |columns: usize| {
        let columns: Vec<String> = (0..columns).map(|n| format!("c{n} INTEGER")).collect();
        format!(
            "CREATE TABLE before(a); INSERT INTO before VALUES (1); CREATE TABLE wide({}); INSERT INTO wide(c0) VALUES (7);",
            columns.join(", ")
        )
    };
    let database = Database::fresh();
    let before = database.rows(EVERYTHING);
    let refused = Case::new("1,601 columns").source_sql(&table(1601)).database(&database);
    for line in ["migrate {source} {url} --json", "migrate {source} {url} --dry-run --json"] {
        let error = refused.run(line).exit(2).json();
        assert_eq!((&error["error"]["code"], &error["error"]["target_changed"]), (&"too_many_columns".into(), &false.into()));
    }
    assert_eq!(database.rows(EVERYTHING), before);
    let case = Case::new("1,600 columns").source_sql(&table(1600)).database(&database);
    case.run("migrate {source} {url}").exit(0);
    assert_eq!(database.rows("SELECT c0, c1599 IS NULL FROM wide"), ["7|t"]);
    case.run("verify {source} {url}").exit(0);
}

#[test]
fn a_blob_of_200_megabytes() {
    // In a quick run it is smaller, and takes the same way.
    let bytes = if long() { 200_000_000 } else { 20_000_000 };
    let database = Database::fresh();
    let case = Case::new("a large blob").source_sql("CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB)").database(&database);
    let content: Vec<u8> = (0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let source = Connection::open(case.source_path()).unwrap();
    source.execute("INSERT INTO t VALUES (1, x'01'), (2, ?1), (3, x'03')", [&content]).unwrap();
    drop(source);
    let digest: String = database.value(&format!("SELECT {bytes}"));
    let report = case.run("migrate {source} {url} --json").exit(0).json();
    assert_eq!(database.value("SELECT length(b) FROM t WHERE id = 2"), digest);
    // One byte in its middle is seen.
    assert_eq!(case.run("verify {source} {url} --json").exit(0).json()["outcome"], "identical");
    database.execute(&format!("UPDATE t SET b = set_byte(b, {0}, (get_byte(b, {0}) + 1) % 256) WHERE id = 2", bytes / 2));
    assert_eq!(case.run("verify {source} {url} --json").exit(1).json()["differences_total"], 1);
    // Whoever moves it needs room for it a few times, not for ever more.
    let peak = report["peak_rss_bytes"].as_u64().unwrap();
    assert!(peak < 6 * bytes as u64 + 200_000_000, "{peak} bytes for a blob of {bytes}");
}

#[test]
fn a_live_log_is_part_of_the_file() {
    let database = Database::fresh();
    let case = Case::new("live log").source_sql("PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY)").database(&database);
    let writer = Connection::open(case.source_path()).unwrap();
    writer.execute_batch("PRAGMA wal_autocheckpoint = 0; INSERT INTO t VALUES (1), (2); BEGIN; INSERT INTO t VALUES (3);").unwrap();
    case.run("migrate {source} {url}").exit(0);
    assert_eq!(database.rows("SELECT id FROM t ORDER BY id"), ["1", "2"], "what was committed, and only that");
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(case.run("verify {source} {url} --json").exit(1).json()["differences_total"], 1);
}

/// Root may write where the mode says no, so the program runs as somebody who may only look.
fn as_nobody(binary: &Path, case: &Case, args: &[&str]) -> (Option<i32>, String) {
    use std::os::unix::process::CommandExt as _;
    let mut command = std::process::Command::new(binary);
    command.args(args).current_dir("/").env_clear().env("CI", "1").env("CANDLEFISH_HOME", case.dir()).stdin(std::process::Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn in_a_read_only_folder(with_log: bool) {
    let database = Database::fresh();
    let case = Case::new("read-only folder").database(&database);
    // Somewhere that the other user can reach.
    let outer = tempfile::Builder::new().prefix("candlefish-read-only").tempdir_in("/tmp").unwrap();
    let folder = outer.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let live = case.dir().join("live.db");
    let writer = Connection::open(&live).unwrap();
    writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1); PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint = 0; INSERT INTO t VALUES (2)").unwrap();
    let source = folder.join("app.db");
    fs::copy(&live, &source).unwrap();
    let mut rows = vec!["1"];
    if with_log {
        fs::copy(case.dir().join("live.db-wal"), folder.join("app.db-wal")).unwrap();
        rows.push("2");
    }
    let binary = outer.path().join("candlefish");
    copy_binary(&binary);
    let names = || {
        let mut names: Vec<String> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let before = names();
    for path in [outer.path(), &folder] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let run = |verb: &str| as_nobody(&binary, &case, &[verb, &source.display().to_string(), &database.url()]);
    let migrated = run("migrate");
    let verified = run("verify");
    let after = names();
    for path in [outer.path(), &folder] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(migrated.0, Some(0), "{}", migrated.1);
    assert_eq!(verified.0, Some(0), "{}", verified.1);
    assert_eq!(database.rows("SELECT id FROM t ORDER BY id"), rows);
    assert_eq!(after, before, "nothing is left beside the file");
}

#[test]
fn a_read_only_folder_with_a_log() {
    in_a_read_only_folder(true);
}

#[test]
fn a_read_only_folder_without_a_log() {
    in_a_read_only_folder(false);
}

//! Wrong input: one clear sentence, a hint, exit 2, and nothing changed in the target.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use crate::support::{Case, Database, Output, addresses, copy_binary};

/// Relations by schema, and the schemas themselves: `candlefish`, the journal's, must not be among them.
const EVERYTHING: &str = "SELECT n.nspname || ' ' || count(c.oid) FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid
    WHERE n.nspname !~ '^pg_(temp|toast_temp)' GROUP BY n.nspname ORDER BY 1";

const TABLE: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES(1,'a'),(2,'b');";

/// Exit 2 with nothing on stdout; on stderr one line that is the error and one that is its hint.
#[track_caller]
fn refused(output: Output, sentence: &str, hint: &str) {
    let output = output.exit(2);
    assert_eq!(output.stdout, "", "stdout of {output}");
    let lines: Vec<&str> = output.stderr.lines().filter(|line| !line.starts_with("target: ")).collect();
    assert_eq!(lines.len(), 2, "a sentence and a hint: {output}");
    assert!(lines[0].starts_with("error: ") && lines[1].starts_with("hint: "), "{output}");
    assert!(lines[0].contains(sentence), "no {sentence:?} in {output}");
    assert!(lines[1].contains(hint), "no {hint:?} in {output}");
    assert!(!output.stderr.contains("panicked") && !output.stderr.contains("Error code"), "{output}");
}

/// `migrate {source} --to {url}` of this file, with more words after it: refused, and the target is as it was.
#[track_caller]
fn refused_untouched(case: Case, database: &Database, more: &str, sentence: &str, hint: &str) {
    let before = database.rows(EVERYTHING);
    refused(case.run(&format!("migrate {{source}} --to {{url}} {more}")), sentence, hint);
    assert_eq!(database.rows(EVERYTHING), before, "the target has changed");
    assert!(!before.iter().any(|line| line.starts_with("candlefish ")));
    assert!(!case.dir().join("candlefish-rejects").exists(), "a folder was left");
}

/// A file of these bytes as the source.
fn file_of(name: &str, bytes: &[u8]) -> Case {
    let case = Case::new(name);
    let path = case.dir().join("source.db");
    fs::write(&path, bytes).unwrap();
    case.source_file(path)
}

#[test]
fn no_such_file() {
    let database = Database::fresh();
    let case = Case::new("no such file").database(&database).source_file("/nowhere/shop.db");
    refused_untouched(case, &database, "", "migrate /nowhere/shop.db: no such file", "/nowhere");
}

#[test]
fn a_pipe_is_no_file() {
    let database = Database::fresh();
    let case = Case::new("a pipe").database(&database);
    let path = case.dir().join("source.db");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    refused_untouched(case.source_file(path), &database, "", "it is a pipe", "file itself");
}

#[test]
fn a_log_that_takes_no_more_stops_nothing() {
    let database = Database::fresh();
    let case = Case::new("a full log").source_sql(TABLE).database(&database);
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let migrate = case.command().args(["migrate", case.source_path().to_str().unwrap(), "--to", &database.url()]).stderr(full()).status();
    assert_eq!(migrate.unwrap().code(), Some(0));
    assert_eq!(database.value("SELECT count(*) FROM t"), "2");
    let refused = case.command().args(["migrate", "/nowhere/shop.db", "--to", &database.url()]).stderr(full()).status();
    assert_eq!(refused.unwrap().code(), Some(2));
}

#[test]
fn rights_for_a_role_that_is_not_there() {
    let database = Database::fresh();
    let case = Case::new("no role").source_sql(TABLE).database(&database);
    refused_untouched(case, &database, "--grant nosuch=ro", "role \"nosuch\" of --grant does not exist", "CREATE ROLE");
}

#[test]
fn not_a_sqlite_file() {
    let database = Database::fresh();
    let csv = file_of("a CSV file", b"id,name\n1,x\n").database(&database);
    refused_untouched(csv, &database, "", "it is not a SQLite file", "SQLite format 3");
    let zip = file_of("a zip file", &[b"PK\x03\x04".as_slice(), &[0; 4000]].concat()).database(&database);
    refused_untouched(zip, &database, "", "it is not a SQLite file", "SQLite format 3");
}

#[test]
fn a_file_of_no_bytes_is_an_empty_database() {
    let database = Database::fresh();
    let case = file_of("no bytes", b"").database(&database);
    let output = case.run("migrate {source} --to {url}").exit(0);
    assert!(output.stderr.contains("warning: the file has no bytes"), "{output}");
    assert_eq!(database.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0");
    assert_eq!(fs::metadata(case.source_path()).unwrap().len(), 0);
}

#[test]
fn a_database_without_tables_is_empty_too() {
    let database = Database::fresh();
    let case = Case::new("no tables").source_sql("CREATE TABLE t(a); DROP TABLE t;").database(&database);
    let report = case.run("migrate {source} --to {url} --json").exit(0).json();
    assert_eq!(report["rows_read"], 0);
    assert_eq!(report["outcome"], "clean");
}

#[test]
fn a_truncated_file() {
    let database = Database::fresh();
    let case = Case::new("truncated").source_sql(&format!("{TABLE} INSERT INTO t VALUES(3, hex(zeroblob(20000)));")).database(&database);
    let size = fs::metadata(case.source_path()).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(case.source_path()).unwrap();
    file.set_len(size - 4096).unwrap();
    refused_untouched(
        case,
        &database,
        "",
        &format!("the file is truncated: it has {} bytes and its header promises {size}", size - 4096),
        "Copy the file again",
    );
    let case = file_of("only a header's beginning", b"SQLite format 3\0\x10\0").database(&database);
    refused_untouched(case, &database, "", "the file is truncated: 18 bytes", "Copy the file again");
}

#[test]
fn a_damaged_page() {
    let database = Database::fresh();
    let case = Case::new("damaged").source_sql(&format!("{TABLE} INSERT INTO t VALUES(3, hex(zeroblob(20000)));")).database(&database);
    let mut bytes = fs::read(case.source_path()).unwrap();
    bytes[4096..8192].fill(0xAB);
    fs::write(case.source_path(), bytes).unwrap();
    refused_untouched(case, &database, "", "the database file is damaged", ".recover");
}

#[test]
fn a_directory() {
    let database = Database::fresh();
    let case = Case::new("directory");
    let folder = case.dir().join("data");
    fs::create_dir(&folder).unwrap();
    let case = case.source_file(folder).database(&database);
    refused_untouched(case, &database, "", "it is a directory, not a SQLite file", "Name the database file inside it");
}

#[test]
fn bytes_that_look_encrypted() {
    let database = Database::fresh();
    let bytes: Vec<u8> = (0..8192_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (n >> 3) as u8).collect();
    let case = file_of("encrypted", &bytes).database(&database);
    refused_untouched(case, &database, "", "it looks encrypted", "sqlcipher_export");
}

#[test]
fn a_file_that_another_process_has_locked() {
    let database = Database::fresh();
    let case = Case::new("locked").source_sql(TABLE).database(&database);
    let writer = rusqlite::Connection::open(case.source_path()).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let pid = std::process::id();
    let before = database.rows(EVERYTHING);
    refused(case.run("migrate {source} --to {url}"), &format!("({pid})), and reading it would keep them from writing"), "--snapshot DIR");
    let started = std::time::Instant::now();
    refused(
        case.run("migrate {source} --to {url} --block-writers"),
        "the file is locked by a writer",
        "Wait until the writer has finished",
    );
    assert!(started.elapsed().as_secs() >= 5, "a writer who is soon done is waited for");
    assert_eq!(database.rows(EVERYTHING), before);
    writer.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn no_permission_to_read() {
    let database = Database::fresh();
    let case = Case::new("no permission").source_sql(TABLE).database(&database);
    fs::set_permissions(case.source_path(), fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = case.command();
    command.args(["migrate", case.source_path().to_str().unwrap(), "--to", &database.url()]);
    // Root may read everything; the program then runs as nobody, who must at least enter the folders.
    if fs::File::open(case.source_path()).is_ok() {
        fs::set_permissions(case.dir(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = case.dir().join("candlefish");
        copy_binary(&program);
        command = std::process::Command::new(program);
        command
            .args(["migrate", case.source_path().to_str().unwrap(), "--to", &database.url()])
            .env_clear()
            .current_dir(case.dir())
            .uid(65534)
            .gid(65534);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("no permission to read the file\nhint: Run as a user who may read"), "{stderr}");
}

#[test]
fn a_target_that_nobody_answers_at() {
    let case = Case::new("unreachable").source_sql(TABLE);
    // The port was free a moment ago, and nobody else is told of it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = case.run(&format!("migrate {{source}} --to postgresql://app:geheim@127.0.0.1:{port}/shop"));
    assert!(!output.stderr.contains("geheim"), "{output}");
    refused(output, &format!("127.0.0.1:{port}"), "");
    let output = case.run("migrate {source} --to postgresql://app@no-such-host.invalid/shop");
    refused(output, "no-such-host.invalid", "");
}

#[test]
fn a_wrong_password() {
    let database = Database::fresh();
    let case = Case::new("wrong password").source_sql(TABLE);
    let url = database.url();
    let (start, rest) = url.split_once("//").unwrap();
    let host = rest.rsplit_once('@').unwrap().1;
    let output = case.run_args(["migrate", case.source_path().to_str().unwrap(), "--to", &format!("{start}//candlefish:geheim@{host}")]);
    assert!(!output.stderr.contains("geheim"), "{output}");
    refused(output, "password", "");
}

#[test]
fn a_database_that_is_not_there() {
    let case = Case::new("no database").source_sql(TABLE);
    let url = addresses().database_url_of("it_no_such_database");
    refused(case.run(&format!("migrate {{source}} --to {url}")), "it_no_such_database", "--create-db");
}

#[test]
fn a_role_that_may_not_create() {
    let database = Database::fresh();
    let role = format!("reader_of_{}", database.name);
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"));
    let case = Case::new("no right").source_sql(TABLE).database(&database);
    let before = database.rows(EVERYTHING);
    let url = database.url();
    let host = url.rsplit_once('@').unwrap().1;
    let as_role = |url: &str| case.run_args(["migrate", case.source_path().to_str().unwrap(), "--to", url]);
    refused(
        as_role(&format!("postgresql://{role}:x@{host}")),
        "may not create tables in schema \"public\"",
        "GRANT CREATE ON SCHEMA \"public\"",
    );
    database.execute(&format!("GRANT CREATE ON SCHEMA public TO {role}"));
    refused(as_role(&format!("postgresql://{role}:x@{host}")), "may not create schemas", "GRANT CREATE ON DATABASE");
    assert_eq!(database.rows(EVERYTHING), before);
    // A dry run needs no right but to look.
    let planned =
        case.run_args(["migrate", case.source_path().to_str().unwrap(), "--to", &format!("postgresql://{role}:x@{host}"), "--dry-run"]);
    planned.exit(0).stdout_has("CREATE TABLE");
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn tables_that_have_rows_already() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id bigint PRIMARY KEY, s text); INSERT INTO t VALUES (9, 'theirs')");
    let case = Case::new("filled").source_sql(TABLE).database(&database);
    refused_untouched(case, &database, "", "table \"public\".\"t\" already has rows", "--existing truncate");
    assert_eq!(database.rows("SELECT * FROM t"), ["9|theirs"]);
}

#[test]
fn a_table_that_needs_what_the_source_has_not() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(id bigint PRIMARY KEY, s text, tenant text NOT NULL)");
    let case = Case::new("no source").source_sql(TABLE).database(&database);
    refused_untouched(case, &database, "", "\"tenant\" is NOT NULL without a default", "mapping");
}

#[test]
fn a_url_that_is_none_is_never_echoed() {
    let case = Case::new("no URL").source_sql(TABLE);
    for url in [
        "postgresql://app:geheim@[::1/shop",
        "postgres:/app:geheim@db/shop",
        "mysql://app:geheim@db/shop",
        "postgresql://app:ge%zzheim@db/shop",
    ] {
        let output = case.run_args(["migrate", case.source_path().to_str().unwrap(), "--to", url]);
        assert!(!output.stderr.contains("heim"), "{output}");
        refused(output, "", "postgresql://");
    }
}

#[test]
fn a_url_parameter_that_nobody_knows() {
    let database = Database::fresh();
    let case = Case::new("parameter").source_sql(TABLE).database(&database);
    let url = database.url();
    let joint = if url.contains('?') { '&' } else { '?' };
    let output = case.run_args(["migrate", case.source_path().to_str().unwrap(), "--to", &format!("{url}{joint}sslmod=require")]);
    refused(output, "sslmod", "sslmode");
}

#[test]
fn a_mapping_file_that_says_what_is_not_there() {
    let database = Database::fresh();
    let with_mapping = |text: &str| {
        let case = Case::new("mapping").source_sql(TABLE).database(&database);
        fs::write(case.dir().join("map.toml"), text).unwrap();
        case
    };
    let line = "--mapping {dir}/map.toml";
    let unknown_key = with_mapping("[tables.t.columns.s]\ntype = \"text\"\ntrasform = \"epoch:s\"\n");
    refused_untouched(unknown_key, &database, line, "line 3, column 1: unknown field `trasform`", "Did you mean `transform`?");
    let unknown_table = with_mapping("[tables.tt]\nskip = true\n");
    refused_untouched(
        unknown_table,
        &database,
        line,
        "the mapping names the table \"tt\", which the source does not have",
        "Did you mean \"t\"?",
    );
    let unknown_column = with_mapping("[tables.t.columns.ss]\nskip = true\n");
    refused_untouched(unknown_column, &database, line, "the mapping names the column \"t\".\"ss\"", "Did you mean \"s\"?");
    let no_toml = with_mapping("[tables.t\n");
    refused_untouched(no_toml, &database, line, "line 1", "");
    let unknown_type = with_mapping("[tables.t.columns.s]\ntype = \"txet\"\n");
    refused_untouched(unknown_type, &database, line, "type \"txet\" does not exist", "");
    let case = Case::new("no mapping file").source_sql(TABLE).database(&database);
    refused_untouched(case, &database, "--mapping regsitry", "the mapping file regsitry cannot be read", "auto, registry, derive");
}

#[test]
fn a_glob_that_matches_nothing() {
    let database = Database::fresh();
    let case = || Case::new("glob").source_sql(TABLE).database(&database);
    for flag in ["--include", "--exclude", "--exclude-data"] {
        refused_untouched(case(), &database, &format!("{flag} orders*"), &format!("{flag} \"orders*\" matches no table"), "exactly");
    }
    refused_untouched(case(), &database, "--existing orders*=keep", "--existing \"orders*\" matches no table", "exactly");
    refused_untouched(case(), &database, "--include [a", "--include \"[a\"", "A glob has");
}

#[test]
fn a_schema_that_is_not_there() {
    let database = Database::fresh();
    let case = || Case::new("schema").source_sql(TABLE).database(&database);
    refused_untouched(case(), &database, "--schema shop", "schema \"shop\" does not exist", "--create-schema");
    case().run("migrate {source} --to {url} --schema shop --create-schema").exit(0);
    assert_eq!(database.rows("SELECT * FROM shop.t ORDER BY id"), ["1|a", "2|b"]);
}

#[test]
fn a_pooler_in_transaction_mode_is_no_target() {
    let database = Database::fresh();
    let case = Case::new("pooler").source_sql(TABLE).database(&database);
    let before = database.rows(EVERYTHING);
    refused(case.run("migrate {source} --to {pooler}"), "pooler", "PostgreSQL itself");
    assert_eq!(database.rows(EVERYTHING), before);
}

#[test]
fn replacing_without_agreement_changes_nothing() {
    let database = Database::fresh();
    let case = Case::new("replace").source_sql(TABLE).database(&database);
    case.run("migrate {source} --to {url}").exit(0);
    database.execute("INSERT INTO t VALUES (3, 'ours')");
    refused(
        case.run("migrate {source} --to {url} --replace"),
        r#"--replace drops "public"."t" (3 rows; the run that made it brought 2)"#,
        "--yes",
    );
    assert_eq!(database.value("SELECT count(*) FROM t"), "3");
}

#[test]
fn with_json_the_error_is_a_document() {
    let database = Database::fresh();
    let case = Case::new("json").database(&database).source_file("/nowhere/shop.db");
    let output = case.run("migrate {source} --to {url} --json").exit(2);
    let document = output.json();
    assert_eq!(document["error"]["code"], "source_not_found");
    assert_eq!(document["error"]["message"], "migrate /nowhere/shop.db: no such file");
    assert_eq!(document["error"]["hint"], "Check the path; looked in /nowhere.");
    assert_eq!(document["error"]["sqlstate"], serde_json::Value::Null);
    assert_eq!(document["error"]["target_changed"], false);
    assert_eq!(document["error"]["resumable"], false);
    assert_eq!(document["schema_version"], 1);
    assert!(document["candlefish_version"].is_string());
    assert!(document["started_at"].is_string(), "every document says when it was started");

    let case = Case::new("json, no right").source_sql(TABLE).database(&database);
    let url = addresses().database_url_of("it_no_such_database");
    let document = case.run(&format!("migrate {{source}} --to {url} --json")).exit(2).json();
    assert_eq!(document["error"]["sqlstate"], "3D000", "{document}");
    // Even what clap says of the command line.
    let document = case.run("migrate {source} --to {url} --json --on-misfit maybe").exit(2).json();
    assert_eq!(document["error"]["code"], "usage", "{document}");
}

#[test]
fn an_address_in_the_wrong_place_shows_no_password() {
    let database = Database::fresh();
    let case = Case::new("password").database(&database);
    let address = "postgresql://candlefish:hunter2@127.0.0.1/db";
    for (words, hint) in [
        (vec!["runs", address, "--to", &database.url()], "runs --to URL"),
        (vec!["schema", "status", address], "`--to URL`"),
        (vec!["schema", "status", address, "--json"], "`--to URL`"),
        (vec![address], ""),
        (vec!["config", "--format", address], ""),
        (vec!["schema", "status", "host=127.0.0.1 password=hunter2"], ""),
    ] {
        let output = case.run_args(&words).exit(2);
        assert!(!output.stderr.contains("hunter2") && !output.stdout.contains("hunter2"), "{words:?}: {output}");
        assert!(output.stderr.contains(hint), "{words:?}: {output}");
    }
}

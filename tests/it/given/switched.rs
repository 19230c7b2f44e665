//! Foreign keys of given tables whose own triggers a superuser has switched off: put back, they check no more than before.

use super::{foretold, losses};
use crate::server::{Server, versions};
use crate::support::{Case, Database};

/// One key checks nothing, one action comes always, and of a table of partitions one partition alone is not checked.
const GIVEN: &str = "CREATE TABLE p (id bigint PRIMARY KEY); CREATE TABLE c (id bigint PRIMARY KEY, p_id bigint CONSTRAINT c_p REFERENCES p ON DELETE CASCADE);
    CREATE TABLE parts (id bigint PRIMARY KEY, p_id bigint CONSTRAINT parts_p REFERENCES p) PARTITION BY RANGE (id);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100); CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
    ALTER TABLE c DISABLE TRIGGER ALL; ALTER TABLE parts_2 DISABLE TRIGGER ALL;
    DO $$
    DECLARE own name;
    BEGIN
        SELECT tgname INTO own FROM pg_trigger WHERE tgrelid = 'p'::regclass AND tgconstrrelid = 'c'::regclass AND tgfoid = '\"RI_FKey_cascade_del\"'::regproc;
        EXECUTE format('ALTER TABLE p ENABLE ALWAYS TRIGGER %I', own);
    END
    $$;";

const STATE: &str = "SELECT tgrelid::regclass, tgfoid::regproc, tgenabled, count(*) FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
    WHERE tgisinternal AND relnamespace = 'public'::regnamespace GROUP BY 1, 2, 3
    ORDER BY tgrelid::regclass::text, tgfoid::regproc::text, tgenabled";

const SOURCE: &str = "CREATE TABLE p (id INTEGER NOT NULL PRIMARY KEY); INSERT INTO p VALUES (1), (2);
    CREATE TABLE c (id INTEGER NOT NULL PRIMARY KEY, p_id INTEGER REFERENCES p(id) ON DELETE CASCADE); INSERT INTO c VALUES (1, 1), (2, 2);
    CREATE TABLE parts (id INTEGER NOT NULL PRIMARY KEY, p_id INTEGER REFERENCES p(id)); INSERT INTO parts VALUES (1, 1), (101, 1);";

#[test]
fn they_come_back_switched_as_they_were_also_after_an_interruption() {
    let database = Database::fresh();
    database.execute(GIVEN);
    let before = database.rows(STATE);
    assert!(before.iter().any(|trigger| trigger == "c|\"RI_FKey_check_ins\"|D|1"), "{before:?}");
    assert!(before.iter().any(|trigger| trigger == "p|\"RI_FKey_cascade_del\"|A|1"), "{before:?}");
    let case = Case::new("switched").source_sql(SOURCE).database(&database);
    foretold(&case, &database, "");
    assert_eq!(database.rows(STATE), before);
    // The journal knows, for the run itself and for any other that comes after it.
    let data = "migrate {source} {url} --existing truncate --section pre-data --section data";
    for after in ["--existing truncate --section post-data", "--existing truncate"] {
        case.run(data).exit(0);
        assert_eq!(
            database.rows("SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"),
            [""; 0]
        );
        case.run(&format!("migrate {{source}} {{url}} {after}")).exit(0);
        assert_eq!(database.rows(STATE), before, "{after}");
    }
    // A refresh takes keys away that would delete by themselves.
    rusqlite::Connection::open(case.source_path())
        .unwrap()
        .execute_batch("DELETE FROM c WHERE id = 2; DELETE FROM p WHERE id = 2")
        .unwrap();
    case.run("migrate {source} {url} --refresh --yes").exit(0);
    assert_eq!(database.rows(STATE), before);
    database.execute("INSERT INTO c VALUES (9, 99)");
}

#[test]
fn each_version_of_postgresql_has_them_switched_as_they_were() {
    for (version, bin) in versions() {
        let server = Server::start(&bin, &[]);
        server.rows(GIVEN);
        let before = server.rows(STATE);
        let case = Case::new("switched").source_sql(SOURCE);
        case.run(&format!("migrate {{source}} {}", server.url())).exit(0);
        assert_eq!(server.rows(STATE), before, "{version}");
        // The rows break the keys, which stand in another form then.
        server.rows("DELETE FROM parts; DELETE FROM c; DELETE FROM p");
        let case = Case::new("switched").source_sql(&format!("PRAGMA foreign_keys = off; {SOURCE} DELETE FROM p WHERE id = 1"));
        let planned = case.run(&format!("migrate {{source}} {} --dry-run --json", server.url())).exit(0).json();
        let report = case.run(&format!("migrate {{source}} {} --json", server.url())).exit(0).json();
        assert_eq!(losses(&planned), losses(&report), "{version}");
        let disabled = "SELECT tgrelid::regclass FROM pg_trigger WHERE tgisinternal AND tgenabled = 'D' GROUP BY 1 ORDER BY 1";
        assert_eq!(server.rows(disabled), ["c", "parts_2"], "{version}");
    }
}

#[test]
fn who_may_not_switch_them_is_told_which_check_again() {
    let database = Database::fresh();
    let role = format!("{}_owner", database.name);
    database.execute(&format!(
        "{GIVEN} CREATE ROLE {role} NOLOGIN; GRANT {role} TO CURRENT_USER; GRANT CREATE ON DATABASE {} TO {role}; ALTER TABLE p OWNER TO {role};
         ALTER TABLE c OWNER TO {role}; ALTER TABLE parts OWNER TO {role}; ALTER TABLE parts_1 OWNER TO {role}; ALTER TABLE parts_2 OWNER TO {role}",
        database.name
    ));
    let case = Case::new("switched by others").source_sql(SOURCE).database(&database);
    let (_, report) = foretold(&case, &database, &format!("--role {role}"));
    let said: Vec<String> = losses(&report).into_iter().filter(|loss| !loss.contains("no identity")).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    let names = |key: &str| said.iter().any(|loss| loss.starts_with(&format!("\"foreign_key_enabled\" \"{key}\" \"checks rows again")));
    assert!(names("c.c_p") && names("parts.parts_p"), "{said:?}");
    database.try_execute("INSERT INTO c VALUES (9, 99)").unwrap_err();
    database.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

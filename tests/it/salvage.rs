//! Damaged files: found before the target is touched; with `--salvage` everything that can be read is copied, and what cannot is said.
//! The tests make the damage themselves, page by page.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::Connection;

use crate::support::{Case, Database, Output};

const PAGE: u64 = 4096;

/// 2,000 rows over some fifty leaf pages under an inner one, an index, and a table beside it that stays whole.
const SOURCE: &str = "PRAGMA page_size = 4096;
    CREATE TABLE notes(id INTEGER PRIMARY KEY, at TEXT NOT NULL UNIQUE, body TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO notes SELECT i, printf('2024-%05d', i), printf('%.*c', 80, 'x') FROM n;
    CREATE TABLE whole(id INTEGER PRIMARY KEY, v TEXT);
    INSERT INTO whole VALUES (1, 'a'), (2, 'b');";

struct Damaged {
    case: Case,
    database: Database,
}

impl Damaged {
    fn new(name: &str, sql: &str) -> Self {
        let database = Database::fresh();
        let case = Case::new(name).source_sql(sql).database(&database);
        Damaged { case, database }
    }

    /// Pages of a b-tree, as SQLite's own `dbstat` lists them; `kind` is leaf, internal or overflow.
    fn pages(&self, btree: &str, kind: &str) -> Vec<u64> {
        let connection = Connection::open(self.case.source_path()).expect("open");
        let sql = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = ?2 ORDER BY path";
        let mut statement = connection.prepare(sql).expect("dbstat");
        let pages = statement.query_map([btree, kind], |row| row.get::<_, i64>(0)).expect("dbstat");
        pages.map(|page| page.expect("a page") as u64).collect()
    }

    fn zero(&self, page: u64) {
        write_at(self.case.source_path(), (page - 1) * PAGE, &[0; PAGE as usize]);
    }

    fn migrate(&self, flags: &str) -> Output {
        self.case.run(&format!("migrate {{source}} --to {{url}} --json {flags}"))
    }

    /// Without `--salvage` nothing is done at all.
    fn is_refused(&self, code: &str) {
        let refused = self.migrate("").exit(2);
        assert_eq!(refused.json()["error"]["code"], code, "{refused}");
        assert_eq!(refused.json()["error"]["target_changed"], false, "{refused}");
        let hint = refused.json()["error"]["hint"].to_string();
        assert!(hint.contains("--salvage"), "{refused}");
        assert_eq!(self.database.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    }

    /// With it the run is never clean; returns what it says of a table.
    fn is_salvaged(&self, object: &str) -> String {
        let salvaged = self.migrate("--salvage").exit(1);
        let report = salvaged.json();
        assert_eq!(report["outcome"], "incomplete", "{salvaged}");
        let warnings = report["warnings"].as_array().expect("warnings");
        let warning = warnings.iter().find(|warning| warning["object"] == object && warning["severity"] == "loss");
        warning.unwrap_or_else(|| panic!("nothing of {object} in {salvaged}"))["message"].as_str().expect("a message").to_string()
    }
}

fn write_at(file: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(file).expect("open").write_all_at(bytes, offset).expect("write");
}

#[test]
fn rows_around_a_lost_leaf_page_are_saved_and_the_lost_ones_named() {
    let damaged = Damaged::new("a lost leaf", SOURCE);
    let leaves = damaged.pages("notes", "leaf");
    // Two apart, and the last.
    let lost = [leaves[3], leaves[9], leaves[leaves.len() - 1]];
    lost.iter().for_each(|page| damaged.zero(*page));
    damaged.is_refused("source_damaged");

    let message = damaged.is_salvaged("notes");
    let rows: u64 = damaged.database.value("SELECT count(*) FROM notes").parse().expect("a number");
    assert!(
        message.contains(&format!("{rows} rows are read; {} of 2000 rows (counted by an index) cannot be read", 2000 - rows)),
        "{message}"
    );
    lost.iter().for_each(|page| assert!(message.contains(&page.to_string()), "{page}: {message}"));
    // Every row of every other page is there, and nothing else is missing: three holes.
    let holes = "SELECT count(*) FROM (SELECT id, lead(id, 1, 2001) OVER (ORDER BY id) AS next FROM notes) n WHERE next > id + 1";
    assert_eq!(damaged.database.value(holes), "3");
    assert!(rows > 1800, "{rows}");
    assert_eq!(damaged.database.rows("SELECT id, v FROM whole ORDER BY id"), ["1|a", "2|b"]);

    // Asked again, what can be read is the same on both sides; more is not claimed.
    let refused = damaged.case.run("verify {source} --to {url} --json").exit(2);
    assert_eq!(refused.json()["error"]["code"], "source_damaged");
    let verdict = damaged.case.run("verify {source} --to {url} --json --salvage").exit(0);
    assert_eq!(verdict.json()["outcome"], "no_difference_found", "{verdict}");
    // And no --allow makes half a copy whole.
    let refused = damaged.migrate("--salvage --allow damage").exit(2);
    assert!(refused.stdout.contains("damage"), "{refused}");
}

/// The rowids that a message says cannot be read, as ranges.
fn said_to_be_lost(message: &str) -> Vec<(i64, i64)> {
    let Some(list) = message.split("rowids ").nth(1).map(|rest| rest.split([';', '(']).next().unwrap_or_default()) else {
        return Vec::new();
    };
    let range = |part: &str| {
        let numbers: Vec<i64> = part.split(' ').filter_map(|word| word.parse().ok()).collect();
        match (part, &numbers[..]) {
            ("all", _) => (i64::MIN, i64::MAX),
            (part, [last]) if part.starts_with("up to") => (i64::MIN, *last),
            (part, [first]) if part.starts_with("from") => (*first, i64::MAX),
            (_, [one]) => (*one, *one),
            (_, [.., first, last]) => (*first, *last),
            _ => panic!("{part} of {message}"),
        }
    };
    list.trim().split(", ").map(range).collect()
}

#[test]
fn whatever_a_page_has_suffered_every_lost_row_is_within_what_is_said() {
    type Harm = (&'static str, fn(&mut [u8], &[u8]));
    let harms: [Harm; 12] = [
        ("all", |page, _| page.fill(0)),
        ("header", |page, _| page[..8].fill(0)),
        ("kind", |page, _| page[0] = 2),
        ("fewer", |page, _| page[4] /= 2),
        ("none", |page, _| page[3..5].fill(0)),
        ("more", |page, _| page[4] += 9),
        ("pointers", |page, _| page[20..36].fill(0)),
        ("noise", |page, _| page[3000..3500].iter_mut().enumerate().for_each(|(place, byte)| *byte = b'A' + (place * 7 % 26) as u8)),
        ("cut", |page, _| page[2048..].fill(b' ')),
        ("swapped", |page, _| page[10..14].rotate_left(2)),
        ("other", |page, other| page.copy_from_slice(other)),
        ("rowid", |page, _| {
            let cell = usize::from(page[18]) << 8 | usize::from(page[19]);
            page[cell + 1] = 0xff;
        }),
    ];
    let table = |name: &str| {
        format!(
            "CREATE TABLE \"{name}\"(id INTEGER PRIMARY KEY, body TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
                 INSERT INTO \"{name}\" SELECT i * 3, printf('%.*c', 60 + i % 50, 'x') FROM n;"
        )
    };
    let sql: String = harms.iter().map(|(name, _)| table(name)).collect();
    let damaged = Damaged::new("harms", &format!("PRAGMA page_size = 4096; {sql} {}", table("sound")));
    let bytes = std::fs::read(damaged.case.source_path()).expect("read");
    let of = |page: u64| &bytes[((page - 1) * PAGE) as usize..(page * PAGE) as usize];
    for (name, harm) in harms {
        let leaves = damaged.pages(name, "leaf");
        // In the middle, and the last.
        for page in [leaves[6], leaves[leaves.len() - 1]] {
            let mut harmed = of(page).to_vec();
            harm(&mut harmed, of(leaves[2]));
            write_at(damaged.case.source_path(), (page - 1) * PAGE, &harmed);
        }
    }
    let salvaged = damaged.migrate("--salvage").exit(1).json();
    let warnings = salvaged["warnings"].as_array().expect("warnings");
    let of_table = |name: &str| warnings.iter().find(|warning| warning["object"] == name && warning["code"] == "source_damaged");
    assert!(of_table("sound").is_none(), "{salvaged}");
    assert_eq!(damaged.database.value("SELECT count(*) FROM sound"), "900");
    for (name, _) in harms {
        let message =
            of_table(name).unwrap_or_else(|| panic!("nothing of {name} in {salvaged}"))["message"].as_str().expect("a message").to_string();
        let said = said_to_be_lost(&message);
        let lost = format!("SELECT n * 3 FROM generate_series(1, 900) n WHERE NOT EXISTS (SELECT FROM \"{name}\" t WHERE t.id = n * 3)");
        let lost: Vec<i64> = damaged.database.rows(&lost).iter().map(|row| row.parse().expect("a rowid")).collect();
        for row in &lost {
            assert!(said.iter().any(|(first, last)| (first..=last).contains(&row)), "{name} has lost {row}: {message}");
        }
        // And the rows of all other pages are there.
        assert!(lost.len() < 120, "{name}: {} rows are lost: {message}", lost.len());
    }
    let message = of_table("all").expect("said")["message"].as_str().expect("a message");
    assert!(message.contains("(at most ") || message.contains(" on; page"), "{message}");
}

#[test]
fn a_value_that_an_index_contradicts_is_damage() {
    let harm = |damaged: &Damaged, btree: &str, old: &[u8], new: &[u8]| {
        let bytes = std::fs::read(damaged.case.source_path()).expect("read");
        let of_btree = |page: &u64| {
            let start = ((page - 1) * PAGE) as usize;
            let found = bytes[start..start + PAGE as usize].windows(old.len()).position(|bytes| bytes == old)?;
            Some((start + found) as u64)
        };
        let at = damaged.pages(btree, "leaf").iter().find_map(of_btree).expect("the value stands in a leaf");
        write_at(damaged.case.source_path(), at, new);
    };
    let (before, damaged) = (Database::fresh(), Damaged::new("a changed value", INDEXED));
    let again = Case::new("before it was changed").source_file(damaged.case.source_path()).database(&before);
    again.run("migrate {source} --to {url}").exit(0);
    harm(&damaged, "notes", b"at 1977", b"at 1978");
    damaged.is_refused("source_damaged");
    damaged.migrate("--dry-run").exit(2).stdout_has("its index notes_at has other values of 1 row (id 1977: at)");
    // Followed, what is wrong would take the place of what is right.
    again.run("migrate {source} --to {url} --refresh --yes --json").exit(2).stdout_has("source_damaged");
    assert_eq!(before.value("SELECT at FROM notes WHERE id = 1977"), "at 1977");
    let message = damaged.is_salvaged("notes");
    assert!(message.contains("its index notes_at has other values of 1 row, and those of the table are copied (id 1977: at)"), "{message}");
    assert_eq!(damaged.database.value("SELECT at FROM notes WHERE id = 1977"), "at 1978");

    // Which of the two is wrong cannot be known.
    let damaged = Damaged::new("a changed entry", INDEXED);
    harm(&damaged, "notes_at", b"at 1500", b"at 15zz");
    damaged.migrate("").exit(2).stdout_has("its index notes_at has other values of 1 row (id 1500: at)");

    // A row under another rowid is as many rows as before.
    let damaged = Damaged::new("a changed rowid", INDEXED);
    behind("%", damaged.case.source_path(), "UPDATE notes SET id = 5000 WHERE id = 1977");
    damaged.migrate("").exit(2).stdout_has("its index notes_at has 1 more (id 1977)");

    let sql =
        "CREATE TABLE pairs(a TEXT, b REAL, v TEXT COLLATE NOCASE, PRIMARY KEY(b DESC, a)) WITHOUT ROWID; CREATE INDEX pairs_v ON pairs(v);
               INSERT INTO pairs VALUES ('x', 1, 'one'), ('y', 2.5, 'twotwotwo'), ('z', -0.0, 'three');";
    Damaged::new("sound pairs", sql).migrate("").exit(0);
    let damaged = Damaged::new("a changed pair", sql);
    harm(&damaged, "pairs", b"twotwotwo", b"TWOTWOTWO");
    damaged.migrate("").exit(2).stdout_has("its index pairs_v has other values of 1 row (b 2.5, a y: v)");
}

#[test]
fn a_lost_inner_page_takes_its_own_part_only() {
    let mut sql = SOURCE.replace("i < 2000", "i < 40000");
    sql.push_str("CREATE INDEX notes_body ON notes(body);");
    let damaged = Damaged::new("a lost inner page", &sql);
    let inner = damaged.pages("notes", "internal");
    assert!(inner.len() > 2, "a tree of three levels: {inner:?}");
    damaged.zero(inner[1]);
    damaged.is_refused("source_damaged");
    let message = damaged.is_salvaged("notes");
    let rows: u64 = damaged.database.value("SELECT count(*) FROM notes").parse().expect("a number");
    assert!(rows > 5000 && rows < 40_000, "{rows}: {message}");
    assert!(message.contains(&format!("{} of 40000 rows", 40_000 - rows)), "{message}");
}

#[test]
fn a_row_whose_overflow_is_lost_takes_no_other_with_it() {
    let damaged = Damaged::new(
        "lost overflow",
        "PRAGMA page_size = 4096; CREATE TABLE big(id INTEGER PRIMARY KEY, b BLOB);
         INSERT INTO big VALUES (1, x'01'), (2, zeroblob(50000)), (3, x'03'), (4, zeroblob(50000)), (5, x'05');",
    );
    // The third page of the first chain: the link to the rest is gone.
    damaged.zero(damaged.pages("big", "overflow")[2]);
    damaged.is_refused("source_damaged");
    let message = damaged.is_salvaged("big");
    assert!(message.contains("rowids 2:"), "{message}");
    assert_eq!(damaged.database.rows("SELECT id, length(b) FROM big ORDER BY id"), ["1|1", "3|1", "4|50000", "5|1"]);
}

#[test]
fn a_table_in_the_order_of_its_key_is_read_from_both_ends() {
    let sql = SOURCE.replace(
        "CREATE TABLE notes(id INTEGER PRIMARY KEY, at TEXT NOT NULL UNIQUE, body TEXT)",
        "CREATE TABLE notes(id INTEGER, at TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID",
    );
    let damaged = Damaged::new("without rowid", &sql);
    let leaves = damaged.pages("notes", "leaf");
    damaged.zero(leaves[5]);
    damaged.is_refused("source_damaged");
    let message = damaged.is_salvaged("notes");
    assert!(message.contains("rows between the first"), "{message}");
    let holes = "SELECT count(*) FROM (SELECT id, lead(id, 1, 2001) OVER (ORDER BY id) AS next FROM notes) n WHERE next > id + 1";
    assert_eq!(damaged.database.value(holes), "1");
    assert_eq!(damaged.database.value("SELECT min(id) || ' ' || max(id) FROM notes"), "1 2000");
}

#[test]
fn a_table_without_rowids_is_read_from_the_other_end_whatever_the_order_of_its_key() {
    for key in ["id DESC", "at COLLATE NOCASE DESC, id", "at DESC, id DESC"] {
        let sql = SOURCE.replace(
            "CREATE TABLE notes(id INTEGER PRIMARY KEY, at TEXT NOT NULL UNIQUE, body TEXT)",
            &format!("CREATE TABLE notes(id INTEGER, at TEXT, body TEXT, PRIMARY KEY({key})) WITHOUT ROWID"),
        );
        let damaged = Damaged::new("other end", &sql);
        let leaves = damaged.pages("notes", "leaf");
        damaged.zero(leaves[5]);
        damaged.migrate("--salvage").exit(1);
        assert_eq!(
            damaged.database.value("SELECT count(*) = count(DISTINCT id) AND count(*) BETWEEN 1900 AND 1990 FROM notes"),
            "t",
            "{key}"
        );
        assert_eq!(damaged.database.value("SELECT min(id) || ' ' || max(id) FROM notes"), "1 2000", "{key}");
    }
}

#[test]
fn a_truncated_file_gives_what_is_left_of_it() {
    let damaged = Damaged::new("truncated", SOURCE);
    let length = std::fs::metadata(damaged.case.source_path()).expect("metadata").len();
    let file = OpenOptions::new().write(true).open(damaged.case.source_path()).expect("open");
    // `whole` was made last, and is in the last pages.
    let kept = damaged.pages("whole", "leaf")[0];
    drop(damaged.pages("notes", "leaf"));
    file.set_len((kept - 1) * PAGE).expect("truncate");
    assert!((kept - 1) * PAGE < length);
    drop(file);
    damaged.is_refused("source_truncated");
    let message = damaged.is_salvaged("whole");
    assert!(message.contains("0 rows are read; an unknown number of rows cannot be read"), "{message}");
    assert_eq!(damaged.database.value("SELECT count(*) FROM whole"), "0");
}

#[test]
fn damage_that_no_row_needs_is_no_damage() {
    // The index and the freelist: rows are read without either.
    let damaged = Damaged::new("index and freelist", &format!("{SOURCE} CREATE TABLE gone AS SELECT * FROM notes; DROP TABLE gone;"));
    damaged.zero(damaged.pages("sqlite_autoindex_notes_1", "leaf")[2]);
    let mut trunk = [0; 4];
    std::fs::File::open(damaged.case.source_path()).expect("open").read_exact_at(&mut trunk, 32).expect("the first page of the freelist");
    assert_ne!(u32::from_be_bytes(trunk), 0);
    damaged.zero(u64::from(u32::from_be_bytes(trunk)));
    let clean = damaged.migrate("").exit(0);
    assert_eq!(clean.json()["rows_written"], 2002, "{clean}");
    clean.json()["warnings"]
        .as_array()
        .expect("warnings")
        .iter()
        .find(|warning| warning["code"] == "index_damaged")
        .expect("a word on the index");
    assert_eq!(damaged.database.value("SELECT count(*) FROM notes"), "2000");
}

/// Runs statements while indexes of the file, by a pattern of LIKE, are out of SQLite's sight: they keep what the tables lose.
fn behind(indexes: &str, file: &Path, sql: &str) {
    let connection = Connection::open(file).expect("open");
    let hidden = format!(
        "CREATE TEMP TABLE seen AS SELECT * FROM main.sqlite_schema WHERE type = 'index' AND name LIKE '{indexes}';
         PRAGMA writable_schema = 1; DELETE FROM main.sqlite_schema WHERE type = 'index' AND name LIKE '{indexes}'; PRAGMA writable_schema = RESET;
         {sql};
         PRAGMA writable_schema = 1; INSERT INTO main.sqlite_schema SELECT * FROM temp.seen; PRAGMA writable_schema = RESET;"
    );
    connection.execute_batch(&hidden).expect("lose rows");
}

const INDEXED: &str =
    "CREATE TABLE notes(id INTEGER PRIMARY KEY, at TEXT, v TEXT); CREATE INDEX notes_at ON notes(at); CREATE INDEX notes_v ON notes(v);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO notes SELECT i, 'at ' || i, i % 7 FROM n;";

#[test]
fn a_row_that_only_an_index_still_has_is_damage() {
    let damaged = Damaged::new("a lost row", INDEXED);
    let (before, file) = (Database::fresh(), damaged.case.source_path());
    let again = Case::new("whole, and then not").source_file(file).database(&before);
    again.run("migrate {source} --to {url}").exit(0);
    behind("%", file, "DELETE FROM notes WHERE id IN (5, 1977)");
    damaged.is_refused("source_damaged");
    damaged.migrate("--dry-run").exit(2).stdout_has("it has 1998 rows, and its index notes_at has 2 more (id 5; id 1977)");
    // Followed, the source would have them deleted.
    again.run("migrate {source} --to {url} --refresh --yes --json").exit(2).stdout_has("source_damaged");
    assert_eq!(before.value("SELECT count(*) FROM notes"), "2000");
    let message = damaged.is_salvaged("notes");
    assert!(message.contains("1998 rows are read; its index notes_at has 2 more, which cannot be read (id 5; id 1977)"), "{message}");
    assert_eq!(damaged.database.value("SELECT count(*) FROM notes"), "1998");

    // Whichever of them it is that still has the row.
    for index in ["notes_at", "notes_v"] {
        let damaged = Damaged::new("lost but for one", INDEXED);
        behind(index, damaged.case.source_path(), "DELETE FROM notes WHERE id = 5");
        damaged.migrate("").exit(2).stdout_has(&format!("its index {index} has 1 more (id 5)"));
    }

    // The other way round no row is lost: the index is wrong, and that is said.
    let damaged = Damaged::new("a short index", INDEXED);
    behind("%", damaged.case.source_path(), "INSERT INTO notes VALUES (2001, 'new', 'x')");
    let clean = damaged.migrate("").exit(0);
    let note = "has 2000 entries for 2001 rows: it is damaged in SQLite";
    assert_eq!(clean.stdout.matches(note).count(), 2, "{clean}");
    assert_eq!(damaged.database.value("SELECT count(*) FROM notes"), "2001");

    // A table in the order of its key is an index itself; the others are held against it.
    let sql = "CREATE TABLE pairs(a TEXT, b INTEGER, v TEXT, PRIMARY KEY(b DESC, a)) WITHOUT ROWID; CREATE INDEX pairs_v ON pairs(v);
               INSERT INTO pairs VALUES ('x', 1, 'one'), ('y', 2, 'two'), ('z', 3, 'three');";
    let damaged = Damaged::new("a lost pair", sql);
    let file = damaged.case.source_path();
    let connection = Connection::open(file).expect("open");
    connection.execute_batch("CREATE TABLE copy(a TEXT, b INTEGER, v TEXT, PRIMARY KEY(b DESC, a)) WITHOUT ROWID; INSERT INTO copy SELECT * FROM pairs WHERE b <> 2;
        PRAGMA writable_schema = 1;
        UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'copy') WHERE name = 'pairs'; DELETE FROM sqlite_schema WHERE name = 'copy';").expect("lose a row");
    drop(connection);
    damaged.is_refused("source_damaged");
    let message = damaged.is_salvaged("pairs");
    assert!(message.contains("2 rows are read; its index pairs_v has 1 more, which cannot be read (b 2, a y)"), "{message}");
}

#[test]
fn a_definition_that_makes_no_sense_costs_only_its_own_table() {
    let damaged = Damaged::new("broken schema row", SOURCE);
    let connection = Connection::open(damaged.case.source_path()).expect("open");
    connection
        .execute_batch("PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = 'CREATE TALBE ' || x'ff' WHERE name = 'whole'")
        .expect("break it");
    drop(connection);
    damaged.is_refused("source_damaged");
    let message = damaged.is_salvaged("whole");
    assert!(message.contains("cannot be read"), "{message}");
    assert_eq!(damaged.database.value("SELECT count(*) FROM notes"), "2000");
    assert_eq!(damaged.database.value("SELECT to_regclass('whole') IS NULL"), "t");
}

#[test]
fn a_schema_that_cannot_be_told_is_no_empty_database() {
    // The encoding in the header: names and statements are nothing any more, and SQLite passes over them.
    let damaged = Damaged::new("encoding", SOURCE);
    write_at(damaged.case.source_path(), 56, &[0, 0, 0, 7]);
    damaged.is_refused("source_damaged");
    let message = damaged.is_salvaged("sqlite_schema");
    assert!(message.contains("an entry of the database's schema is damaged"), "{message}");
}

#[test]
fn pages_in_the_wrong_place_are_noticed() {
    let damaged = Damaged::new("a page written twice", SOURCE);
    let leaves = damaged.pages("notes", "leaf");
    let bytes = std::fs::read(damaged.case.source_path()).expect("read");
    let from = ((leaves[2] - 1) * PAGE) as usize;
    write_at(damaged.case.source_path(), (leaves[7] - 1) * PAGE, &bytes[from..from + PAGE as usize]);
    damaged.is_refused("source_damaged");
    damaged.is_salvaged("notes");
    assert_eq!(damaged.database.value("SELECT count(*) - count(DISTINCT id) FROM notes"), "0");
}

#[test]
fn an_encrypted_file_is_called_so_with_and_without_salvage() {
    let database = Database::fresh();
    let case = Case::new("encrypted").database(&database);
    let file = case.dir().join("secret.db");
    // As SQLCipher leaves it: nothing but noise, in whole pages.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(8192)
    .collect();
    std::fs::write(&file, noise).expect("write");
    let case = case.source_file(file);
    for flags in ["", " --salvage"] {
        let refused = case.run(&format!("migrate {{source}} --to {{url}} --json{flags}")).exit(2);
        assert_eq!(refused.json()["error"]["code"], "source_encrypted", "{refused}");
    }
}

#[test]
fn a_refresh_never_deletes_what_a_damaged_source_cannot_give() {
    let damaged = Damaged::new("salvage-refresh", SOURCE);
    damaged.migrate("").exit(0);
    let leaves = damaged.pages("notes", "leaf");
    leaves[5..8].iter().for_each(|page| damaged.zero(*page));
    for flags in ["--refresh --salvage --yes", "--refresh --salvage --dry-run", "--refresh --yes"] {
        let error = damaged.migrate(flags).exit(2).json()["error"].clone();
        assert_eq!(error["target_changed"], false, "{error}");
        if flags.contains("--salvage") {
            assert_eq!(error["code"], "refresh_of_damaged", "{error}");
        }
    }
    assert_eq!(damaged.database.value("SELECT count(*) FROM notes"), "2000");
}

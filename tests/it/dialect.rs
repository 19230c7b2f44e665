//! Is what `dialect` translates exact? The same rows in both engines, the same question to both, the same answer from both.

mod values;

use candlefish::dialect::translate::{self, Catalog, Default, Form, Relation, RelationColumn, Type};
use candlefish::model::{Affinity, Collation, Name, QualifiedName};
use rusqlite::types::ValueRef;

use crate::support::Session;

/// One table with a column of each kind, and rows that lie at the edges.
pub(crate) const TABLE: &str =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, m INTEGER NOT NULL, r REAL, p DECIMAL(10,2), s TEXT, e TEXT COLLATE NOCASE,
    z TEXT COLLATE RTRIM, b BOOLEAN, d DATE, ts DATETIME, k BLOB, g TEXT, f TEXT NOT NULL);
INSERT INTO t VALUES
    (1, 5, 1, 1.5, 2.5, 'Apple', 'Anna', 'x', 1, '2024-01-31', '2024-01-31 23:59:59', x'00ff', '5', 'a-b'),
    (2, -7, 0, -2.5, 3, 'apple', 'anna', 'x  ', 0, '2024-02-29', '2023-02-28 00:00:00', x'', ' 12 ', ''),
    (3, NULL, 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'user@host'),
    (4, 0, 4, 0.5, 0.1, '', 'ÉCLAIR', 'X', 1, '1999-12-31', '1999-12-31 12:30:45', x'41', 'abc', 'a%b_c\\d'),
    (5, 9007199254740993, 5, 1e10, 99.99, 'É10%_x\\y', 'éclair', ' x', 0, '2000-03-01', '2000-02-29 06:07:08', x'c3a9', '5.0', '[x]*?^-'),
    (6, 100, 2, 2.675, -1.005, 'a' || char(10) || 'b', 'B', 'y', 1, '2023-12-31', '2024-12-30 00:00:01', x'ff', '1e2', 'zz'),
    (7, 1, 1, -0.5, 7, '10', 'c', '', 0, '2024-01-01', '2024-01-01 00:00:00', x'31', '-0', 'O''Neil');";

pub(crate) const TARGET: &str = r#"CREATE TABLE t("id" bigint PRIMARY KEY, n bigint, m bigint NOT NULL, r double precision, p numeric, s text COLLATE "C",
    e text COLLATE "C", z text COLLATE "C", b boolean, d date, ts timestamp, k bytea, g text COLLATE "C", f text COLLATE "C" NOT NULL);
INSERT INTO t VALUES
    (1, 5, 1, 1.5, 2.5, 'Apple', 'Anna', 'x', true, '2024-01-31', '2024-01-31 23:59:59', '\x00ff', '5', 'a-b'),
    (2, -7, 0, -2.5, 3, 'apple', 'anna', 'x  ', false, '2024-02-29', '2023-02-28 00:00:00', '\x', ' 12 ', ''),
    (3, NULL, 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'user@host'),
    (4, 0, 4, 0.5, 0.1, '', 'ÉCLAIR', 'X', true, '1999-12-31', '1999-12-31 12:30:45', '\x41', 'abc', 'a%b_c\d'),
    (5, 9007199254740993, 5, 1e10, 99.99, 'É10%_x\y', 'éclair', ' x', false, '2000-03-01', '2000-02-29 06:07:08', '\xc3a9', '5.0', '[x]*?^-'),
    (6, 100, 2, 2.675, -1.005, E'a\nb', 'B', 'y', true, '2023-12-31', '2024-12-30 00:00:01', '\xff', '1e2', 'zz'),
    (7, 1, 1, -0.5, 7, '10', 'c', '', false, '2024-01-01', '2024-01-01 00:00:00', '\x31', '-0', 'O''Neil')"#;

fn column(name: &str, type_: Type) -> RelationColumn {
    RelationColumn::new(name, type_)
}

pub(crate) fn t() -> Relation {
    let mut columns = vec![
        column("id", Type::Integer),
        column("n", Type::Integer),
        column("m", Type::Integer),
        column("r", Type::Float),
        column("p", Type::Numeric),
        column("s", Type::Text),
        column("e", Type::Text),
        column("z", Type::Text),
        column("b", Type::Boolean),
        column("d", Type::Date),
        column("ts", Type::Timestamp),
        column("k", Type::Bytea),
        column("g", Type::Text),
        column("f", Type::Text),
    ];
    (columns[4].whole, columns[4].prints) = (true, true);
    columns[6].collation = Collation::NoCase;
    columns[7].collation = Collation::RTrim;
    for name in ["id", "m", "f"] {
        let not_null = columns.iter_mut().find(|column| column.source == name).unwrap();
        not_null.not_null = true;
    }
    relation("t", columns)
}

fn relation(name: &str, columns: Vec<RelationColumn>) -> Relation {
    let first = columns[0].source.clone();
    Relation {
        source: name.into(),
        target: QualifiedName::new("public", name),
        columns,
        primary_key: vec![first.clone()],
        rowid_alias: Some(first),
        left_out: Vec::new(),
        full_text: false,
        unwatched: true,
        checked: false,
        long_keys: Vec::new(),
        replaces_by: None,
    }
}

/// Whether PostgreSQL's text is SQLite's value.
pub(crate) fn agrees(value: ValueRef, text: &str) -> bool {
    match value {
        ValueRef::Null => text == "NULL",
        ValueRef::Integer(value) => {
            // Among reals, an integer beyond 2^53 is one of them.
            let alike = |there: f64| there == value as f64 || value.unsigned_abs() > 1 << 53 && (there / value as f64 - 1.0).abs() < 1e-15;
            text == format!("={value}") || text == if value == 1 { "=true" } else { "=false" } || real(text).is_some_and(alike)
        }
        // The last bits of a sum depend on its order.
        ValueRef::Real(value) => real(text).is_some_and(|there| there == value || (there - value).abs() <= value.abs() * 1e-14),
        ValueRef::Text(value) => text == format!("={}", String::from_utf8_lossy(value)),
        ValueRef::Blob(value) => text == format!("=\\x{}", value.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

fn real(text: &str) -> Option<f64> {
    text.strip_prefix('=')?.parse().ok()
}

/// Asks both engines for the rows of one SELECT; the differences, as sentences.
fn differences(source: &rusqlite::Connection, target: &Session, catalog: &Catalog, select: &str) -> Option<String> {
    let view = match translate::view(&format!("CREATE VIEW v AS {select}"), catalog, &QualifiedName::new("public", "v")) {
        Ok(view) => view,
        Err(error) => return Some(format!("{select}\n    is refused: {error}")),
    };
    if let Err(error) = target.try_rows(&view.sql) {
        return Some(format!("{select}\n    {}\n    is not accepted: {error}", view.sql));
    }
    let cells: Vec<String> =
        view.relation.columns.iter().map(|c| format!("CASE WHEN {0} IS NULL THEN 'NULL' ELSE '=' || {0}::text END", c.target)).collect();
    // One cell a row of the answer: texts may hold any separator.
    let answer = target.try_rows(&format!("SELECT unnest(array[{}]) FROM v", cells.join(", ")));
    target.execute("DROP VIEW v");
    let cell_rows = match answer {
        Ok(rows) => rows,
        Err(error) => return Some(format!("{select}\n    {}\n    gives no answer: {error}", view.sql)),
    };
    let mut statement = source.prepare(select).unwrap();
    let width = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut index = 0;
    let mut wrong = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        for column in 0..width {
            let value = row.get_ref(column).unwrap();
            let there = cell_rows.get(index).map_or("nothing", String::as_str);
            if !agrees(value, there) {
                wrong.push(format!("    row {} column {column}: {value:?} is {there}", index / width));
            }
            index += 1;
        }
    }
    if index != cell_rows.len() {
        wrong.push(format!("    {} rows are {}", index / width, cell_rows.len() / width));
    }
    if wrong.is_empty() { None } else { Some(format!("{select}\n    {}\n{}", view.sql, wrong.join("\n"))) }
}

pub(crate) fn source(sql: &str) -> rusqlite::Connection {
    let source = rusqlite::Connection::open_in_memory().unwrap();
    source.execute_batch(sql).unwrap();
    source
}

/// Expressions over `t`, one a line.
const EXPRESSIONS: &str = include_str!("dialect/expressions.sql");

#[test]
fn expressions_answer_alike() {
    let (source, target) = (source(TABLE), Session::fresh());
    target.execute(TARGET);
    let catalog = Catalog { relations: vec![t()] };
    let wrong: Vec<String> = EXPRESSIONS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("--"))
        .filter_map(|expr| differences(&source, &target, &catalog, &format!("SELECT id, {expr} AS x FROM t ORDER BY id")))
        .collect();
    assert!(wrong.is_empty(), "{} expressions differ:\n{}", wrong.len(), wrong.join("\n"));
}

const TABLES: &str = "CREATE TABLE c(id INTEGER PRIMARY KEY, parent INTEGER, name TEXT NOT NULL, tid INTEGER, code TEXT);
INSERT INTO c VALUES (1, NULL, 'root', 1, '1'), (2, 1, 'left', 1, '2'), (3, 1, 'right', 2, 'x'), (4, 2, 'leaf', 9, ' 4'), (5, NULL, 'Alone', NULL, NULL);";
const TARGET_TABLES: &str = r#"CREATE TABLE c(id bigint PRIMARY KEY, parent bigint, name text COLLATE "C" NOT NULL, tid bigint, code text COLLATE "C");
INSERT INTO c VALUES (1, NULL, 'root', 1, '1'), (2, 1, 'left', 1, '2'), (3, 1, 'right', 2, 'x'), (4, 2, 'leaf', 9, ' 4'), (5, NULL, 'Alone', NULL, NULL)"#;

fn c() -> Relation {
    let mut columns = vec![
        column("id", Type::Integer),
        column("parent", Type::Integer),
        column("name", Type::Text),
        column("tid", Type::Integer),
        column("code", Type::Text),
    ];
    columns[0].not_null = true;
    columns[2].not_null = true;
    relation("c", columns)
}

/// Whole SELECTs over `t` and `c`, each with an order, or of one row; a blank line between.
const SELECTS: &str = include_str!("dialect/selects.sql");

#[test]
fn selects_answer_alike() {
    let (source, target) = (source(&format!("{TABLE}{TABLES}")), Session::fresh());
    target.execute(&format!("{TARGET};{TARGET_TABLES}"));
    let catalog = Catalog { relations: vec![t(), c()] };
    let wrong: Vec<String> = SELECTS
        .split("\n\n")
        .map(str::trim)
        .filter(|select| !select.is_empty() && !select.starts_with("--"))
        .filter_map(|select| differences(&source, &target, &catalog, select))
        .collect();
    assert!(wrong.is_empty(), "{} selects differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Integers and texts in one column of numeric affinity; SELECTs over it, with an order or of one row.
const MIXED: &str = "CREATE TABLE x(id INTEGER PRIMARY KEY, code INTEGER_OR_TEXT, other INTEGER, name NUMERIC, s TEXT);
INSERT INTO x VALUES (1, 4326, 4326, 'WGS', '4326'), (2, 'ESRI:1', 7, 'Grs', 'esri:1'), (3, NULL, NULL, NULL, NULL), (4, -7, 0, 'x', '-7'),
    (5, ' 12 ', 12, 'y', '12'), (6, 'abc', 5, '0x10', 'abc');";
const TARGET_MIXED: &str = r#"CREATE TABLE x(id bigint PRIMARY KEY, code text COLLATE "C", other bigint, name text COLLATE "C", s text COLLATE "C");
INSERT INTO x VALUES (1, '4326', 4326, 'WGS', '4326'), (2, 'ESRI:1', 7, 'Grs', 'esri:1'), (3, NULL, NULL, NULL, NULL), (4, '-7', 0, 'x', '-7'),
    (5, '12', 12, 'y', '12'), (6, 'abc', 5, '0x10', 'abc')"#;

fn x() -> Relation {
    let mut columns = vec![
        column("id", Type::Integer),
        column("code", Type::Text),
        column("other", Type::Integer),
        column("name", Type::Text),
        column("s", Type::Text),
    ];
    (columns[1].form, columns[1].affinity, columns[3].affinity) = (Form::Mixed, Some(Affinity::Integer), Some(Affinity::Numeric));
    relation("x", columns)
}

#[test]
fn integers_and_texts_in_one_column_answer_alike() {
    let (source, target) = (source(MIXED), Session::fresh());
    target.execute(TARGET_MIXED);
    let catalog = Catalog { relations: vec![x()] };
    let expressions = [
        "code",
        "code = 4326",
        "code = '4326'",
        "code <> 'abc'",
        "code IS NOT -7",
        "code = other",
        "other = code",
        "code = name",
        "code IN (12, 'abc', '-7')",
        "code IN (SELECT other FROM x)",
        "other IN (SELECT code FROM x)",
        "length(code)",
        "code || '/' || other",
        "upper(code)",
        "substr(code, 2)",
        "code LIKE 'e%'",
        "code GLOB '[0-9]*'",
        "instr(code, '2')",
        "replace(code, '2', 'two')",
        "typeof(code)",
        "CAST(code AS INTEGER)",
        "CAST(code AS TEXT) = s",
        "coalesce(code, 'none')",
        "ifnull(code, other)",
        "ifnull(other, 'none')",
        "CASE WHEN other > 5 THEN other ELSE 'few' END",
        "CASE code WHEN 4326 THEN 'wgs' WHEN 'abc' THEN 'letters' ELSE code END",
        "coalesce(code, 'none') = s",
        "(SELECT code FROM x AS y WHERE y.id = x.id) = 4326",
        "hex(code)",
        "count(*) OVER (PARTITION BY other)",
        "code NOTNULL AND code != 5",
    ];
    let selects = [
        "SELECT code, count(*) FROM x GROUP BY code ORDER BY max(id)",
        "SELECT id, code FROM x UNION ALL SELECT 100 + id, name FROM x UNION ALL SELECT 9, 'nine' ORDER BY 1",
        "SELECT count(*) FROM (SELECT code FROM x UNION SELECT other FROM x)",
        "SELECT a.id, b.id FROM x AS a JOIN x AS b ON a.code = b.other ORDER BY 1, 2",
        "SELECT a.id, b.id FROM x AS a JOIN x AS b USING (code) ORDER BY 1, 2",
        "SELECT group_concat(code, '|') FROM x",
        "SELECT id FROM (SELECT id, code AS c FROM x UNION ALL SELECT id, other FROM x) WHERE c = 12 ORDER BY id",
    ];
    let expressions = expressions.map(|expr| format!("SELECT id, {expr} AS y FROM x ORDER BY id"));
    let all = expressions.iter().map(String::as_str).chain(selects);
    let wrong: Vec<String> = all.filter_map(|select| differences(&source, &target, &catalog, select)).collect();
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
    // What has another answer where all are texts is refused.
    for refused in [
        "code < 5",
        "code = s",
        "code = 1.5",
        "code + 1",
        "max(code)",
        "min(code, 'x')",
        "nullif(code, '')",
        "coalesce(code, s)",
        "coalesce(code, '5')",
        "ifnull(other, s)",
        "CASE WHEN id > 1 THEN code ELSE '7' END",
    ] {
        let select = format!("CREATE VIEW v AS SELECT {refused} AS y FROM x");
        assert!(translate::view(&select, &catalog, &QualifiedName::new("public", "v")).is_err(), "{refused}");
    }
    let select = "CREATE VIEW v AS SELECT code FROM x ORDER BY code";
    assert!(translate::view(select, &catalog, &QualifiedName::new("public", "v")).is_err());
}

#[test]
fn defaults_give_the_same_values() {
    let (source, target) = (source(""), Session::fresh());
    let cases = [
        ("INTEGER", Type::Integer, "bigint", "1+1"),
        ("INTEGER", Type::Integer, "bigint", "-5"),
        ("INTEGER", Type::Integer, "bigint", "0x10"),
        ("INTEGER", Type::Integer, "bigint", "'7'"),
        ("INTEGER", Type::Integer, "bigint", "true"),
        ("REAL", Type::Float, "double precision", "1"),
        ("REAL", Type::Float, "double precision", "-1.5e300"),
        ("REAL", Type::Float, "double precision", "9223372036854775807+1"),
        ("REAL", Type::Float, "double precision", "-9223372036854775807*3-1"),
        ("DECIMAL(5,2)", Type::Numeric, "numeric", "'12.50'"),
        ("BOOLEAN", Type::Boolean, "boolean", "0"),
        ("BOOLEAN", Type::Boolean, "boolean", "TRUE"),
        ("TEXT", Type::Text, "text", "'it''s \\ é'"),
        ("TEXT", Type::Text, "text", "\"dq\""),
        ("TEXT", Type::Text, "text", "bare"),
        ("TEXT", Type::Text, "text", "lower('X')"),
        ("TEXT", Type::Text, "text", "12"),
        ("TEXT", Type::Text, "text", "typeof(hex(randomblob(4))) || length(hex(randomblob(40)))"),
        ("TEXT", Type::Text, "text", "date('now','start of year','-1 month')"),
        ("DATE", Type::Date, "date", "CURRENT_DATE"),
        ("DATE", Type::Date, "date", "'2024-02-29'"),
        ("DATETIME", Type::Timestamp, "timestamp", "'2024-02-29 01:02:03'"),
        ("NUMERIC", Type::Text, "text", "date('now', 'start of year')"),
        ("BLOB", Type::Bytea, "bytea", "x'00Ff'"),
        ("TEXT", Type::Text, "text", "'x' || substr('89ab', 1 + abs(random()) % 1, 1)"),
    ];
    for (declared, type_, pg_type, sql) in cases {
        let Default::Sql(default) = translate::default_value(sql, &type_).unwrap_or_else(|error| panic!("{sql}: {error}")) else {
            panic!("{sql}")
        };
        let stands_bare = ["bare", "\"dq\""].contains(&sql);
        let written = if stands_bare { sql.to_string() } else { format!("({sql})") };
        source.execute_batch(&format!("CREATE TABLE d(id INT, x {declared} DEFAULT {written}); INSERT INTO d(id) VALUES (1)")).unwrap();
        target.execute(&format!("CREATE TABLE d(id int, x {pg_type} DEFAULT {default}); INSERT INTO d(id) VALUES (1)"));
        let there = target.value("SELECT '=' || x::text FROM d");
        let compare = |row: &rusqlite::Row<'_>| {
            assert!(agrees(row.get_ref(0)?, &there), "{sql}: {:?} is {there}", row.get_ref(0)?);
            Ok(())
        };
        source.query_row("SELECT x FROM d", [], compare).unwrap();
        source.execute_batch("DROP TABLE d").unwrap();
        target.execute("DROP TABLE d");
    }
}

/// Every statement after `--` of both sides, and the state that triggers leave behind.
#[test]
fn triggers_leave_the_same_rows() {
    let tables = "CREATE TABLE a(id INTEGER PRIMARY KEY, n INT, u TEXT, k INTEGER); CREATE TABLE log(id INTEGER PRIMARY KEY, what TEXT, aid INT, old INT, new INT);";
    let there = "CREATE TABLE a(id bigint PRIMARY KEY, n bigint, u text, k bigint);
        CREATE TABLE log(id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, what text, aid bigint, old bigint, new bigint);";
    let columns = |names: &[(&str, Type)]| names.iter().map(|(name, type_)| column(name, type_.clone())).collect::<Vec<_>>();
    let catalog = Catalog {
        relations: vec![
            relation("a", columns(&[("id", Type::Integer), ("n", Type::Integer), ("u", Type::Text), ("k", Type::Integer)])),
            relation(
                "log",
                columns(&[
                    ("id", Type::Integer),
                    ("what", Type::Text),
                    ("aid", Type::Integer),
                    ("old", Type::Integer),
                    ("new", Type::Integer),
                ]),
            ),
        ],
    };
    let triggers = [
        "CREATE TRIGGER touch AFTER UPDATE ON a BEGIN UPDATE a SET u = 'touched', k = k + 1 WHERE id = NEW.id; END",
        "CREATE TRIGGER logged AFTER UPDATE OF n ON a WHEN old.n IS NOT new.n BEGIN INSERT INTO log(what, aid, old, new) VALUES ('n', new.id, old.n, new.n); END",
        "CREATE TRIGGER born AFTER INSERT ON a BEGIN INSERT INTO log VALUES (NULL, 'born ' || new.id, new.id, NULL, new.n); END",
        "CREATE TRIGGER gone BEFORE DELETE ON a BEGIN SELECT CASE WHEN old.n > 90 THEN RAISE(ABORT, 'too big') END; SELECT RAISE(IGNORE) WHERE old.n = 80; DELETE FROM log WHERE aid = old.id; END",
        "CREATE TRIGGER checked BEFORE INSERT ON a WHEN new.n < 0 BEGIN SELECT RAISE(ABORT, 'below 0: it''s 100%') WHERE EXISTS (SELECT 1 FROM a) AND NOT EXISTS (SELECT 1 FROM log WHERE what = 'free'); END",
    ];
    let (source, target) = (source(tables), Session::fresh());
    target.execute(there);
    for sql in triggers {
        source.execute_batch(sql).unwrap();
        let name = sql.split(' ').nth(2).unwrap();
        for statement in
            translate::trigger(sql, &catalog, &Name::new(name), false).unwrap_or_else(|error| panic!("{sql}: {error}")).statements
        {
            target.execute(&statement);
        }
    }
    let steps = [
        "INSERT INTO a(id, n, k) VALUES (1, 1, 0), (2, 80, 0), (3, 99, 0), (4, NULL, 0)",
        "UPDATE a SET n = 2 WHERE id = 1",
        "UPDATE a SET n = n",
        "UPDATE a SET n = 5 WHERE id = 4",
        "DELETE FROM a WHERE id = 1",
        "DELETE FROM a WHERE id = 2",
    ];
    for step in steps {
        source.execute_batch(step).unwrap();
        target.execute(step);
        let rows = |table: &str, columns: &str| {
            let expression = columns.split(',').map(|column| format!("coalesce({column}, 0)")).collect::<Vec<_>>().join(" || ',' || ");
            let sql = format!("SELECT {expression} FROM {table} ORDER BY 1");
            let here: Vec<String> = source.prepare(&sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            (here, target.rows(&sql.replace("coalesce(u, 0)", "coalesce(u, '0')").replace("coalesce(what, 0)", "coalesce(what, '0')")))
        };
        for (table, columns) in [("a", "id,n,u,k"), ("log", "what,aid,old,new")] {
            let (here, there) = rows(table, columns);
            assert_eq!(here, there, "{table} after {step}");
        }
    }
    assert!(source.execute_batch("DELETE FROM a WHERE id = 3").is_err());
    let refused =
        "DO $$ BEGIN DELETE FROM a WHERE id = 3; RAISE 'not refused'; EXCEPTION WHEN integrity_constraint_violation THEN NULL; END $$";
    target.execute(refused);
    let refused = "DO $$ BEGIN INSERT INTO a(id, n) VALUES (9, -1); RAISE 'not refused'; EXCEPTION WHEN integrity_constraint_violation THEN
        ASSERT SQLERRM = 'below 0: it''s 100%'; END $$";
    target.execute(refused);
}

/// CHECKs, generated columns and indexes stand where PostgreSQL wants immutable expressions.
#[test]
fn table_expressions_are_accepted() {
    let target = Session::fresh();
    target.execute(TARGET);
    let t = t();
    for sql in [
        "s IN ('a','b')",
        "typeof(n)='integer'",
        "g GLOB '[a-z]*'",
        "length(s) > 2 AND n >= 0",
        "b IN (0,1)",
        "e = 'ANNA'",
        "json_valid(s)",
        "s IS NULL OR json_valid(s)",
        "n BETWEEN 1 AND 5 OR s IS NULL",
    ] {
        let check = translate::check(sql, &t).unwrap().sql;
        target.execute(&format!("ALTER TABLE t ADD CONSTRAINT x CHECK ({check}) NOT VALID; ALTER TABLE t DROP CONSTRAINT x"));
    }
    for (sql, type_, pg_type) in [
        ("n*2", Type::Integer, "bigint"),
        ("'x'||n", Type::Text, "text"),
        ("upper(s) || ifnull(e, '')", Type::Text, "text"),
        ("strftime('%Y-%m', ts)", Type::Text, "text"),
        ("date(ts, '+1 month')", Type::Date, "date"),
        ("substr(s, 1, instr(s, 'p') - 1)", Type::Text, "text"),
        ("CASE WHEN b THEN r * 2 ELSE 0 END", Type::Float, "double precision"),
        ("iif(n > 0, 'yes', 'no')", Type::Text, "text"),
        ("round(r, 2)", Type::Float, "double precision"),
    ] {
        let generated = translate::generated(sql, &t, &column("x", type_)).unwrap_or_else(|error| panic!("{sql}: {error}")).sql;
        target.execute(&format!("ALTER TABLE t ADD x {pg_type} GENERATED ALWAYS AS ({generated}) STORED; ALTER TABLE t DROP x"));
    }
    for (sql, collation) in [
        ("lower(s)", Collation::Binary),
        ("s", Collation::NoCase),
        ("n + m", Collation::Binary),
        ("date(ts)", Collation::Binary),
        ("n > 5", Collation::Binary),
    ] {
        let index = translate::index_expression(sql, &t, &collation, true).unwrap_or_else(|error| panic!("{sql}: {error}")).sql;
        target.execute(&format!("CREATE INDEX x ON t (({index})); DROP INDEX x"));
    }
    for sql in ["b = 0", "s IS NOT NULL AND n > 1", "e LIKE 'a%'", "ts >= '2024-01-01 00:00:00'", "m"] {
        let predicate = translate::index_predicate(sql, &t).unwrap_or_else(|error| panic!("{sql}: {error}")).sql;
        target.execute(&format!("CREATE INDEX x ON t (n) WHERE {predicate}; DROP INDEX x"));
    }
    let form = t.columns[10].form;
    assert_eq!((form, t.columns[10].affinity), (Form::Canonical, Some(Affinity::Numeric)));
}

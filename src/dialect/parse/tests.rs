//! What stored statements say, read back.

use proptest::prelude::*;

use super::*;

fn table(sql: &str) -> TableDdl {
    create_table(sql).unwrap()
}

#[test]
fn a_column_is_read_in_every_spelling() {
    let t = table(
        "create table IF NOT EXISTS main.[my t] (id INTEGER CONSTRAINT pk PRIMARY KEY DESC ON CONFLICT IGNORE AUTOINCREMENT, -- key, of course
         \"a\"\"b\" NATIVE CHARACTER (70) NOT NULL ON CONFLICT REPLACE DEFAULT 'it''s' COLLATE nocase, 'q' , `r` '' default -1.5e3 null,
         h int generated always as (id*2) stored, j as ('x'||id) /* , no */ VIRTUAL, k DOUBLE\tPRECISION DEFAULT ( lower(')') ), l DEFAULT \"dq\" UNIQUE)",
    );
    assert_eq!(t.name, "my t");
    let columns: Vec<(&str, &str, Option<&str>)> =
        t.columns.iter().map(|c| (c.name.as_str(), c.declared.as_str(), c.default.as_deref())).collect();
    assert_eq!(
        columns,
        [
            ("id", "INTEGER", None),
            ("a\"b", "NATIVE CHARACTER (70)", Some("'it''s'")),
            ("q", "", None),
            ("r", "", Some("-1.5e3")),
            ("h", "int", None),
            ("j", "", None),
            ("k", "DOUBLE\tPRECISION", Some("lower(')')")),
            ("l", "", Some("\"dq\"")),
        ]
    );
    let key = t.primary_key.unwrap();
    assert_eq!((key.name.as_deref(), key.conflict, key.columns[0].descending), (Some("pk"), Some(Conflict::Ignore), true));
    assert!(t.autoincrement);
    assert!(t.columns[1].not_null && t.columns[1].not_null_conflict == Some(Conflict::Replace));
    assert_eq!(t.columns[1].collation.as_deref(), Some("nocase"));
    assert_eq!(t.columns[4].generated, Some(Generated { expression: "id*2".into(), stored: true, unknown: None }));
    assert_eq!(t.columns[5].generated, Some(Generated { expression: "'x'||id".into(), stored: false, unknown: None }));
    assert_eq!(t.uniques[0].columns[0].column.as_deref(), Some("l"));
}

#[test]
fn constraints_are_read_wherever_they_stand() {
    let t = table(
        "CREATE TABLE t(a INT CONSTRAINT pos CHECK (a > 0 AND a IN (1,2)) CONSTRAINT fk REFERENCES p ON DELETE SET NULL, b,
         CONSTRAINT [] PRIMARY KEY (b COLLATE nocase DESC, a) CONSTRAINT u UNIQUE (a) ON CONFLICT FAIL CHECK(b <> ')')
         FOREIGN KEY (a, b) REFERENCES \"q\"(x, y) MATCH FULL ON UPDATE CASCADE ON DELETE NO ACTION DEFERRABLE INITIALLY DEFERRED) WITHOUT ROWID, STRICT;",
    );
    assert_eq!(t.checks[0], Check { name: Some("pos".into()), expression: "a > 0 AND a IN (1,2)".into() });
    assert_eq!(t.checks[1], Check { name: None, expression: "b <> ')'".into() });
    assert_eq!(t.foreign_keys[0].name.as_deref(), Some("fk"));
    assert_eq!((t.foreign_keys[0].on_delete, t.foreign_keys[0].parent_columns.len()), (ForeignKeyAction::SetNull, 0));
    let second = &t.foreign_keys[1];
    assert_eq!((second.columns.join(","), second.parent.as_str(), second.parent_columns.join(",")), ("a,b".into(), "q", "x,y".into()));
    assert!(second.deferrable && second.initially_deferred && second.on_update == ForeignKeyAction::Cascade);
    let key = t.primary_key.unwrap();
    assert_eq!(key.columns[0].collation.as_deref(), Some("nocase"));
    assert!(key.columns[0].descending && !key.columns[1].descending);
    assert_eq!(t.uniques[0].conflict, Some(Conflict::Fail));
    assert!(t.without_rowid && t.strict);
}

#[test]
fn virtual_tables_tell_their_module() {
    let t = table("CREATE VIRTUAL TABLE f36 USING fts5(body, tokenize = 'porter (x')");
    assert_eq!(t.module, Some(ModuleDdl { name: "fts5".into(), arguments: "body, tokenize = 'porter (x'".into() }));
    assert_eq!(table("CREATE VIRTUAL TABLE d USING dbstat").module.unwrap().arguments, "");
}

#[test]
fn an_index_keeps_columns_expressions_and_predicate() {
    let i = create_index(
        "CREATE UNIQUE INDEX ux ON [t](email COLLATE NOCASE DESC, lower(a) , \"b\" ASC, a || 'x' COLLATE rtrim) WHERE deleted=0",
    )
    .unwrap();
    let items: Vec<(Option<&str>, &str, Option<&str>, bool)> =
        i.items.iter().map(|x| (x.column.as_deref(), x.expression.as_str(), x.collation.as_deref(), x.descending)).collect();
    assert_eq!(
        items,
        [
            (Some("email"), "email", Some("NOCASE"), true),
            (None, "lower(a)", None, false),
            (Some("b"), "\"b\"", None, false),
            (None, "a || 'x'", Some("rtrim"), false),
        ]
    );
    assert_eq!((i.unique, i.table.as_str(), i.predicate.as_deref()), (true, "t", Some("deleted=0")));
}

#[test]
fn views_and_triggers_come_apart() {
    let v = create_view("CREATE VIEW v(a, \"b c\") AS SELECT 1, 2;").unwrap();
    assert_eq!((v.name.as_str(), v.columns, v.select.as_str()), ("v", vec!["a".to_string(), "b c".into()], "SELECT 1, 2"));
    let t = create_trigger(
        "CREATE TRIGGER tr AFTER UPDATE OF n, \"m\" ON t FOR EACH ROW WHEN new.n > CASE WHEN 1 THEN 2 END BEGIN UPDATE t SET u=1; SELECT 2; END",
    )
    .unwrap();
    assert_eq!(t.event, TriggerEvent::Update(vec!["n".into(), "m".into()]));
    assert_eq!((t.timing, t.when.as_deref()), (Timing::After, Some("new.n > CASE WHEN 1 THEN 2 END")));
    assert_eq!(t.body, "UPDATE t SET u=1; SELECT 2;");
    assert_eq!(create_trigger("CREATE TRIGGER i INSTEAD OF INSERT ON v BEGIN SELECT 1; END").unwrap().timing, Timing::InsteadOf);
}

#[test]
fn a_broken_statement_says_where() {
    assert_eq!(create_table("CREATE TABLE t(a INT CHECK(1").unwrap_err().to_string(), "at byte 28: expected ), found the end");
    assert!(create_trigger("CREATE TRIGGER t INSERT ON é BEGIN é").is_err());
    assert_eq!(table("CREATE TABLE t AS SELECT 1").as_select.as_deref(), Some("SELECT 1"));
}

/// However deep it nests, a statement is read on a small stack.
#[test]
fn depth_costs_no_stack() {
    let deep = format!("CREATE TABLE t(a CHECK ({}1{}))", "(".repeat(100_000), ")".repeat(100_000));
    let reader = std::thread::Builder::new().stack_size(128 * 1024).spawn(move || create_table(&deep).is_ok()).unwrap();
    assert!(reader.join().unwrap());
}

/// Statements of every kind, to be cut and mixed.
pub const CORPUS: [&str; 9] = [
    "CREATE TABLE \"a\"\"b\"(id INTEGER PRIMARY KEY AUTOINCREMENT, [x] DECIMAL(10,2) DEFAULT -1.5, `y` TEXT COLLATE NOCASE NOT NULL ON CONFLICT IGNORE)",
    "CREATE TABLE t(a CHECK (a IN ('x', 0x1F, 1_000, .5e-3)), b AS (a||'q') STORED, CONSTRAINT c FOREIGN KEY(a) REFERENCES p(q) ON DELETE SET NULL) WITHOUT ROWID",
    "CREATE VIRTUAL TABLE v USING fts5(a, tokenize='porter')",
    "CREATE UNIQUE INDEX i ON t(a DESC, lower(b) COLLATE RTRIM) WHERE a NOT NULL AND b LIKE 'x\\%' ESCAPE '\\'",
    "CREATE VIEW v(a,b) AS WITH RECURSIVE r(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM r WHERE n<9) SELECT t.*, count(DISTINCT n) FILTER (WHERE n>1) OVER (PARTITION BY a ORDER BY b DESC ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM r LEFT JOIN t USING(id) NATURAL JOIN u GROUP BY 1 HAVING max(n) ORDER BY 2 NULLS LAST LIMIT 3 OFFSET -1",
    "CREATE VIEW w AS SELECT CASE x WHEN 1 THEN 'a' ELSE NULL END, CAST(a AS TEXT), x BETWEEN 1 AND 2, j->>'$.a', (1,2) IN (SELECT 1,2), EXISTS(SELECT 1), x IS NOT DISTINCT FROM y, strftime('%Y-%m', 'now', '-1 day')",
    "CREATE TRIGGER tr BEFORE UPDATE OF a, b ON t WHEN new.a <> old.a BEGIN INSERT OR IGNORE INTO l(x) VALUES(new.a), (2) ON CONFLICT(x) DO UPDATE SET x=excluded.x; SELECT RAISE(ABORT, 'no') WHERE new.b ISNULL; DELETE FROM u WHERE id=old.id; UPDATE t SET (a,b)=(1,2) FROM u; END",
    "CREATE TRIGGER x INSTEAD OF INSERT ON v BEGIN REPLACE INTO t SELECT * FROM u; END",
    "CREATE TABLE e(a, b GENERATED ALWAYS AS (x'00ff' -> '$' << 2 & ~a | -b % 3) VIRTUAL, c DEFAULT (hex(randomblob(4))))",
];

/// A million cases under `CANDLEFISH_LONG`, some thousands otherwise.
pub fn cases() -> ProptestConfig {
    let long = std::env::var_os("CANDLEFISH_LONG").is_some();
    ProptestConfig { cases: if long { 1_000_000 } else { 4_000 }, failure_persistence: None, ..ProptestConfig::default() }
}

/// A piece of one statement, then of another, with a few odd characters between.
pub fn mutated() -> impl Strategy<Value = String> {
    let piece = (0..CORPUS.len(), 0.0..1.0, 0.0..1.0).prop_map(|(which, from, to)| {
        let text = CORPUS[which];
        let (from, to) = ((from * text.len() as f64) as usize, (to * text.len() as f64) as usize);
        text[from.min(to)..from.max(to)].to_string()
    });
    let head = (0..CORPUS.len(), 0.0..1.0).prop_map(|(which, to)| {
        let text = CORPUS[which];
        text[..(to * text.len() as f64) as usize].to_string()
    });
    (head, proptest::collection::vec(prop_oneof![4 => piece, 1 => ".{0,6}", 1 => "[-'\"`\\[\\](),;.x0-9e_ é]{0,6}"], 0..4))
        .prop_map(|(head, tail)| head + &tail.concat())
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn nothing_panics(sql in mutated()) {
        let _ = (create_table(&sql), create_index(&sql), create_view(&sql), create_trigger(&sql));
    }
}

//! Each translation, as a table of what SQLite says and what PostgreSQL is told.

use proptest::prelude::*;

use super::*;
use crate::dialect::parse::tests::{cases, mutated};
use crate::model::{ForeignKey, ForeignKeyAction};

fn users() -> Relation {
    let column = |name: &str, type_: Type| RelationColumn::new(name, type_);
    let mut columns = vec![
        column("id", Type::Integer),
        column("a", Type::Integer),
        column("active", Type::Boolean),
        column("Name", Type::Text),
        column("email", Type::Text),
        column("score", Type::Float),
        column("price", Type::Numeric),
        column("born", Type::Date),
        column("seen", Type::Timestamp),
        column("mixed", Type::Text),
        column("flag", Type::Boolean),
    ];
    columns[0].not_null = true;
    columns[4].collation = Collation::NoCase;
    columns[9].form = Form::Other;
    columns[10].form = Form::Other;
    Relation {
        source: "users".into(),
        target: QualifiedName::new("public", "users"),
        columns,
        primary_key: vec!["id".into()],
        rowid_alias: Some("id".into()),
        left_out: Vec::new(),
        full_text: false,
        unwatched: true,
        checked: false,
        long_keys: Vec::new(),
        replaces_by: None,
    }
}

fn checks(cases: &[(&str, &str)]) {
    for (sqlite, postgres) in cases {
        let translated = check(sqlite, &users()).unwrap_or_else(|error| panic!("{sqlite}: {error}"));
        assert_eq!(&translated.sql, postgres, "{sqlite}");
    }
}

#[test]
fn conditions() {
    checks(&[
        ("a == 1", r#""a" = 1"#),
        ("A <> 1 AND users.a != 2", r#"("a" <> 1) AND ("a" <> 2)"#),
        ("active", r#""active""#),
        ("active = 1", r#""active""#),
        ("active = 0", r#"NOT "active""#),
        ("active IN (0, 1)", r#""active"::integer IN (0, 1)"#),
        ("a", r#""a" <> 0"#),
        ("NOT a", r#"NOT ("a" <> 0)"#),
        ("a IS NOT 5", r#""a" IS DISTINCT FROM 5"#),
        ("name IN ('a', \"b\")", r#""Name" IN ('a', 'b')"#),
        ("[name] > 'm'", r#""Name" COLLATE "C" > 'm'"#),
        ("email = 'Ada@X.org'", r#"lower("email" COLLATE "C") = 'ada@x.org'"#),
        ("name LIKE 'a\\%'", r#"lower("Name" COLLATE "C") LIKE 'a\%' ESCAPE ''"#),
        ("name GLOB '[a-z]*'", r#""Name" ~ '^[a-z].*$'"#),
        ("typeof(a) = 'integer'", r#"CASE WHEN "a" IS NULL THEN 'null' ELSE 'integer' END = 'integer'"#),
        ("typeof(id) = 'integer'", "'integer' = 'integer'"),
        ("a / 2 > a % id", r#"("a" / 2) > ("a" % NULLIF("id", 0))"#),
        ("a = 'x'", r#"CASE WHEN "a" IS NOT NULL THEN FALSE END"#),
        ("name = 5", r#""Name" = '5'"#),
        ("born >= '2024-01-01'", r#""born" >= DATE '2024-01-01'"#),
        ("a IN ()", "FALSE"),
        ("rowid > 0", r#""id" > 0"#),
        ("json_valid(name)", r#""Name"::json IS NOT NULL OR "Name" IS NULL"#),
        ("name IS NULL OR json_valid(name)", r#"("Name" IS NULL) OR ("Name"::json IS NOT NULL OR "Name" IS NULL)"#),
        ("json_valid(name) AND a > 1", r#"("Name"::json IS NOT NULL OR "Name" IS NULL) AND ("a" > 1)"#),
    ]);
}

/// A column without a type keeps a number beside its texts, and apart from them; here it would be a text.
#[test]
fn what_holds_for_texts_alone_is_no_check() {
    let mut users = users();
    users.columns[3].affinity = Some(Affinity::Blob);
    for condition in ["name IS NOT 5", "name > 3", "a > 1 AND (name <> 5 OR name IS NULL)", "name IN (1, 2)", "name BETWEEN 1 AND 5"] {
        assert_eq!(check(condition, &users).unwrap_err().reason, format!("it {}", compare::OF_TEXTS), "{condition}");
    }
    for condition in ["CASE name WHEN 5 THEN 0 ELSE 1 END", "CASE WHEN name < 3 THEN a ELSE id END > 1"] {
        assert_eq!(check(condition, &users).unwrap_err().reason, format!("it {}", compare::OF_TEXTS), "{condition}");
    }
    assert!(check("name IS NOT 'x'", &users).is_ok() && check("a = 'x'", &users).is_ok() && check("email > 5", &users).is_ok());
}

#[test]
fn what_has_no_exact_form_says_why() {
    for (sqlite, reason) in [
        ("mixed = 'x'", "\"mixed\" holds values of several storage classes"),
        ("flag = 1", "SQLite holds \"flag\" in another form than PostgreSQL's type suggests"),
        ("name", "a text is used as a condition"),
        ("name REGEXP 'x'", "REGEXP is the application's own function"),
        ("strftime('%f', name) = '2024'", "fractions of seconds, which SQLite's versions round differently"),
        ("json_extract(name, '$.a')", "json_extract() may give a number here and a text there; PostgreSQL wants one type"),
        ("score || 'x' = '1.0x'", "SQLite and PostgreSQL print REAL differently"),
        ("price / a > 1", "a division is one of integers or of reals, row by row"),
        ("myfunc(a)", "PostgreSQL has no exact form of myfunc()"),
        ("name COLLATE unicase = 'x'", "the collation unicase is the application's own"),
        ("nosuch > 1", "no column is named nosuch"),
        ("json_valid(name) OR a > 1", "json_valid() in a condition that may hold without it"),
        ("a >", "its SQL could not be read at byte 3: expected an expression, found the end"),
    ] {
        assert_eq!(check(sqlite, &users()).unwrap_err().reason, reason, "{sqlite}");
    }
    assert!(generated("datetime('now')", &users(), &RelationColumn::new("x", Type::Text)).is_err());
    assert!(index_predicate("a > random()", &users()).is_err());
}

#[test]
fn indexes() {
    for (sqlite, postgres) in [
        ("lower(email)", r#"lower("email" COLLATE "C")"#),
        ("json_extract(name, '$.a.b[0]')", r#"("Name"::json #>> '{"a","b","0"}')"#),
        ("name ->> '$.k'", r#"("Name"::json #>> '{"k"}')"#),
        ("name ->> 'k'", r#"("Name"::json #>> '{"k"}')"#),
    ] {
        assert_eq!(index_expression(sqlite, &users(), &Collation::Binary, false).unwrap().sql, postgres, "{sqlite}");
    }
    assert_eq!(index_expression("name", &users(), &Collation::NoCase, true).unwrap().sql, r#"lower("Name" COLLATE "C")"#);
    assert!(index_expression("json_extract(name, '$.a')", &users(), &Collation::Binary, true).is_err());
}

#[test]
fn defaults() {
    for (sqlite, type_, postgres) in [
        ("0", Type::Boolean, "false"),
        ("true", Type::Boolean, "true"),
        ("'true'", Type::Boolean, "true"),
        ("0", Type::Integer, "0"),
        ("'5'", Type::Integer, "5"),
        ("1+1", Type::Integer, "1::bigint + 1"),
        ("1.0", Type::Integer, "1"),
        ("1", Type::Float, "1"),
        ("0.00", Type::Numeric, "0.0"),
        ("'it''s'", Type::Text, "'it''s'"),
        ("\"dq\"", Type::Text, "'dq'"),
        ("0", Type::Text, "'0'"),
        ("x'00FF'", Type::Bytea, "'\\x00ff'::bytea"),
        ("lower('X')", Type::Text, "lower('X' COLLATE \"C\")"),
        ("CURRENT_TIMESTAMP", Type::Timestamp, "date_trunc('second', (statement_timestamp() AT TIME ZONE 'UTC'))"),
        ("CURRENT_TIMESTAMP", Type::TimestampTz, "date_trunc('second', (statement_timestamp() AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC'"),
        ("strftime('%s','now')", Type::Integer, "floor(extract(epoch FROM (statement_timestamp() AT TIME ZONE 'UTC')))::bigint"),
        ("datetime('now','localtime')", Type::Timestamp, "date_trunc('second', statement_timestamp()::timestamp)"),
        ("'[]'", Type::Jsonb, "'[]'"),
        ("9223372036854775807+1", Type::Float, "9.223372036854776e18"),
    ] {
        assert_eq!(default_value(sqlite, &type_), Ok(Default::Sql(postgres.to_string())), "{sqlite}");
    }
    assert_eq!(default_value("null", &Type::Timestamp), Ok(Default::None));
    for (sqlite, type_) in [
        ("'abc'", Type::Integer),
        ("2", Type::Boolean),
        ("'2024-02-30'", Type::Date),
        ("''", Type::Timestamp),
        ("'{'", Type::Json),
        ("9223372036854775807+1", Type::Integer),
        ("9223372036854775807+length('a')", Type::Float),
    ] {
        assert!(default_value(sqlite, &type_).is_err(), "{sqlite}");
    }
}

#[test]
fn a_view_names_its_columns_as_sqlite_does() {
    let catalog = Catalog { relations: vec![users()] };
    let target = QualifiedName::new("public", "v");
    let view = view("CREATE VIEW v AS SELECT id, u.*, a+1, name AS Nick FROM users u WHERE nick == 'x'", &catalog, &target).unwrap();
    let names: Vec<&str> = view.relation.columns.iter().map(|column| column.source.as_str()).collect();
    assert_eq!(names, ["id", "id:1", "a", "active", "Name", "email", "score", "price", "born", "seen", "mixed", "flag", "a+1", "Nick"]);
    assert!(view.sql.ends_with(r#"FROM "public"."users" AS "u" WHERE "u"."Name" = 'x'"#), "{}", view.sql);
}

#[test]
fn a_view_tells_what_it_reads() {
    let sql = "CREATE VIEW v AS WITH x AS (SELECT * FROM a) SELECT (SELECT 1 FROM b) FROM x JOIN (c LEFT JOIN d USING (id)) WHERE id IN e UNION SELECT 1 FROM A";
    assert_eq!(view_dependencies(sql), ["a", "c", "d", "b", "e"]);
    assert!(view_dependencies("CREATE VIEW").is_empty());
}

#[test]
fn a_trigger_does_not_set_itself_off() {
    let catalog = Catalog { relations: vec![users()] };
    let sql = "CREATE TRIGGER touch AFTER UPDATE OF a ON users BEGIN UPDATE users SET seen = datetime('now') WHERE id = NEW.id; END";
    let statements = trigger(sql, &catalog, &Name::new("touch"), true).unwrap().statements;
    insta::assert_snapshot!(statements.join(";\n"), @r#"
    CREATE FUNCTION "public"."touch"() RETURNS trigger LANGUAGE plpgsql AS $candlefish$
    #variable_conflict use_column
    BEGIN
        IF current_setting('candlefish.trigger_d9d504d8db53e969', true) = 'on' THEN RETURN NULL; END IF; -- SQLite's triggers do not set themselves off
        PERFORM set_config('candlefish.trigger_d9d504d8db53e969', 'on', true);
        UPDATE "public"."users" AS "users" SET "seen" = date_trunc('second', (statement_timestamp() AT TIME ZONE 'UTC')) WHERE "users"."id" = NEW."id";
        PERFORM set_config('candlefish.trigger_d9d504d8db53e969', 'off', true);
        RETURN NULL;
    END
    $candlefish$;
    CREATE TRIGGER "touch" AFTER UPDATE OF "a" ON "public"."users" FOR EACH ROW EXECUTE FUNCTION "public"."touch"()
    "#);
}

/// The table of the failing views: a time in several spellings, texts and blobs in one column.
fn spelt() -> Relation {
    let mut columns = vec![
        RelationColumn::new("id", Type::Integer),
        RelationColumn::new("at", Type::Timestamp),
        RelationColumn::new("b", Type::Bytea),
        RelationColumn::new("j", Type::Jsonb),
        RelationColumn::new("u", Type::Text),
    ];
    (columns[1].form, columns[2].form, columns[3].form, columns[4].form) = (Form::Text, Form::Other, Form::Other, Form::Other);
    (columns[2].affinity, columns[4].affinity) = (Some(Affinity::Text), Some(Affinity::Blob));
    let key = vec!["id".to_string()];
    Relation { source: "g".into(), target: QualifiedName::new("public", "g"), columns, primary_key: key, ..users() }
}

#[test]
fn what_postgresql_would_take_for_one_value_is_not_grouped() {
    let catalog = Catalog { relations: vec![spelt()] };
    let made = |select: &str| view(&format!("CREATE VIEW v AS {select}"), &catalog, &QualifiedName::new("public", "v"));
    for select in [
        "SELECT at, count(*) FROM g GROUP BY at",
        "SELECT at, count(*) FROM g GROUP BY 1",
        "SELECT DISTINCT at FROM g",
        "SELECT DISTINCT * FROM (SELECT at FROM g)",
        "SELECT DISTINCT j FROM g",
        "SELECT u, count(*) FROM g GROUP BY u",
        "SELECT DISTINCT u FROM g",
        "SELECT b, count(*) FROM g GROUP BY b",
        "SELECT DISTINCT b FROM g",
        "SELECT b FROM g UNION SELECT b FROM g",
        "SELECT count(*) OVER (PARTITION BY b) FROM g",
        "SELECT rank() OVER (ORDER BY b) FROM g",
        "SELECT id FROM g WHERE b = x'31'",
        "SELECT x.id FROM g AS x JOIN g AS y USING (b)",
        "SELECT id FROM g WHERE b IN (SELECT b FROM g)",
        "SELECT id FROM g AS x WHERE EXISTS (SELECT 1 FROM g AS y WHERE y.b = x.b)",
        "SELECT length(b) FROM g",
    ] {
        let reason = made(select).map(|view| view.sql).expect_err(select).reason;
        assert!(
            ["several storage classes", "the spelling of", "in another form", "a blob is used as a text"]
                .iter()
                .any(|why| reason.contains(why)),
            "{select}: {reason}"
        );
    }
    // Beside the key of its row a column tells nothing apart.
    for select in ["SELECT id, at, count(*) FROM g GROUP BY id, at", "SELECT DISTINCT id, at, b FROM g", "SELECT at, b, u FROM g"] {
        assert!(made(select).is_ok(), "{select}: {:?}", made(select));
    }
}

#[test]
fn a_view_says_what_its_star_is_without() {
    let catalog = Catalog { relations: vec![Relation { left_out: vec!["secret".into()], ..spelt() }] };
    let lacking = |select: &str| view(&format!("CREATE VIEW v AS {select}"), &catalog, &QualifiedName::new("public", "v")).unwrap().lacking;
    assert_eq!(lacking("SELECT * FROM g"), ["g.secret"]);
    assert_eq!(lacking("SELECT x.*, 1 FROM g AS x JOIN g AS y ON x.id = y.id"), ["g.secret"]);
    assert!(lacking("SELECT id FROM g WHERE EXISTS (SELECT * FROM g)").is_empty());
}

#[test]
fn a_trigger_before_a_row_writes_no_row_that_may_be_the_same() {
    let catalog = Catalog { relations: vec![users(), spelt()] };
    let made = |sql: &str| trigger(&format!("CREATE TRIGGER x BEFORE {sql}; END"), &catalog, &Name::new("x"), true);
    for sql in [
        "UPDATE ON users BEGIN UPDATE users SET name = 'now' WHERE id = NEW.id",
        "UPDATE OF a ON users BEGIN DELETE FROM Users WHERE a = 5",
        "DELETE ON users BEGIN UPDATE users SET a = 1 WHERE id > OLD.id",
        "DELETE ON users BEGIN DELETE FROM users",
        "DELETE ON users BEGIN DELETE FROM users WHERE id <> OLD.id OR a = 1",
        "UPDATE ON users BEGIN INSERT INTO users(id, a) VALUES (NEW.id, 1) ON CONFLICT (id) DO UPDATE SET a = 2",
    ] {
        assert_eq!(made(sql).map(|made| made.fires).expect_err(sql).reason, OWN_ROWS, "{sql}");
    }
    for sql in ["INSERT ON users BEGIN UPDATE users SET a = 1", "DELETE ON users BEGIN DELETE FROM g WHERE id = OLD.id"] {
        assert!(made(sql).unwrap().notes.is_empty(), "{sql}");
    }
    let others = made("UPDATE ON users BEGIN UPDATE users SET a = 0 WHERE a = 1 AND users.id <> NEW.id").unwrap();
    assert!(others.notes[0].starts_with("writes other rows of its own table"), "{:?}", others.notes);
}

#[test]
fn triggers_that_come_back_through_others_are_known() {
    let triggers = [
        "CREATE TRIGGER a AFTER INSERT ON t BEGIN INSERT INTO u VALUES (1); END",
        "CREATE TRIGGER b AFTER INSERT ON U BEGIN UPDATE w SET x = 1; END",
        "CREATE TRIGGER c BEFORE UPDATE ON w BEGIN DELETE FROM T; END",
        "CREATE TRIGGER d BEFORE DELETE ON t BEGIN INSERT INTO u VALUES (1); END",
        "CREATE TRIGGER e BEFORE DELETE ON w BEGIN DELETE FROM u; END",
        "CREATE TRIGGER f AFTER DELETE ON u BEGIN INSERT INTO w VALUES (1); END",
    ];
    let cascade = Cascade::of(triggers.into_iter().map(Some), std::iter::empty());
    let backs: Vec<Option<Return>> = (0..7).map(|index| cascade.comes_back(index)).collect();
    assert_eq!(backs, [Some(Return::After), Some(Return::After), Some(Return::Before), Some(Return::Before), None, None, None]);
    // One that is not made sets off nothing.
    let mut cascade = Cascade::of(triggers.into_iter().map(|sql| (!sql.contains("TRIGGER c")).then_some(sql)), std::iter::empty());
    assert_eq!(cascade.comes_back(0), None);
    assert_eq!(cascade.comes_back(3), None);
    cascade.forget(1);
    assert_eq!(cascade.comes_back(1), None);
}

#[test]
fn triggers_that_come_back_through_foreign_keys_are_known() {
    let key = |on_delete, on_update| ForeignKey {
        name: None,
        columns: vec!["p".into()],
        parent: "Parent".into(),
        parent_columns: Vec::new(),
        on_update,
        on_delete,
        deferrable: false,
        initially_deferred: false,
    };
    let back = |trigger: &str, key: &ForeignKey| Cascade::of([Some(trigger)].into_iter(), [("child", key)].into_iter()).comes_back(0);
    let deletes = "CREATE TRIGGER a BEFORE DELETE ON child BEGIN DELETE FROM parent WHERE id = OLD.p; END";
    let updates = "CREATE TRIGGER b AFTER UPDATE ON child BEGIN UPDATE parent SET id = NEW.p WHERE id = OLD.p; END";
    assert_eq!(back(deletes, &key(ForeignKeyAction::Cascade, ForeignKeyAction::NoAction)), Some(Return::Before));
    assert_eq!(back(deletes, &key(ForeignKeyAction::SetNull, ForeignKeyAction::NoAction)), Some(Return::Before));
    assert_eq!(back(deletes, &key(ForeignKeyAction::Restrict, ForeignKeyAction::Cascade)), None);
    assert_eq!(back(updates, &key(ForeignKeyAction::Cascade, ForeignKeyAction::NoAction)), None);
    assert_eq!(back(updates, &key(ForeignKeyAction::NoAction, ForeignKeyAction::SetDefault)), Some(Return::After));
}

/// A tree as deep as the parser lets through, on a stack half as large as a thread's.
#[test]
fn depth_is_bounded() {
    let nests = ["(", "NOT ", "-", "abs(", "a + (", "CASE WHEN ", "a IN (", "(SELECT ", "a = ", "1 || (2 + ", "EXISTS (SELECT "];
    for nest in nests {
        let deep = format!("CREATE VIEW v AS SELECT {}a FROM users", nest.repeat(5_000));
        let chain = format!("CREATE VIEW v AS SELECT a{} FROM users", " = a".repeat(5_000));
        let closed = |count: usize| {
            let close = match nest.matches('(').count() {
                0 => "",
                _ => ")",
            };
            let tail = if nest.starts_with("CASE") { " THEN 1 END" } else { close };
            format!("CREATE VIEW v AS SELECT {}a{} FROM users", nest.repeat(count), tail.repeat(count))
        };
        let near = format!("CREATE VIEW v AS SELECT a{} FROM users", " + a".repeat(76));
        let all =
            [deep, chain, near, closed(5), closed(9), closed(12), closed(28), closed(29), closed(38), closed(59), closed(78), closed(79)];
        let work = move || {
            let catalog = Catalog { relations: vec![users()] };
            all.iter().map(|sql| view(sql, &catalog, &QualifiedName::new("public", "v")).is_ok()).collect::<Vec<_>>()
        };
        std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap().join().unwrap();
    }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn nothing_panics(sql in mutated()) {
        let catalog = Catalog { relations: vec![users(), Relation { source: "t".into(), ..users() }] };
        let target = QualifiedName::new("public", "x");
        let _ = (view(&sql, &catalog, &target), trigger(&sql, &catalog, &Name::new("x"), false), view_dependencies(&sql));
        let rest = sql.get(15..).unwrap_or("");
        let _ = (check(rest, &users()), default_value(rest, &Type::Text), index_expression(rest, &users(), &Collation::Binary, false));
    }
}

//! `candlefish verify` against a real PostgreSQL. The copy is made by hand, so that nothing of `migrate` can hide what it did.

use candlefish::digest::{AsIs, Layout, SourceDigester, TargetDigester};
use candlefish::model::{TypeKind, Value};
use candlefish::plan::convert::Conversion;
use candlefish::plan::{CopyColumn, CopyMap};
use candlefish::postgres::{Address, CopyRows, Fields, Journal, RunRecord, connect, read_schema};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Case, Database, Output};

/// A source, its copy, and the journal that says which is which.
struct Copy {
    case: Case,
    database: Database,
}

impl Copy {
    /// Both sides made by statements; every table of the target is a copy of the source's of the same name.
    fn new(name: &str, source: &str, target: &str) -> Self {
        let database = Database::fresh();
        database.execute(target);
        write_journal(&database.url());
        Copy { case: Case::new(name).source_sql(source).database(&database), database }
    }

    /// One script that both databases understand.
    fn same(name: &str, script: &str) -> Self {
        Copy::new(name, script, script)
    }

    fn verify(&self, flags: &str) -> Output {
        self.case.run(&format!("verify {{source}} {{url}} --json {flags}"))
    }

    /// The differences of the one table, after the other side was changed.
    fn differences(&self, change: &str) -> serde_json::Value {
        self.database.execute(change);
        let document = self.verify("").exit(1).json();
        assert_eq!(document["outcome"], "different");
        document["tables"][0]["differences"].clone()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future)
}

/// A run that copied every table column by column.
fn write_journal(url: &str) {
    block_on(async {
        let mut client = connect(&Address::parse(url, "a test").unwrap()).await.unwrap();
        let maps: Vec<(CopyMap, bool)> = read_schema(&client, "public")
            .await
            .unwrap()
            .tables
            .iter()
            .map(|table| {
                let name = table.name.name.as_str().to_string();
                let column = |column: &candlefish::plan::target::TargetColumn| CopyColumn {
                    source: column.name.as_str().to_string(),
                    target: column.name.as_str().to_string(),
                    sql_type: column.column_type.sql.to_string(),
                    conversion: Conversion::new(column.column_type.kind.clone()),
                    computed: false,
                };
                let columns = table.columns.iter().map(column).collect();
                (CopyMap { source: name.clone(), schema: "public".into(), target: name, columns, ..CopyMap::default() }, true)
            })
            .collect();
        let record = RunRecord {
            run_id: "by-hand".into(),
            source: "source.db".into(),
            target_schema: "public".into(),
            status: "clean".into(),
            settings: json!({}),
        };
        Journal::open(&client).await.unwrap();
        let transaction = client.transaction().await.unwrap();
        Journal::start(&transaction, &record, &(), maps).await.unwrap();
        transaction.commit().await.unwrap();
    });
}

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, name text, total double precision);
    INSERT INTO orders VALUES (1, 'ann', 7.5), (2, 'bob', NULL), (3, NULL, 0.25), (4, 'dan', 1e300);";

#[test]
fn a_copy_is_identical() {
    let copy = Copy::same("identical", ORDERS);
    let document = copy.verify("").exit(0).json();
    assert_eq!(document["outcome"], "identical");
    assert_eq!(document["differences_total"], 0);
    let table = &document["tables"][0];
    assert_eq!((&table["source_rows"], &table["target_rows"], &table["identical"]), (&json!(4), &json!(4), &json!(true)));
    assert_eq!(table["source_digest"], table["target_digest"]);
    assert!(table["source_digest"].as_str().unwrap().len() > 32);
    copy.case.run("verify {source} {url}").exit(0).stdout_has("orders            4            4          0  identical");
    copy.case.run("verify {source} {url} --format csv").exit(0).stdout_has("orders,\"\"\"public\"\".\"\"orders\"\"\",4,4,0,true,0,");
    let sampled = copy.verify("--sample 50%").exit(0).json();
    assert_eq!((&sampled["outcome"], &sampled["tables"][0]["identical"]), (&json!("no_difference_found"), &json!(null)));
}

#[test]
fn a_changed_a_deleted_and_an_added_row_are_named() {
    let copy = Copy::same("three changes", ORDERS);
    let change = "UPDATE orders SET name = 'Ann' WHERE id = 1;
        DELETE FROM orders WHERE id = 2; INSERT INTO orders VALUES (9, 'zoe', 1)";
    assert_eq!(
        copy.differences(change),
        json!([
            {"key": {"id": 1}, "kind": "changed", "columns": [{"column": "name", "source": "ann", "target": "Ann"}]},
            {"key": {"id": 2}, "kind": "missing", "columns": []},
            {"key": {"id": 9}, "kind": "extra", "columns": []},
        ])
    );
    copy.case
        .run("verify {source} {url}")
        .exit(1)
        .stdout_has("3 differences")
        .stdout_has("  id=1  changed  name    'ann'   'Ann'\n  id=2  missing\n  id=9  extra\n");
    let limited = copy.verify("--limit 1").exit(1).json();
    assert_eq!((&limited["differences_total"], limited["tables"][0]["differences"].as_array().unwrap().len()), (&json!(3), 1));
}

#[test]
fn minus_zero_is_not_zero() {
    let copy = Copy::same("minus zero", "CREATE TABLE f (id INTEGER PRIMARY KEY, x double precision); INSERT INTO f VALUES (1, 0.0);");
    let changed = copy.differences("UPDATE f SET x = '-0'");
    assert_eq!(changed[0]["columns"].to_string(), r#"[{"column":"x","source":0.0,"target":-0.0}]"#);
}

#[test]
fn one_byte_in_200_000_rows_is_found() {
    let copy = Copy::new(
        "one byte",
        "CREATE TABLE logs (id INTEGER PRIMARY KEY, at TEXT, message TEXT, n INTEGER);
         WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 200000)
         INSERT INTO logs SELECT i, datetime(1700000000 + i, 'unixepoch'), 'message ' || i || ' ' || hex(i), i * 7 FROM r;",
        "CREATE TABLE logs (id bigint PRIMARY KEY, at timestamp, message text, n int);
         INSERT INTO logs SELECT i, timestamp 'epoch' + (1700000000 + i) * interval '1 second',
             'message ' || i || ' ' || upper(encode(i::text::bytea, 'hex')), i * 7 FROM generate_series(1, 200000) i;",
    );
    copy.verify("").exit(0);
    assert_eq!(
        copy.differences("UPDATE logs SET message = overlay(message placing 'M' from 1) WHERE id = 123456"),
        json!([{"key": {"id": 123456}, "kind": "changed",
            "columns": [{"column": "message", "source": "message 123456 313233343536", "target": "Message 123456 313233343536"}]}])
    );
    copy.database.execute("UPDATE logs SET n = n + 1");
    let all = copy.verify("--limit 2 --jobs 1").exit(1).json();
    assert_eq!((&all["differences_total"], &all["differences_exact"]), (&json!(200_000), &json!(true)));
}

#[test]
fn keys_of_every_shape() {
    let composite = Copy::same(
        "composite",
        "CREATE TABLE c (a text, b integer, v text, PRIMARY KEY (b, a)); INSERT INTO c VALUES ('x', 1, 'p'), ('y', 1, 'q'), ('x', 2, 'r');",
    );
    assert_eq!(
        composite.differences("UPDATE c SET v = 'Q' WHERE a = 'y'"),
        json!([{"key": {"b": 1, "a": "y"}, "kind": "changed", "columns": [{"column": "v", "source": "q", "target": "Q"}]}])
    );
    let rows = "INSERT INTO w VALUES ('k1', 1), ('k2', 2);";
    let without_rowid = Copy::new(
        "without rowid",
        &format!("CREATE TABLE w (k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID; {rows}"),
        &format!("CREATE TABLE w (k text, v bigint); {rows}"),
    );
    assert_eq!(
        without_rowid.differences("UPDATE w SET v = NULL WHERE k = 'k2'; INSERT INTO w VALUES ('k1', 1)"),
        json!([
            {"key": {"k": "k1"}, "kind": "extra", "columns": []},
            {"key": {"k": "k2"}, "kind": "changed", "columns": [{"column": "v", "source": 2, "target": null}]},
        ]),
        "a row that stands twice is found too"
    );
}

#[test]
fn without_a_key_rows_count_as_often_as_they_stand() {
    let copy = Copy::same("no key", "CREATE TABLE n (a text, b integer); INSERT INTO n VALUES ('x', 1), ('x', 1), ('x', 1), (NULL, NULL);");
    copy.verify("").exit(0);
    assert_eq!(
        copy.differences("DELETE FROM n WHERE ctid = '(0,1)'; INSERT INTO n VALUES (NULL, 0)"),
        json!([
            {"key": {"a": "x", "b": 1}, "kind": "missing", "columns": []},
            {"key": {"a": null, "b": 0}, "kind": "extra", "columns": []},
        ])
    );
}

#[test]
fn equal_meaning_is_equal_however_it_is_written() {
    let copy = Copy::new(
        "meanings",
        r#"CREATE TABLE m (id INTEGER PRIMARY KEY, n, j TEXT, b, t TEXT, c TEXT, i TEXT, u);
           INSERT INTO m VALUES (1, '7.50', '{"b": 1.0, "a": [1e2]}', 'text', '2024-01-01T05:30:00+05:30', 'ab', '1 day', x'00112233445566778899aabbccddeeff'),
               (2, 7.5, 'null', x'ff00', '2024-01-01', '', '25:00', '00112233-4455-6677-8899-aabbccddeeff'), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL);"#,
        r#"CREATE TABLE m (id int, n numeric, j jsonb, b bytea, t timestamptz, c character(4), i interval, u uuid);
           SET timezone = 'UTC';
           INSERT INTO m VALUES (1, 7.5, '{"a": [100], "b": 1.0}', 'text', '2024-01-01', 'ab', '24:00:00'::interval - '24:00:00' + '1 day', '00112233-4455-6677-8899-aabbccddeeff'),
               (2, 7.500, 'null', '\xff00', '2024-01-01', '', '25 hours', '00112233-4455-6677-8899-aabbccddeeff'), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL);"#,
    );
    copy.verify("").exit(0);
    assert_eq!(
        copy.differences("UPDATE m SET i = '26 hours', t = t + interval '1 microsecond', n = 7.51 WHERE id = 2"),
        json!([{"key": {"id": 2}, "kind": "changed", "columns": [
            {"column": "n", "source": 7.5, "target": serde_json::from_str::<serde_json::Value>("7.51").unwrap()},
            {"column": "t", "source": "2024-01-01", "target": "2024-01-01 00:00:00.000001+00"},
            {"column": "i", "source": "25:00", "target": "PT26H"},
        ]}])
    );
}

#[test]
fn rows_that_were_set_aside_are_no_differences_unless_strict() {
    let copy = Copy::new(
        "set aside",
        "CREATE TABLE s (id INTEGER PRIMARY KEY, n, v TEXT); INSERT INTO s VALUES (1, 5, 'a'), (2, 'lots', 'b'), (3, 7, 'c');",
        "CREATE TABLE s (id int PRIMARY KEY, n int, v text); INSERT INTO s VALUES (1, 5, 'a');",
    );
    let rejects = copy.case.dir().join("rejects");
    std::fs::create_dir(&rejects).unwrap();
    let line = json!({"table": "s", "key": {"id": 3}, "column": null, "reason": "a check", "sqlstate": "23514",
        "row": {"id": {"type": "integer", "value": 3}, "n": {"type": "integer", "value": 7}, "v": {"type": "text", "value": "c"}}});
    std::fs::write(rejects.join("s.jsonl"), format!("{line}\n")).unwrap();
    let document = copy.verify("--rejects {dir}/rejects").exit(0).json();
    assert_eq!((&document["tables"][0]["rows_set_aside"], &document["outcome"]), (&json!(2), &json!("identical")));
    let unknown = copy.verify("").exit(1).json();
    assert_eq!(unknown["tables"][0]["differences"], json!([{"key": {"id": 3}, "kind": "missing", "columns": []}]));
    let strict = copy.verify("--strict --rejects {dir}/rejects").exit(1).json();
    assert_eq!(strict["differences_total"], 2);
    assert_eq!(
        strict["tables"][0]["differences"],
        json!([{"key": {"id": 2}, "kind": "missing", "columns": [{"column": "n", "source": "lots", "target": null}]}])
    );
}

#[test]
fn what_is_gone_is_said() {
    let script = "CREATE TABLE a (id INTEGER PRIMARY KEY, x text, y text); CREATE TABLE b (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1, 'x', 'y');";
    let copy = Copy::same("gone", script);
    copy.database.execute("DROP TABLE b; ALTER TABLE a DROP COLUMN y");
    let document = copy.verify("").exit(1).json();
    assert_eq!(document["differences_total"], 2);
    assert_eq!(document["tables"][0]["problems"], json!(["column \"y\" is not in PostgreSQL"]));
    assert_eq!(document["tables"][1]["problems"], json!(["table \"public\".\"b\" is not in PostgreSQL"]));
    assert_eq!(document["tables"][1]["target_rows"], json!(null));
    copy.case.run("verify {source} {url}").exit(1).stdout_has("table \"public\".\"b\" is not in PostgreSQL");
    copy.verify("--include a --exclude b").exit(1);
    copy.verify("--include nothing*").exit(2).stderr_has("matches no table");
}

#[test]
fn without_a_run_tables_are_matched_as_migrate_would() {
    let database = Database::fresh();
    let case = Case::new("no run")
        .source_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t VALUES (1, 'a');")
        .database(&database);
    database.execute("CREATE TABLE t (id int PRIMARY KEY, x varchar(5)); INSERT INTO t VALUES (1, 'a')");
    case.run("verify {source} {url}").exit(0).stderr_has("no run of migrate has written into schema \"public\"");
    database.execute("UPDATE t SET x = 'b'");
    let document = case.run("verify {source} {url} --json").exit(1).json();
    assert_eq!(document["tables"][0]["differences"][0]["columns"], json!([{"column": "x", "source": "a", "target": "b"}]));
    // What does not fit the target was set aside by nobody: it is missing.
    database.execute("UPDATE t SET x = 'a'; INSERT INTO t VALUES (3, 'own')");
    rusqlite::Connection::open(case.source_path()).unwrap().execute_batch("INSERT INTO t VALUES (2, 'too long')").unwrap();
    let document = case.run("verify {source} {url} --json").exit(1).json();
    // Nor has any kept a row that is in the target alone.
    let differences = json!([
        {"key": {"id": 2}, "kind": "missing", "columns": [{"column": "x", "source": "too long", "target": null}]},
        {"key": {"id": 3}, "kind": "extra", "columns": []},
    ]);
    assert_eq!((&document["tables"][0]["differences"], &document["differences_total"]), (&differences, &json!(2)), "{document}");
    database.execute("DROP TABLE t");
    case.run("verify {source} {url}").exit(1).stdout_has("table \"public\".\"t\" is not in PostgreSQL");
    case.run("verify {dir}/none.db {url}").exit(2).stderr_has("none.db");
    assert_eq!(database.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'candlefish'"), [""; 0], "asking changes nothing");
}

/// Whoever writes into the journal again because the word of its commit was lost writes the same once.
#[test]
fn what_a_refresh_lost_is_in_the_journal_once() {
    let database = Database::fresh();
    write_journal(&database.url());
    database.execute("UPDATE candlefish.run SET settings = '{\"refresh\": true, \"losses\": [\"b\", \"a\"]}'");
    block_on(async {
        let client = connect(&Address::parse(&database.url(), "a test").unwrap()).await.unwrap();
        Journal::open(&client).await.unwrap();
        for lost in [json!(["c", "a"]), json!(["c", "a"]), json!([])] {
            Journal::note(&client, "by-hand", &json!({"losses": lost})).await.unwrap();
        }
    });
    assert_eq!(database.value("SELECT settings::jsonb -> 'losses' FROM candlefish.run"), r#"["b", "a", "c"]"#);
}

/// A value as SQLite may hold it, and the literal that means the same to PostgreSQL.
#[derive(Clone, Debug)]
enum Held {
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Held {
    fn value(&self) -> Value<'_> {
        match self {
            Held::Integer(integer) => Value::Integer(*integer),
            Held::Real(real) => Value::Real(*real),
            Held::Text(text) => Value::Text(text.as_bytes()),
            Held::Blob(blob) => Value::Blob(blob),
        }
    }

    fn literal(&self) -> String {
        match self {
            Held::Integer(integer) => format!("'{integer}'"),
            Held::Real(real) => format!("'{real:?}'"),
            Held::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Held::Blob(blob) => format!("'\\x{}'", blob.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        }
    }
}

/// Whether both sides mean the same, by what PostgreSQL itself says of each literal.
fn agree(sql_type: &str, kind: TypeKind, held: &[Held]) {
    static DATABASE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let url = DATABASE.get_or_init(|| crate::support::addresses().database_url_of("postgres"));
    let column = CopyColumn {
        source: "c".into(),
        target: "c".into(),
        sql_type: sql_type.into(),
        conversion: Conversion::new(kind),
        computed: false,
    };
    let map = CopyMap { source: "t".into(), schema: "public".into(), target: "t".into(), columns: vec![column], ..CopyMap::default() };
    let layout = Layout::new(&map, &[]);
    let mut source = SourceDigester::new(&map, &layout, &["c"]).unwrap();
    let mut target = TargetDigester::new(&map, &layout);
    let values: Vec<String> = held.iter().map(|held| format!("({}::{sql_type})", held.literal())).collect();
    let statement = format!("COPY (VALUES {}) TO STDOUT (FORMAT binary)", values.join(", "));
    block_on(async {
        let client = connect(&Address::parse(url, "a test").unwrap()).await.unwrap();
        client.batch_execute("SET timezone = 'UTC'").await.unwrap();
        let mut rows = CopyRows::open(&client, &statement).await.unwrap();
        for held in held {
            let row = rows.next().await.unwrap().unwrap();
            let theirs = target.row(Fields::of(&row)).unwrap();
            let ours = source.row(|_| held.value(), &mut AsIs);
            assert_eq!(ours, Ok(theirs), "{held:?} as {sql_type}: {:?}", &row[..]);
        }
    });
}

fn many(one: impl Strategy<Value = Held>) -> impl Strategy<Value = Vec<Held>> {
    prop::collection::vec(one, 100)
}

/// Year, month, day, and a time of day with an offset.
type Moment = (i64, u32, u32, String);

fn moments() -> impl Strategy<Value = Moment> {
    let zone = prop::sample::select(vec!["", "Z", "+00", "-03:30", "+1400", " UTC"]);
    (1i64..10_000, 1u32..13, 1u32..29, (0u32..24, 0u32..60, 0u32..60, 0u32..1_000_000, zone)).prop_map(|(year, month, day, rest)| {
        let (hour, minute, second, micros, zone) = rest;
        (year, month, day, format!("{hour:02}:{minute:02}:{second:02}.{micros:06}{zone}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn numbers_mean_what_postgresql_says(
        integers in many(any::<i64>().prop_map(Held::Integer)),
        reals in many((-1e307f64..1e307).prop_map(Held::Real)),
        bits in many(any::<u64>().prop_map(f64::from_bits).prop_filter("a number", |real| real.is_finite()).prop_map(Held::Real)),
        decimals in many("(-?[1-9][0-9]{0,29}|0)(\\.[0-9]{0,20})?(e-?[0-9]{1,2})?".prop_map(Held::Text)),
        shorts in many(any::<i16>().prop_map(|short| Held::Integer(short.into()))),
    ) {
        agree("bigint", TypeKind::Int8, &integers);
        agree("numeric", TypeKind::NUMERIC, &integers);
        agree("smallint", TypeKind::Int2, &shorts);
        agree("integer", TypeKind::Int4, &shorts);
        agree("real", TypeKind::Float4, &shorts);
        agree("double precision", TypeKind::Float8, &bits);
        agree("numeric", TypeKind::NUMERIC, &reals);
        agree("numeric", TypeKind::NUMERIC, &bits);
        agree("numeric", TypeKind::NUMERIC, &decimals);
    }

    #[test]
    fn times_mean_what_postgresql_says(moments in prop::collection::vec(moments(), 100)) {
        let date = |(year, month, day, _): &Moment| format!("{year:04}-{month:02}-{day:02}");
        let texts = |text: &dyn Fn(&Moment) -> String| moments.iter().map(|moment| Held::Text(text(moment))).collect::<Vec<_>>();
        agree("date", TypeKind::Date, &texts(&date));
        agree("time", TypeKind::Time, &texts(&|moment| moment.3[..15].to_string()));
        agree("timestamp", TypeKind::Timestamp, &texts(&|moment| format!("{}T{}", date(moment), &moment.3[..15])));
        agree("timestamptz", TypeKind::TimestampTz, &texts(&|moment| format!("{} {}", date(moment), moment.3)));
        agree("timestamptz", TypeKind::TimestampTz, &texts(&date));
    }

    #[test]
    fn texts_and_bytes_mean_what_postgresql_says(
        texts in many("[^\\x00]{0,40}".prop_map(Held::Text)),
        blobs in many(prop::collection::vec(any::<u8>(), 0..40).prop_map(Held::Blob)),
        uuids in many("[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".prop_map(Held::Text)),
        json in many(json().prop_map(|json| Held::Text(json.to_string()))),
        bools in many(prop::sample::select(vec!["t", "f", "TRUE", "no", "off", "1"]).prop_map(|text| Held::Text(text.into()))),
    ) {
        agree("text", TypeKind::TEXT, &texts);
        // Blanks at the end are not kept there, and such texts not copied.
        let texts: Vec<Held> = texts.into_iter().filter(|held| !matches!(held, Held::Text(text) if text.ends_with(' '))).collect();
        agree("character(40)", TypeKind::Char { chars: 40 }, &texts);
        agree("bytea", TypeKind::Bytea, &blobs);
        agree("uuid", TypeKind::Uuid, &uuids);
        agree("json", TypeKind::Json, &json);
        agree("jsonb", TypeKind::Jsonb, &json);
        agree("boolean", TypeKind::Bool, &bools);
    }
}

/// Any JSON but what `jsonb` would change.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|truth| json!(truth)),
        any::<i64>().prop_map(|integer| json!(integer)),
        (-1e9f64..1e9).prop_map(|real| json!(real)),
        "[^\\x00]{0,10}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::Array),
            // A key with an escape is set aside: it may equal another.
            prop::collection::btree_map("[a-zé]{0,6}", inner, 0..5).prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

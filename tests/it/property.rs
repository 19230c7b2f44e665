//! Any schema, any values: what SQLite can hold arrives whole, or is set aside and said.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rusqlite::types::Value;

use crate::support::{Case, Database, long};

/// Types as people declare them, and as nobody should.
const DECLARED: [&str; 36] = [
    "INTEGER",
    "INT",
    "BIGINT",
    "SMALLINT",
    "TINYINT(1)",
    "UNSIGNED BIG INT",
    "TEXT",
    "VARCHAR(5)",
    "CHAR(3)",
    "NVARCHAR(100)",
    "CLOB",
    "REAL",
    "DOUBLE",
    "FLOAT",
    "NUMERIC",
    "DECIMAL(10,2)",
    "DECIMAL(5,0)",
    "MONEY",
    "BOOLEAN",
    "BOOL",
    "DATE",
    "DATETIME",
    "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE",
    "TIME",
    "BLOB",
    "VARBINARY(16)",
    "JSON",
    "JSONB",
    "UUID",
    "GUID",
    "",
    "ANY",
    "STRING",
    "whatever (3, 4)",
    "POINT",
];

const NAMES: [&str; 14] =
    ["id", "Order", "select", "user", "a b", "quote\"d", "it's", "ünïcødé", "ctid", "$1", "x.y", "Ärger", "UPPER", "back\\slash"];

/// Texts that something might mistake for something else.
const TEXTS: [&str; 40] = [
    "",
    " ",
    "0",
    "1",
    "-1",
    "t",
    "f",
    "true",
    "False",
    "yes",
    "NULL",
    "null",
    "\\N",
    "\\.",
    "'",
    "\"",
    "\\",
    "a\tb\r\nc",
    "2024-01-02",
    "2024-01-02 03:04:05",
    "2024-01-02T03:04:05.123Z",
    "2024-01-02 03:04:05+05:30",
    "0000-00-00",
    "2024-02-30",
    "24:00:00",
    "12:34:56",
    "infinity",
    "now",
    "{\"a\":1}",
    "[1e400]",
    "{\"a\":1,\"a\":2}",
    "\"\\u0000\"",
    "00112233-4455-6677-8899-aabbccddeeff",
    "1e5",
    "0x10",
    "١٢",
    "é\u{301}",
    "\u{feff}x",
    "🂡",
    "nan",
];

fn value() -> impl Strategy<Value = Value> {
    let special = [0, 1, -1, 2, 1_700_000_000, 1_700_000_000_123, i64::MAX, i64::MIN, (1 << 53) + 1, 2_147_483_648];
    let reals = [0.0, -0.0, 0.1, 1.5, -2.0, 1e300, 5e-324, f64::INFINITY, f64::NEG_INFINITY, 1_700_000_000.123_456, 1.0 / 3.0, 9.3e18];
    prop_oneof![
        3 => Just(Value::Null),
        4 => prop::sample::select(special.to_vec()).prop_map(Value::Integer),
        2 => any::<i64>().prop_map(Value::Integer),
        3 => prop::sample::select(reals.to_vec()).prop_map(Value::Real),
        1 => any::<f64>().prop_filter("SQLite keeps no NaN", |real| !real.is_nan()).prop_map(Value::Real),
        6 => prop::sample::select(TEXTS.to_vec()).prop_map(|text| Value::Text(text.to_string())),
        2 => any::<String>().prop_map(Value::Text),
        2 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Blob),
    ]
}

#[derive(Clone, Debug)]
struct Column {
    declared: &'static str,
    rest: &'static str,
    /// Which values it draws from: most columns keep to one or two, as real ones do.
    values: Vec<Value>,
    /// The table whose `k` it references, whatever either of them holds.
    parent: Option<prop::sample::Index>,
}

fn column() -> impl Strategy<Value = Column> {
    let rest = prop::sample::select(vec![
        "",
        "",
        "",
        "",
        " DEFAULT 0",
        " DEFAULT 'x'",
        " DEFAULT CURRENT_TIMESTAMP",
        " COLLATE NOCASE",
        " DEFAULT (1+1)",
    ]);
    let parent = prop::option::weighted(0.2, any::<prop::sample::Index>());
    (prop::sample::select(DECLARED.to_vec()), rest, prop::collection::vec(value(), 1..5), parent)
        .prop_map(|(declared, rest, values, parent)| Column { declared, rest, values, parent })
}

#[derive(Clone, Debug)]
struct Table {
    columns: Vec<Column>,
    key: &'static str,
    rows: usize,
}

fn table() -> impl Strategy<Value = Table> {
    let key = prop::sample::select(vec![
        "INTEGER PRIMARY KEY",
        "INTEGER PRIMARY KEY AUTOINCREMENT",
        "INTEGER",
        "TEXT PRIMARY KEY",
        "BLOB",
        "INT PRIMARY KEY",
    ]);
    (prop::collection::vec(column(), 1..9), key, 0usize..12).prop_map(|(columns, key, rows)| Table { columns, key, rows })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Makes the tables in SQLite; returns how many rows they hold.
fn make(source: &std::path::Path, tables: &[Table]) -> u64 {
    let connection = rusqlite::Connection::open(source).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    let mut rows = 0;
    let name_of = |number: usize| quoted(&format!("{} {number}", NAMES[number % NAMES.len()]));
    for (number, table) in tables.iter().enumerate() {
        let name = name_of(number);
        let columns: Vec<String> = table
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let parent = column.parent.map(|parent| format!(" REFERENCES {}(k)", name_of(parent.index(tables.len()))));
                format!("{} {}{}{}", quoted(NAMES[1 + place]), column.declared, column.rest, parent.unwrap_or_default())
            })
            .collect();
        connection.execute_batch(&format!("CREATE TABLE {name} (k {}, {})", table.key, columns.join(", "))).unwrap();
        let marks = vec!["?"; table.columns.len() + 1].join(", ");
        for row in 0..table.rows {
            let mut values = vec![Value::Integer(row as i64 * 7 - 3)];
            values.extend(table.columns.iter().map(|column| column.values[row % column.values.len()].clone()));
            connection.execute(&format!("INSERT INTO {name} VALUES ({marks})"), rusqlite::params_from_iter(values)).unwrap();
            rows += 1;
        }
    }
    rows
}

#[test]
fn any_table_arrives_whole_or_says_what_did_not() {
    let cases = if long() { 150 } else { 6 };
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() });
    let run = |tables: Vec<Table>| {
        let database = Database::fresh();
        let case = Case::new("property");
        let source = case.dir().join("any.db");
        let rows = make(&source, &tables);
        let case = case.source_file(source).database(&database);
        let output = case.run("migrate {source} {url} --json --rejects {dir}/rejects");
        prop_assert!(matches!(output.code, Some(0 | 1)), "{output}");
        let report = output.json();
        prop_assert_eq!(report["rows_read"].as_u64(), Some(rows), "{}", output);
        let (written, rejected) = (report["rows_written"].as_u64().unwrap(), report["rows_rejected"].as_u64().unwrap());
        prop_assert_eq!(written + rejected, rows, "{}", output);
        prop_assert!(report["outcome"] != "mismatch", "{output}");
        for table in report["tables"].as_array().unwrap() {
            prop_assert_eq!(&table["verified"], &serde_json::json!(true), "{}", output);
            let there: u64 = database.value(&format!("SELECT count(*) FROM {}", table["target"].as_str().unwrap())).parse().unwrap();
            prop_assert_eq!(Some(there), table["rows_written"].as_u64());
        }
        // Every foreign key is there, or it is said that it is not; and none costs a row.
        let keys = tables.iter().flat_map(|table| &table.columns).filter(|column| column.parent.is_some()).count();
        let made: usize = database
            .value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace")
            .parse()
            .unwrap();
        let lost = report["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "foreign_key_missing").count();
        prop_assert_eq!(made + lost, keys, "{}", output);
        let is_bad_text = |reason: &str| reason.contains("the text is not valid UTF-8") || reason.contains("the text contains a NUL");
        if let Ok(folder) = std::fs::read_dir(case.dir().join("rejects")) {
            let files =
                folder.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
            for file in files {
                let text = std::fs::read_to_string(file).unwrap();
                for line in text.lines() {
                    let row: serde_json::Value = serde_json::from_str(line).unwrap();
                    // A derived type holds every value but text that PostgreSQL cannot hold.
                    prop_assert!(is_bad_text(row["reason"].as_str().unwrap()), "{}\n{}", line, output);
                }
            }
        }
        Ok(())
    };
    runner.run(&prop::collection::vec(table(), 12), run).unwrap();
}

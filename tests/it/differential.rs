//! Odd expressions, made by chance from a seed: whatever `dialect` translates must answer alike in both engines.
//!
//! What it refuses is no loss here (migrate lists it); a wrong answer is. Tried where they stand: as a column of a view, as its WHERE, as the
//! key of a group, inside an aggregate.

use candlefish::dialect::translate::{self, Catalog, Type};
use candlefish::model::QualifiedName;
use rusqlite::types::ValueRef;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::dialect::{TABLE, TARGET, agrees, source, t};
use crate::support::{Database, long};

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) >> 11) as usize) % end
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const COLUMNS: &[&str] = &["id", "n", "m", "r", "p", "s", "e", "z", "b", "d", "ts", "k", "g", "f"];
const LITERALS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "100",
    "0.5",
    "-2.5",
    "1e10",
    "NULL",
    "''",
    "'a'",
    "'Apple'",
    "'anna'",
    "'5'",
    "' 12 '",
    "'1e2'",
    "'abc'",
    "'%a_'",
    "'2024-01-31'",
    "'2024-02-29 06:07:08'",
    "'é'",
    "x'00ff'",
    "x'41'",
    "TRUE",
    "FALSE",
];
const BINARY: &[&str] = &[
    "+", "-", "*", "/", "%", "||", "&", "|", "<<", ">>", "=", "==", "<>", "!=", "<", "<=", ">", ">=", "IS", "IS NOT", "LIKE", "NOT LIKE",
    "GLOB", "AND", "OR",
];
const ONE: &[&str] = &[
    "abs",
    "length",
    "lower",
    "upper",
    "trim",
    "ltrim",
    "rtrim",
    "hex",
    "typeof",
    "round",
    "quote",
    "unicode",
    "sign",
    "date",
    "time",
    "datetime",
    "julianday",
    "likely",
    "char",
    "ceil",
    "floor",
    "sqrt",
];
const TWO: &[&str] =
    &["coalesce", "ifnull", "nullif", "max", "min", "instr", "substr", "trim", "ltrim", "rtrim", "round", "pow", "mod", "printf"];
/// min() and max() stand elsewhere: of texts alike under a collation each engine gives some one.
const AGGREGATES: &[&str] = &["count", "sum", "avg", "total", "group_concat", "count(DISTINCT ", "sum(DISTINCT "];

fn expression(chance: &mut Chance, depth: usize) -> String {
    if depth == 0 || chance.below(8) == 0 {
        return match chance.below(3) {
            0 => chance.of(LITERALS).to_string(),
            _ => chance.of(COLUMNS).to_string(),
        };
    }
    let mut inner = || expression(chance, depth - 1);
    let (a, b, c) = (inner(), inner(), inner());
    match chance.below(17) {
        16 => {
            let (number, text) = (chance.of(&["n", "m", "id", "7", "b", "p"]), chance.of(&["'none'", "'few'", "s", "'12'", "d"]));
            match chance.below(4) {
                0 => format!("{}({number}, {text})", chance.of(&["coalesce", "ifnull"])),
                1 => format!("CASE WHEN {a} THEN {number} ELSE {text} END"),
                2 => format!("iif({a}, {text}, {number})"),
                _ => format!("CASE {number} WHEN 1 THEN {text} WHEN 5 THEN {number} END"),
            }
        }
        0..=4 => format!("({a} {} {b})", chance.of(BINARY)),
        5 | 6 => format!("{}({a})", chance.of(ONE)),
        7 | 8 => format!("{}({a}, {b})", chance.of(TWO)),
        9 => format!("{}({a}, {b}, {c})", chance.of(&["substr", "replace", "coalesce", "iif", "max", "min"])),
        10 => format!("CASE WHEN {a} THEN {b} ELSE {c} END"),
        11 => format!("CASE {a} WHEN {b} THEN {c} END"),
        12 => format!("CAST({a} AS {})", chance.of(&["INTEGER", "TEXT", "REAL", "NUMERIC", "BLOB"])),
        13 => format!("({}{a})", chance.of(&["-", "NOT ", "~", "+"])),
        14 => format!("({a} {} ({b}, {c}))", chance.of(&["IN", "NOT IN"])),
        _ => match chance.below(4) {
            0 => format!("({a} BETWEEN {b} AND {c})"),
            1 => format!("({a} {})", chance.of(&["ISNULL", "NOTNULL", "COLLATE NOCASE", "COLLATE RTRIM"])),
            2 if chance.below(2) == 0 => format!("{}({a}, 'unixepoch')", chance.of(&["date", "datetime", "time"])),
            2 => format!("strftime({}, {a})", chance.of(&["'%Y-%m'", "'%s'", "'%H:%M'", "'%w'", "'%j'"])),
            _ => format!(
                "{}({a}, {})",
                chance.of(&["date", "datetime"]),
                chance.of(&["'+1 day'", "'start of month'", "'-1 month'", "'weekday 0'"])
            ),
        },
    }
}

fn select(chance: &mut Chance) -> String {
    let depth = 1 + chance.below(3);
    let a = expression(chance, depth);
    if chance.below(3) == 0 {
        return wider(chance, &a);
    }
    match chance.below(8) {
        0 => format!("SELECT id FROM t WHERE {a} ORDER BY id"),
        1 => {
            let b = expression(chance, 1);
            format!("SELECT {a} AS x, count({b}) AS y FROM t GROUP BY 1 ORDER BY min(id)")
        }
        2 if !a.contains(['e', 'z']) && chance.below(3) == 0 => format!("SELECT {}({a}) AS x FROM t", chance.of(&["min", "max"])),
        2 => {
            let aggregate = chance.of(AGGREGATES);
            let open = if aggregate.contains('(') { "" } else { "(" };
            format!("SELECT {aggregate}{open}{a}) AS x FROM t")
        }
        3 => format!("SELECT id FROM t ORDER BY {a}, id"),
        4 => format!("SELECT count(*) AS x FROM (SELECT DISTINCT {a} AS y FROM t)"),
        _ => format!("SELECT id, {a} AS x FROM t ORDER BY id"),
    }
}

/// Over more than the rows of one table: joins, subqueries, windows, compounds, common table expressions.
fn wider(chance: &mut Chance, a: &str) -> String {
    let (b, n) = (expression(chance, 1), chance.below(4));
    let columns: [&str; 2] = [chance.of(COLUMNS), chance.of(COLUMNS)];
    let [c, d] = columns;
    match chance.below(17) {
        0 => format!(
            "SELECT x.id, y.id AS other FROM t AS x {} t AS y ON x.{c} = y.{d} ORDER BY x.id, y.id",
            chance.of(&["JOIN", "LEFT JOIN"])
        ),
        1 => format!("SELECT x.id AS i, y.id AS j FROM t AS x JOIN t AS y USING ({c}) ORDER BY 1, 2"),
        2 => format!("SELECT id, {c} IN (SELECT {d} FROM t AS y WHERE y.id <> {n}) AS x FROM t ORDER BY id"),
        3 => format!("SELECT id, (SELECT count({a}) FROM t WHERE id > {n}) AS x FROM t ORDER BY id"),
        4 => format!(
            "SELECT id, EXISTS (SELECT 1 FROM t AS y WHERE y.{c} {} t.{d}) AS x FROM t ORDER BY id",
            chance.of(&["=", "<", ">=", "IS"])
        ),
        5 => format!("SELECT id, {a} AS x FROM t UNION ALL SELECT id + 100, {b} FROM t ORDER BY id"),
        6 => {
            format!("SELECT count(*) AS n FROM (SELECT {a} AS x FROM t {} SELECT {b} FROM t)", chance.of(&["UNION", "EXCEPT", "INTERSECT"]))
        }
        7 => format!(
            "SELECT id, {} OVER (ORDER BY {c}, id) AS x FROM t ORDER BY id",
            chance.of(&["row_number()", "count(*)", "sum(n)", "lag(s)", "first_value(id)", "min(r)", "total(m)"])
        ),
        8 => format!("SELECT id, count({a}) OVER (PARTITION BY {c}) AS x FROM t ORDER BY id"),
        9 => format!(
            "WITH w(x, id) AS (SELECT {a}, id FROM t WHERE id <> {n}) SELECT id, x, {} FROM w ORDER BY id",
            chance.of(&["x IS NULL", "typeof(x)", "x = x"])
        ),
        10 => format!("SELECT {c} AS x, count(*) AS n FROM t GROUP BY {c} HAVING count({b}) > {n} ORDER BY min(id)"),
        11 => format!("SELECT id, x FROM (SELECT id, {a} AS x FROM t) WHERE x {} {b} ORDER BY id", chance.of(&["=", "<", "IS NOT"]))
            .replace("FROM t) WHERE", "FROM t) AS t WHERE"),
        12 => format!("SELECT id FROM t WHERE ({a}) AND ({b}) OR {c} IS NULL ORDER BY id LIMIT {n}"),
        13 => format!("SELECT id, {a} AS x FROM t LIMIT {n}"),
        14 => format!("SELECT id, (SELECT {d} FROM t AS y WHERE y.{c} IS t.{c} AND y.id <> {n}) AS x FROM t ORDER BY id"),
        15 => format!("SELECT {c} AS x, group_concat({a}) AS y FROM t GROUP BY {c} ORDER BY min(id)"),
        _ => format!("SELECT count(*) FILTER (WHERE {a}) AS x, sum(n) FILTER (WHERE {b}) AS y FROM t"),
    }
}

/// A number that PostgreSQL gives as a text, or a text as a number: alike to a person, and not to a program.
fn is_of_another_class(value: ValueRef, type_: &Type, notes: &[&str]) -> bool {
    let is_said = notes.iter().any(|note| note.starts_with("numbers and texts are in one column"));
    match value {
        ValueRef::Null => false,
        ValueRef::Integer(_) => !(matches!(type_, Type::Boolean | Type::Integer | Type::Numeric) || *type_ == Type::Text && is_said),
        ValueRef::Real(_) => !(matches!(type_, Type::Float | Type::Numeric) || *type_ == Type::Text && is_said),
        ValueRef::Text(_) => matches!(type_, Type::Boolean | Type::Integer | Type::Float | Type::Numeric | Type::Bytea),
        ValueRef::Blob(_) => *type_ != Type::Bytea,
    }
}

/// The answer of SQLite, row by row and cell by cell, against PostgreSQL's; none where one of the two has no answer by intent.
async fn difference(
    source: &rusqlite::Connection,
    client: &tokio_postgres::Client,
    catalog: &Catalog,
    select: &str,
) -> Option<Result<(), String>> {
    let mut statement = source.prepare(select).ok()?;
    let view = translate::view(&format!("CREATE VIEW v AS {select}"), catalog, &QualifiedName::new("public", "v")).ok()?;
    let cells: Vec<String> =
        view.relation.columns.iter().map(|c| format!("CASE WHEN {0} IS NULL THEN 'NULL' ELSE '=' || {0}::text END", c.target)).collect();
    let answer = client.simple_query(&format!("{}; SELECT unnest(array[{}]) FROM v; DROP VIEW v", view.sql, cells.join(", "))).await;
    let width = statement.column_count();
    let mut rows = statement.query([]).ok()?;
    let mut there = match &answer {
        Ok(messages) => {
            Ok(messages.iter().filter_map(|message| if let SimpleQueryMessage::Row(row) = message { row.get(0) } else { None }))
        }
        Err(error) => {
            Err(error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{} {}", error.code().code(), error.message())))
        }
    };
    let wrong = |why: String| Some(Err(format!("{select}\n    {}\n    {why}", view.sql)));
    // SQLite itself may refuse: an integer overflow.
    while let Some(row) = rows.next().ok()? {
        let Ok(there) = &mut there else { continue };
        for column in 0..width {
            let (here, there) = (row.get_ref(column).unwrap(), there.next().unwrap_or("nothing"));
            if !agrees(here, there) {
                return wrong(format!("column {column}: {here:?} is {there}"));
            }
            if is_of_another_class(here, &view.relation.columns[column].type_, &view.notes) {
                return wrong(format!("column {column}: {here:?} is in a column of {:?}, unsaid", view.relation.columns[column].type_));
            }
        }
    }
    match there {
        Ok(mut rest) => {
            if rest.next().is_none() {
                Some(Ok(()))
            } else {
                wrong("more rows are there".to_string())
            }
        }
        // What "exact" leaves out, knowingly: integers beyond 64 bits, and times before the year 1.
        Err(error) if error.starts_with("22003") || error.starts_with("22008") => None,
        Err(error) => wrong(error),
    }
}

#[tokio::test]
async fn odd_expressions_answer_alike() {
    let (source, target) = (source(TABLE), Database::fresh());
    target.execute(TARGET);
    // Rows that were written again stand elsewhere: nothing here may live from the order in which they came.
    target.execute("UPDATE t SET id = id WHERE id % 2 = 1");
    let (client, connection) = tokio_postgres::connect(&target.url(), NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let catalog = Catalog { relations: vec![t()] };
    let first: u64 = std::env::var("CANDLEFISH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let cases = if long() { 100_000 } else { 2_000 };
    let (mut tried, mut wrong) = (0, Vec::new());
    for seed in first..first + cases {
        let select = select(&mut Chance(seed));
        match difference(&source, &client, &catalog, &select).await {
            Some(Ok(())) => tried += 1,
            Some(Err(sentence)) => wrong.push(format!("seed {seed}: {sentence}")),
            None => {}
        }
    }
    drop(client);
    connection.await.unwrap().unwrap();
    // A translator that refuses all would pass otherwise.
    assert!(tried > cases / 10, "only {tried} of {cases} were translated");
    wrong.sort_by_key(String::len);
    let shown = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} answer otherwise:\n{shown}", wrong.len(), tried + wrong.len() as u64);
}

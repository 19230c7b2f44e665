//! Both sides against each other, value by value.

use super::*;
use crate::model::{TypeKind, Value};
use crate::plan::convert::Conversion;
use crate::plan::transform::{BadText, Transform};
use crate::plan::{CopyColumn, SourceTz};

fn map(conversion: Conversion) -> CopyMap {
    let column = CopyColumn { source: "c".into(), target: "c".into(), sql_type: "text".into(), conversion, computed: false };
    CopyMap { source: "t".into(), schema: "public".into(), target: "t".into(), columns: vec![column], ..CopyMap::default() }
}

fn source_of(conversion: Conversion, value: Value<'_>) -> Option<u128> {
    let map = map(conversion);
    let mut digester = SourceDigester::new(&map, &Layout::new(&map, &[]), &["c"]).unwrap();
    digester.row(|_| value, &mut AsIs).ok().map(|digest| digest.row)
}

fn source(kind: TypeKind, value: Value<'_>) -> Option<u128> {
    source_of(Conversion::new(kind), value)
}

fn target(kind: TypeKind, field: &[u8]) -> Option<u128> {
    let map = map(Conversion::new(kind));
    Some(TargetDigester::new(&map, &Layout::new(&map, &[])).row([Some(field)].into_iter()).unwrap().row)
}

#[track_caller]
fn same(kind: TypeKind, value: Value<'_>, field: &[u8]) {
    assert_eq!(source(kind.clone(), value), target(kind.clone(), field), "{value:?} as {kind:?}");
}

#[track_caller]
fn differs(kind: TypeKind, value: Value<'_>, field: &[u8]) {
    assert_ne!(source(kind.clone(), value), target(kind.clone(), field), "{value:?} as {kind:?}");
}

#[track_caller]
fn misfits(kind: TypeKind, values: &[Value<'_>]) {
    for value in values {
        assert_eq!(source(kind.clone(), *value), None, "{value:?} as {kind:?}");
    }
}

/// A binary numeric: weight, sign, groups of four digits.
fn groups(weight: i16, sign: u16, groups: &[u16]) -> Vec<u8> {
    let head = [groups.len() as u16, weight as u16, sign, 0];
    head.iter().chain(groups).flat_map(|word| word.to_be_bytes()).collect()
}

fn micros(text: &str) -> [u8; 8] {
    let time: jiff::Timestamp = text.parse().unwrap();
    (time.as_microsecond() - 946_684_800_000_000).to_be_bytes()
}

const NULLS: &[u8] = b"";

#[test]
fn null_is_null_and_nothing_else() {
    let map = map(Conversion::new(TypeKind::TEXT));
    let mut digester = TargetDigester::new(&map, &Layout::new(&map, &[]));
    let null = digester.row([None].into_iter()).unwrap().row;
    assert_eq!(source(TypeKind::TEXT, Value::Null), Some(null));
    assert_ne!(source(TypeKind::TEXT, Value::Text(NULLS)), Some(null));
    assert!(digester.row(std::iter::empty()).is_err(), "a field is missing");
}

#[test]
fn integers_and_booleans() {
    same(TypeKind::Int2, Value::Integer(-7), &(-7i16).to_be_bytes());
    same(TypeKind::Int4, Value::Text(b"42"), &42i32.to_be_bytes());
    same(TypeKind::Int8, Value::Real(2.0), &2i64.to_be_bytes());
    same(TypeKind::Int8, Value::Integer(i64::MIN), &i64::MIN.to_be_bytes());
    differs(TypeKind::Int8, Value::Integer(1), &2i64.to_be_bytes());
    misfits(TypeKind::Int2, &[Value::Integer(40_000), Value::Blob(b"1"), Value::Text(b"1 "), Value::Real(0.5), Value::Real(-0.0)]);
    misfits(TypeKind::Int8, &[Value::Real(9.3e18), Value::Real(f64::INFINITY), Value::Text(b"1.0")]);
    misfits(TypeKind::Int8, &[Value::Text(b"007"), Value::Text(b"+5"), Value::Text(b"-0"), Value::Text(b"--1"), Value::Text(b"")]);
    for text in ["t", "TRUE", "y", "Yes", "on", "1"] {
        same(TypeKind::Bool, Value::Text(text.as_bytes()), &[1]);
    }
    same(TypeKind::Bool, Value::Real(0.0), &[0]);
    same(TypeKind::Bool, Value::Text(b"off"), &[0]);
    misfits(TypeKind::Bool, &[Value::Integer(2), Value::Text(b""), Value::Text(b"maybe!"), Value::Real(0.5)]);
}

#[test]
fn floats_are_their_bits() {
    same(TypeKind::Float8, Value::Real(0.1), &0.1f64.to_be_bytes());
    same(TypeKind::Float8, Value::Integer(3), &3f64.to_be_bytes());
    same(TypeKind::Float8, Value::Integer(i64::MIN), &(i64::MIN as f64).to_be_bytes());
    same(TypeKind::Float8, Value::Integer(1 << 60), &((1i64 << 60) as f64).to_be_bytes());
    same(TypeKind::Float8, Value::Text(b"1.5e3"), &1500f64.to_be_bytes());
    same(TypeKind::Float8, Value::Real(f64::INFINITY), &f64::INFINITY.to_be_bytes());
    differs(TypeKind::Float8, Value::Real(0.0), &(-0.0f64).to_be_bytes());
    differs(TypeKind::Float8, Value::Real(0.1), &0.100_000_000_000_000_02f64.to_be_bytes());
    misfits(TypeKind::Float8, &[Value::Integer((1 << 53) + 1), Value::Integer(i64::MAX), Value::Text(b"n/a"), Value::Text(b"inf")]);
    for text in ["0.12345678901234567891", "1e400", "-1e400", "007.5", "+1", "-0", "-0.0e5", "9007199254740993", "-+1", "1e-400"] {
        misfits(TypeKind::Float8, &[Value::Text(text.as_bytes())]);
    }
    same(TypeKind::Float8, Value::Text(b"-0.50"), &(-0.5f64).to_be_bytes());
    same(TypeKind::Float8, Value::Text(b"0"), &0f64.to_be_bytes());
    same(TypeKind::Float4, Value::Text(b"0.1"), &0.1f32.to_be_bytes());
    same(TypeKind::Float4, Value::Real(0.25), &0.25f32.to_be_bytes());
    same(TypeKind::Float4, Value::Integer(7), &7f32.to_be_bytes());
    misfits(TypeKind::Float4, &[Value::Real(0.1), Value::Real(1e300), Value::Integer((1 << 24) + 1), Value::Text(b"0.123456789")]);
}

#[test]
fn numerics_are_their_digits() {
    same(TypeKind::NUMERIC, Value::Text(b"7.50"), &groups(0, 0, &[7, 5000]));
    same(TypeKind::NUMERIC, Value::Real(7.5), &groups(0, 0, &[7, 5000]));
    same(TypeKind::NUMERIC, Value::Real(-1230.99), &groups(0, 0x4000, &[1230, 9900]));
    same(TypeKind::NUMERIC, Value::Integer(12_345), &groups(1, 0, &[1, 2345]));
    same(TypeKind::NUMERIC, Value::Integer(120_000), &groups(1, 0, &[12]));
    same(TypeKind::NUMERIC, Value::Real(0.000_05), &groups(-2, 0, &[5000]));
    same(TypeKind::NUMERIC, Value::Real(1e300), &groups(75, 0, &[1]));
    same(TypeKind::NUMERIC, Value::Text(b"0.000"), &groups(0, 0, &[]));
    misfits(TypeKind::NUMERIC, &[Value::Text(b"-0.000"), Value::Real(-0.0), Value::Text(b"007"), Value::Text(b"+5")]);
    let hundreds = TypeKind::Numeric { limits: Some((5, -2)) };
    same(hundreds.clone(), Value::Integer(12_300), &groups(1, 0, &[1, 2300]));
    same(hundreds.clone(), Value::Integer(0), &groups(0, 0, &[]));
    misfits(hundreds, &[Value::Integer(123), Value::Integer(12_345), Value::Real(100.5), Value::Integer(100_000_000)]);
    differs(TypeKind::NUMERIC, Value::Integer(1), &groups(0, 0x4000, &[1]));
    differs(TypeKind::NUMERIC, Value::Integer(1), &groups(1, 0, &[1]));
    differs(TypeKind::NUMERIC, Value::Integer(0), &groups(0, 0xc000, &[]));
    let money = TypeKind::Numeric { limits: Some((5, 2)) };
    same(money.clone(), Value::Text(b"999.990"), &groups(0, 0, &[999, 9900]));
    misfits(money, &[Value::Integer(1000), Value::Real(1.234)]);
    misfits(
        TypeKind::NUMERIC,
        &[Value::Text(b"1.2.3"), Value::Text(b""), Value::Text(b"."), Value::Blob(b"1"), Value::Real(f64::INFINITY)],
    );
    assert_eq!(numeric_text(&groups(0, 0x4000, &[1230, 9900])).unwrap(), "-1230.99");
    assert_eq!(numeric_text(&groups(-1, 0, &[5])).unwrap(), "0.0005");
    assert_eq!(numeric_text(&groups(1, 0, &[12])).unwrap(), "120000");
    assert_eq!(numeric_text(&groups(0, 0xc000, &[])).unwrap(), "NaN");
}

#[test]
fn text_is_its_bytes_and_numbers_are_written_as_sqlite_does() {
    same(TypeKind::TEXT, Value::Text("é".as_bytes()), "é".as_bytes());
    same(TypeKind::TEXT, Value::Integer(-5), b"-5");
    for (real, text) in [
        (2.0, "2.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (-1230.99, "-1230.99"),
        (0.0001, "0.0001"),
        (0.000_015, "1.5e-05"),
        (1e14, "100000000000000.0"),
        (1e15, "1.0e+15"),
        (1.25e300, "1.25e+300"),
        (5e-324, "5.0e-324"),
        (f64::INFINITY, "Inf"),
    ] {
        same(TypeKind::TEXT, Value::Real(real), text.as_bytes());
    }
    misfits(TypeKind::TEXT, &[Value::Text(b"a\0b"), Value::Text(b"\xff"), Value::Blob(b"a")]);
    misfits(TypeKind::Text { max_chars: Some(2) }, &[Value::Text("ééé".as_bytes())]);
    same(TypeKind::Text { max_chars: Some(3) }, Value::Text("ééé".as_bytes()), "ééé".as_bytes());
    differs(TypeKind::TEXT, Value::Text(b"a "), b"a");
    same(TypeKind::Char { chars: 4 }, Value::Text(b"ab"), b"ab  ");
    same(TypeKind::Char { chars: 4 }, Value::Text(b""), b"    ");
    misfits(TypeKind::Char { chars: 4 }, &[Value::Text(b"ab "), Value::Text(b"    "), Value::Text(b"abcde")]);
    same(TypeKind::Bytea, Value::Text(b"\xff\0"), b"\xff\0");
    same(TypeKind::Bytea, Value::Blob(b"\x01"), b"\x01");
    let mood = TypeKind::Enum { labels: vec!["ok".into()] };
    same(mood.clone(), Value::Text(b"ok"), b"ok");
    misfits(mood, &[Value::Text(b"sad"), Value::Integer(1)]);
}

#[test]
fn broken_text_is_repaired_as_the_mapping_says() {
    for (repair, text, repaired) in [
        (BadText::Strip, &b"a\0b\xff"[..], "ab"),
        (BadText::Replace, b"a\0b\xff\xfe", "a␀b\u{fffd}\u{fffd}"),
        (BadText::Latin1, b"caf\xe9\x80", "café\u{80}"),
        (BadText::Windows1252, b"caf\xe9 \x80\x9f\x81\0", "café €Ÿ\u{81}␀"),
    ] {
        let mut conversion = Conversion::new(TypeKind::TEXT);
        conversion.bad_text = repair;
        assert_eq!(source_of(conversion, Value::Text(text)), target(TypeKind::TEXT, repaired.as_bytes()), "{repair:?}");
    }
}

#[test]
fn times() {
    let days = |days: i32| (days - 10_957).to_be_bytes();
    same(TypeKind::Date, Value::Text(b"2024-02-29"), &days(19_782));
    same(TypeKind::Date, Value::Text(b"0001-01-01 00:00"), &days(-719_162));
    misfits(TypeKind::Date, &[Value::Text(b"2023-02-29"), Value::Text(b"2024-01-02 03:00"), Value::Text(b""), Value::Integer(19_782)]);
    same(TypeKind::Time, Value::Text(b"23:59:59.5"), &86_399_500_000i64.to_be_bytes());
    misfits(TypeKind::Time, &[Value::Text(b"24:00"), Value::Text(b"2024-01-02 03:04"), Value::Text(b"12:00Z"), Value::Text(b"12:00:60")]);
    let new_year = micros("2024-01-01T00:00:00Z");
    for text in ["2024-01-01", "2024-01-01 00:00", "2024-01-01T00:00:00.000000000", "2024-01-01 00:00:00Z", "2024-01-01 05:30:00+05:30"] {
        same(TypeKind::Timestamp, Value::Text(text.as_bytes()), &new_year);
        same(TypeKind::TimestampTz, Value::Text(text.as_bytes()), &new_year);
    }
    for text in ["2023-12-31 20:00-0400", "2023-12-31t23:00 -01", "2024-01-01 00:00:00 utc"] {
        same(TypeKind::TimestampTz, Value::Text(text.as_bytes()), &new_year);
    }
    let bad =
        ["2024-1-1", "2024-01-01  00:00", "2024-01-01 00:00:00.1234567", "2024-01-01 00:00 CET", "2024-01-01 00:00+16:00", "now", "12:00"];
    bad.iter().for_each(|text| misfits(TypeKind::TimestampTz, &[Value::Text(text.as_bytes())]));
    let mut berlin = Conversion::new(TypeKind::TimestampTz);
    berlin.source_tz = SourceTz::Offset(60);
    let meant = target(TypeKind::TimestampTz, &new_year);
    assert_eq!(source_of(berlin.clone(), Value::Text(b"2024-01-01 01:00")), meant);
    assert_eq!(source_of(berlin.clone(), Value::Text(b"2024-01-01 00:00Z")), meant);
    for (zone, local, utc) in [
        ("Europe/Berlin", "2024-01-01 01:00", "2024-01-01T00:00:00Z"),
        ("Europe/Berlin", "2024-03-31 02:30", "2024-03-31T01:30:00Z"),
        ("Europe/Berlin", "2024-10-27 02:30", "2024-10-27T00:30:00Z"),
        ("Pacific/Apia", "2011-12-30 12:00", "2011-12-30T22:00:00Z"),
    ] {
        berlin.source_tz = SourceTz::parse(zone).unwrap();
        assert_eq!(source_of(berlin.clone(), Value::Text(local.as_bytes())), target(TypeKind::TimestampTz, &micros(utc)), "{local}");
    }
}

#[test]
fn epochs_are_exact_or_nothing() {
    let at = |form: &str, value| {
        let mut conversion = Conversion::new(TypeKind::TimestampTz);
        conversion.transform = Transform::parse(form).unwrap();
        source_of(conversion, value)
    };
    let meant = |text: &str| target(TypeKind::TimestampTz, &micros(text));
    let time = "2023-11-14T22:13:20.123456Z";
    assert_eq!(at("epoch:s", Value::Real(1_700_000_000.123456)), meant(time));
    assert_eq!(at("epoch:ms", Value::Real(1_700_000_000_123.456)), meant(time));
    assert_eq!(at("epoch:us", Value::Integer(1_700_000_000_123_456)), meant(time));
    assert_eq!(at("epoch:ns", Value::Integer(1_700_000_000_123_456_000)), meant(time));
    assert_eq!(at("epoch:ns", Value::Integer(1_700_000_000_123_456_789)), None);
    assert_eq!(at("epoch:s", Value::Integer(-1)), meant("1969-12-31T23:59:59Z"));
    assert_eq!(at("epoch:s", Value::Text(b"1969-12-31 23:59:59")), meant("1969-12-31T23:59:59Z"));
    assert_eq!(at("epoch:2001", Value::Real(571_510_788.25)), meant("2019-02-10T16:59:48.25Z"));
    assert_eq!(at("epoch:1601", Value::Integer(13_150_000_000_000_000)), meant("2017-09-16T01:46:40Z"));
    assert_eq!(at("epoch:julian", Value::Real(2_440_587.5)), meant("1970-01-01T00:00:00Z"));
    assert_eq!(at("epoch:s", Value::Integer(i64::MAX)), None);
    assert_eq!(at("epoch:s", Value::Real(0.0)), meant("1970-01-01T00:00:00Z"));
    assert_eq!((at("epoch:s", Value::Real(-0.0)), at("epoch:2001", Value::Real(-0.0))), (None, None));
}

#[test]
fn uuids_and_the_ids_that_they_carry() {
    let bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    for text in ["01234567-89ab-cdef-0123-456789abcdef", "0123456789ABCDEF0123456789ABCDEF", "{01234567-89AB-cdef-0123-456789abcdef}"] {
        same(TypeKind::Uuid, Value::Text(text.as_bytes()), &bytes);
    }
    same(TypeKind::Uuid, Value::Blob(&bytes), &bytes);
    misfits(
        TypeKind::Uuid,
        &[Value::Text(b"0123"), Value::Blob(b"x"), Value::Integer(1), Value::Text(b"+123456789abcdef0123456789abcdef")],
    );
    let mut user = Conversion::new(TypeKind::Uuid);
    user.transform = Transform::parse("uuid8:users").unwrap();
    let first = [0x75, 0x73, 0x65, 0x72, 0x73, 0, 0x80, 0, 0x80, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(source_of(user.clone(), Value::Integer(1)), target(TypeKind::Uuid, &first));
    assert_eq!(source_of(user.clone(), Value::Integer(-1)), None);
    assert_eq!(source_of(user, Value::Integer(1 << 62)), None);
}

#[test]
fn json_is_its_text_and_jsonb_its_meaning() {
    let jsonb = |text: &str| [b"\x01", text.as_bytes()].concat();
    same(TypeKind::Json, Value::Text(b"{\"a\":1,\"a\":2}"), b"{\"a\":1,\"a\":2}");
    differs(TypeKind::Json, Value::Text(b"{}"), b"{ }");
    same(TypeKind::Json, Value::Integer(5), b"5");
    misfits(TypeKind::Json, &[Value::Text(b"{"), Value::Text(b"\"\\ud800\""), Value::Text(b"\"\\udc00\\ud800\""), Value::Blob(b"{}")]);
    same(TypeKind::Json, Value::Text(b"\"\\\\ud800 \\ud83d\\ude00\""), b"\"\\\\ud800 \\ud83d\\ude00\"");
    let text = r#" {"b": [1.50, 1e2, -0.5], "a": {"x": null, "é": "\u00e9\n"}} "#;
    same(TypeKind::Jsonb, Value::Text(text.as_bytes()), &jsonb(r#"{"a": {"x": null, "é": "é\n"}, "b": [1.50, 100, -0.5]}"#));
    differs(TypeKind::Jsonb, Value::Text(b"1.10"), &jsonb("1.1"));
    differs(TypeKind::Jsonb, Value::Text(b"1.0"), &jsonb("1"));
    same(TypeKind::Jsonb, Value::Text(b"[1.50e1, 15e-1, 0.0, 1e-7]"), &jsonb("[15.0, 1.5, 0.0, 0.0000001]"));
    same(TypeKind::Jsonb, Value::Text(b"[]"), &jsonb("[]"));
    differs(TypeKind::Jsonb, Value::Text(b"[1, 2]"), &jsonb("[2, 1]"));
    differs(TypeKind::Jsonb, Value::Text(b"[[1], 2]"), &jsonb("[[1, 2]]"));
    differs(TypeKind::Jsonb, Value::Text(b"\"1\""), &jsonb("1"));
    for text in [r#"{"a":1,"a":2}"#, "-0", "1e4000", r#""\u0000""#, r#"{"\u0061":1}"#] {
        misfits(TypeKind::Jsonb, &[Value::Text(text.as_bytes())]);
    }
    let deep = "[".repeat(400) + &"]".repeat(400);
    same(TypeKind::Jsonb, Value::Text(deep.as_bytes()), &jsonb(&deep));
    misfits(TypeKind::Json, &[Value::Text("[".repeat(100_000).as_bytes())]);
}

fn table(columns: &[&str]) -> CopyMap {
    let one = map(Conversion::new(TypeKind::TEXT));
    let columns = columns.iter().map(|name| CopyColumn { source: name.to_string(), ..one.columns[0].clone() });
    CopyMap { columns: columns.collect(), ..one }
}

#[test]
fn the_key_comes_first_and_alone_makes_the_keys_digest() {
    let map = table(&["a", "b", "id"]);
    let layout = Layout::new(&map, &["ID"]);
    assert_eq!((layout.columns.clone(), layout.key), (vec![2, 0, 1], 1));
    assert_eq!(Layout::new(&map, &["id", "gone"]).key, 0, "half a key is none");
    let mut digester = SourceDigester::new(&map, &layout, &["id", "b", "a"]).unwrap();
    let mut digest = |row: [&'static str; 3]| digester.row(|place| Value::Text(row[place].as_bytes()), &mut AsIs).unwrap();
    let (one, changed, other) = (digest(["1", "b", "a"]), digest(["1", "b", "A"]), digest(["2", "b", "a"]));
    assert!(one.key == changed.key && one.row != changed.row);
    assert!(one.key != other.key);
    let fields = ["1", "a", "b"].map(|field| Some(field.as_bytes()));
    assert_eq!(TargetDigester::new(&map, &layout).row(fields.into_iter()).unwrap(), one);
    assert_eq!(SourceDigester::new(&map, &layout, &["id"]).err().unwrap(), "a");
}

#[test]
fn bytes_do_not_slip_from_one_column_into_the_next() {
    let map = table(&["a", "b"]);
    let mut digester = TargetDigester::new(&map, &Layout::new(&map, &[]));
    let mut digest = |a: &[u8], b: &[u8]| digester.row([Some(a), Some(b)].into_iter()).unwrap();
    assert_ne!(digest(b"ab", b"c"), digest(b"a", b"bc"));
}

#[test]
fn sums_know_how_often_a_row_stands_and_nothing_of_order() {
    let rows = [RowDigest { key: 1, row: 10 }, RowDigest { key: 1 << 64, row: 20 }, RowDigest { key: 1, row: 10 }];
    let sum = |rows: &[RowDigest]| {
        let mut sums = Sums::new(4);
        rows.iter().for_each(|row| sums.add(*row));
        sums
    };
    let mut merged = sum(&rows[2..]);
    merged.merge(&sum(&rows[..2]));
    assert_eq!(merged, sum(&rows));
    assert_ne!(sum(&rows[..2]), sum(&rows));
    assert_eq!(merged.to_string(), format!("{:032x}3", 40));
}

#[test]
fn local_times_mean_the_same_from_either_side() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Tehran", "America/Sao_Paulo"] {
        let tz = SourceTz::parse(zone).unwrap();
        // Every quarter of an hour of 2023 to 2025.
        for quarter in 0..(3 * 365 + 1) * 96 {
            let local = 1_672_531_200_000_000 + quarter * 900_000_000;
            assert_eq!(moment::meant(local, &tz), tz.utc_micros(local), "{zone} {local}");
        }
    }
}

#[test]
fn a_large_value_has_the_digest_that_its_copy_would_have() {
    let column = |name: &str, kind: TypeKind| CopyColumn {
        source: name.into(),
        target: name.into(),
        sql_type: "text".into(),
        conversion: Conversion::new(kind),
        computed: false,
    };
    let columns = vec![column("k", TypeKind::Int8), column("a", TypeKind::TEXT), column("b", TypeKind::Bytea), column("n", TypeKind::Int8)];
    let map = CopyMap { source: "t".into(), schema: "public".into(), target: "t".into(), columns, ..CopyMap::default() };
    let (text, blob) = ("é".repeat(LARGE), vec![7u8; LARGE + 1]);
    let values = [Value::Integer(5), Value::Text(text.as_bytes()), Value::Blob(&blob), Value::Integer(6)];
    let fields: [&[u8]; 4] = [&5i64.to_be_bytes(), text.as_bytes(), &blob, &6i64.to_be_bytes()];
    for key in [&["k"][..], &["a"], &["n", "b"], &[]] {
        let layout = Layout::new(&map, key);
        let mut copied = RowBytes::default();
        for place in &layout.columns {
            copied.bytes.push(VALUE);
            match values[*place] {
                Value::Integer(integer) => copied.bytes.extend_from_slice(&integer.to_le_bytes()),
                Value::Text(bytes) | Value::Blob(bytes) => write_bytes(bytes, &mut copied.bytes),
                _ => unreachable!("no such value here"),
            }
            copied.end_column();
        }
        let mut source = SourceDigester::new(&map, &layout, &["k", "a", "b", "n"]).unwrap();
        let mut target = TargetDigester::new(&map, &layout);
        for _ in 0..2 {
            assert_eq!(source.row(|place| values[place], &mut AsIs).unwrap(), copied.digest(layout.key), "key {key:?}");
            let given = layout.columns.iter().map(|place| Some(fields[*place]));
            assert_eq!(target.row(given).unwrap(), copied.digest(layout.key), "key {key:?}");
            assert_eq!((source.columns(), target.columns()), (copied.columns(), copied.columns()), "key {key:?}");
        }
    }
}

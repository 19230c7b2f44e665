//! Modes 1 to 20: values that do not keep to their column's declared type.

use super::{into_prepared, migrated, planned};

#[test]
fn mode_01_text_in_an_integer_column_widens_it_and_loses_no_neighbour() {
    let m = migrated("01", 0, "CREATE TABLE t(id INTEGER PRIMARY KEY, qty INTEGER); INSERT INTO t VALUES(1,10),(2,'lots'),(3,5);");
    assert_eq!(m.types("t"), ["bigint", "text"]);
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|10", "2|lots", "3|5"]);
    let (_, reason, rows, _) = planned(&m, "t", "qty");
    assert_eq!((reason.as_str(), rows), ("declared INTEGER, but holds 1 text", vec![2]));
}

#[test]
fn mode_02_bytes_in_a_text_column_make_it_bytea() {
    let m = migrated(
        "02",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT); INSERT INTO t VALUES(1,'ok'),(2,x'ff00fe'),(3,x'68656c6c6f'),(4,'after');",
    );
    assert_eq!(m.types("t"), ["bigint", "bytea"]);
    assert_eq!(m.rows("SELECT encode(s, 'hex') FROM t ORDER BY id"), ["6f6b", "ff00fe", "68656c6c6f", "6166746572"]);
}

#[test]
fn mode_03_text_in_a_blob_column_is_its_bytes_never_base64() {
    let m = migrated(
        "03",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB);
         INSERT INTO t VALUES(1,x'0102'),(2,'hello'),(3,'aGVsbG8='),(4,x''),(5,'com.skout.SKOUT'),(6,'a'||char(0)||'b');",
    );
    assert_eq!(m.types("t"), ["bigint", "bytea"]);
    assert_eq!(
        m.rows("SELECT encode(b, 'escape') FROM t WHERE id > 1 ORDER BY id"),
        ["hello", "aGVsbG8=", "", "com.skout.SKOUT", "a\\000b"]
    );
}

#[test]
fn mode_04_blobs_arrive_byte_for_byte() {
    let m = migrated(
        "04",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB);
         INSERT INTO t VALUES(1,x'00'),(2,x'5c785c5c0a0d09'),(3,zeroblob(5000000)),(4,NULL),(5,x'');",
    );
    assert_eq!(m.rows("SELECT encode(b, 'hex') FROM t WHERE id <> 3 ORDER BY id"), ["00", "5c785c5c0a0d09", "", ""]);
    assert_eq!(m.rows("SELECT b IS NULL FROM t WHERE id > 3 ORDER BY id"), ["t", "f"]);
    assert_eq!(m.rows("SELECT length(b), b = decode(repeat('00', 5000000), 'hex') FROM t WHERE id = 3"), ["5000000|t"]);
}

#[test]
fn mode_05_reals_keep_all_their_digits() {
    let m = migrated(
        "05",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, r REAL, d DOUBLE, f FLOAT);
         INSERT INTO t VALUES(1,3.141592653589793,0.1,1e-320),(2,1700000000.123456,531955414.791503,-0.0),
           (3,1e300,5e-324,1.7976931348623157e308),(4,9e999,-9e999,7);",
    );
    assert_eq!(m.types("t")[1..], ["double precision", "double precision", "double precision"]);
    assert_eq!(
        m.rows("SELECT r, d, f FROM t ORDER BY id"),
        [
            "3.141592653589793|0.1|1e-320",
            "1700000000.123456|531955414.791503|0",
            "1e+300|5e-324|1.7976931348623157e+308",
            "Infinity|-Infinity|7"
        ]
    );
}

#[test]
fn mode_06_fractions_in_an_integer_column_make_it_double_precision() {
    let m = migrated(
        "06",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, big INTEGER);
         INSERT INTO t VALUES(1,1,1.5),(2,1.5,9007199254740993),(3,9.3e18,NULL),(4,2.0,NULL);",
    );
    assert_eq!(m.types("t"), ["bigint", "double precision", "numeric"]);
    assert_eq!(m.rows("SELECT n FROM t ORDER BY id"), ["1", "1.5", "9.3e+18", "2"]);
    // An integer that a double does not hold exactly keeps every digit.
    assert_eq!(m.rows("SELECT big FROM t WHERE big IS NOT NULL ORDER BY id"), ["1.5", "9007199254740993"]);
}

#[test]
fn mode_07_every_integer_has_64_bits_whatever_it_is_called() {
    let m = migrated(
        "07",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, ts INT, m MEDIUMINT, y TINYINT);
         INSERT INTO t VALUES(1,1700000000123,3000000000,300),(2,-9223372036854775808,0,9223372036854775807);",
    );
    assert_eq!(m.types("t"), ["bigint"; 4]);
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|1700000000123|3000000000|300", "2|-9223372036854775808|0|9223372036854775807"]);
}

#[test]
fn mode_08_a_table_that_is_there_keeps_its_int4() {
    let table = "CREATE TABLE t(id int PRIMARY KEY, kdf_iter int)";
    let source = "CREATE TABLE t(id INTEGER PRIMARY KEY, kdf_iter INTEGER);";
    let m = into_prepared("08", 0, table, &format!("{source} INSERT INTO t VALUES(1,600000),(2,2147483647);"));
    assert_eq!(m.types("t"), ["integer", "integer"]);
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|600000", "2|2147483647"]);

    // What does not fit is set aside, and its neighbours are not.
    let m = into_prepared("08, one too many", 1, table, &format!("{source} INSERT INTO t VALUES(1,600000),(2,2147483648),(3,-1);"));
    assert_eq!(m.types("t"), ["integer", "integer"]);
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|600000", "3|-1"]);
    assert_eq!(m.rejects("t")[0]["row"]["kdf_iter"]["value"], 2_147_483_648_i64);
}

#[test]
fn mode_09_beyond_64_bits_is_numeric_with_the_digits_that_sqlite_kept() {
    let m = migrated(
        "09",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, u BIGINT UNSIGNED);
         INSERT INTO t VALUES(1,18446744073709551615),(2,9223372036854775807),(3,9223372036854775808);",
    );
    assert_eq!(m.types("t"), ["bigint", "numeric"]);
    // SQLite keeps 2^64-1 and 2^63 as REAL; PostgreSQL gets the shortest decimal of each.
    assert_eq!(m.rows("SELECT u FROM t ORDER BY id"), ["18446744073709552000", "9223372036854775807", "9223372036854776000"]);
}

#[test]
fn mode_10_numeric_is_as_wide_as_its_values() {
    let m = migrated(
        "10",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, p DECIMAL(10,2), q DECIMAL(5,2), n NUMERIC, fits DECIMAL(10,2));
         INSERT INTO t VALUES(1,1230.99,123456.789,'12345678901234567890.123',0.1),(2,'abc',1,'0.1',99999999.99),(3,'',2,9e999,-7);",
    );
    assert_eq!(m.types("t"), ["bigint", "text", "numeric", "double precision", "numeric(10,2)"]);
    assert_eq!(
        m.rows("SELECT p, q, n, fits FROM t ORDER BY id"),
        ["1230.99|123456.789|1.2345678901234567e+19|0.10", "abc|1|0.1|99999999.99", "|2|Infinity|-7.00"]
    );
    assert_eq!(m.rows("SELECT p IS NULL FROM t WHERE id = 3"), ["f"]);
}

#[test]
fn mode_11_boolean_only_for_0_and_1_or_one_pair_of_words() {
    let m = migrated(
        "11",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a BOOLEAN NOT NULL DEFAULT 0, b BOOL DEFAULT true, c TINYINT(1) DEFAULT 0, d BOOLEAN,
           e NUMERIC DEFAULT false, pair BOOLEAN);
         INSERT INTO t(id,a,b,c,d,pair) VALUES(1,1,0,1,'true','yes'),(2,0,1,0,'f','no'),(3,2,NULL,5,'','yes'),(4,0,0,0,0,NULL);",
    );
    assert_eq!(m.types("t"), ["bigint", "smallint", "boolean", "bigint", "text", "numeric", "boolean"]);
    assert_eq!(m.rows("SELECT * FROM t ORDER BY id"), ["1|1|f|1|true|0|t", "2|0|t|0|f|0|f", "3|2||5||0|t", "4|0|f|0|0|0|"]);
    m.database.execute("INSERT INTO t(id) VALUES (9)");
    assert_eq!(m.rows("SELECT a, b, c, e FROM t WHERE id = 9"), ["0|t|0|0"]);
}

#[test]
fn mode_12_an_offset_makes_timestamptz_and_none_makes_timestamp() {
    let m = migrated(
        "12",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, ts DATETIME, naive DATETIME, d DATE, day DATE);
         INSERT INTO t VALUES(1,'2024-01-02 03:04:05','2024-01-02 03:04:05','2024-01-02','2024-01-02'),
           (2,'2024-01-02T03:04:05+05:30','2024-01-02T03:04:05.5','2024-1-2','0001-01-01'),
           (3,'2024-01-02T03:04:05.123456Z','2024-01-02','20240102','9999-12-31');",
    );
    let types = ["bigint", "timestamp with time zone", "timestamp without time zone", "text", "date"];
    assert_eq!(m.types("t"), types);
    assert_eq!(
        m.rows("SELECT ts AT TIME ZONE 'UTC', naive, d, day FROM t ORDER BY id"),
        [
            "2024-01-02 03:04:05|2024-01-02 03:04:05|2024-01-02|2024-01-02",
            "2024-01-01 21:34:05|2024-01-02 03:04:05.5|2024-1-2|0001-01-01",
            "2024-01-02 03:04:05.123456|2024-01-02 00:00:00|20240102|9999-12-31"
        ]
    );
}

#[test]
fn mode_13_epochs_stay_numbers_and_the_likely_unit_is_named() {
    let m = migrated(
        "13",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s DATETIME, ms DATETIME, us TIMESTAMP, year DATETIME);
         INSERT INTO t VALUES(1,1700000000,1700000000123,1700000000123456,2024),(2,0,0,0,2023),(3,2024,-1,1,1999);",
    );
    assert_eq!(m.types("t"), ["bigint"; 5]);
    assert_eq!(
        m.rows("SELECT * FROM t ORDER BY id"),
        ["1|1700000000|1700000000123|1700000000123456|2024", "2|0|0|0|2023", "3|2024|-1|1|1999"]
    );
    for (column, unit) in [("s", "epoch:s\""), ("ms", "epoch:ms\""), ("us", "epoch:us\"")] {
        let (_, _, _, hint) = planned(&m, "t", column);
        assert!(hint.contains(unit), "{column}: {hint}");
    }
    assert_eq!(planned(&m, "t", "year").3, "", "2024 may be anything");
}

#[test]
fn mode_14_other_epochs_stay_numbers_and_are_named() {
    let m = migrated(
        "14",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, j DATETIME, apple TIMESTAMP, chrome TIMESTAMP, visit INTEGER);
         INSERT INTO t VALUES(1,2460311.628,571510788.25,13350000000000000,13350000000000000);",
    );
    assert_eq!(m.types("t"), ["bigint", "double precision", "double precision", "bigint", "bigint"]);
    assert_eq!(m.rows("SELECT j, apple, chrome, visit FROM t"), ["2460311.628|571510788.25|13350000000000000|13350000000000000"]);
    for (column, unit) in [("j", "Julian days"), ("apple", "seconds since 2001"), ("chrome", "microseconds since 1601")] {
        let (_, _, _, hint) = planned(&m, "t", column);
        assert!(hint.contains(unit), "{column}: {hint}");
    }
    assert_eq!(planned(&m, "t", "visit").3, "", "an INTEGER column promises no time");
}

#[test]
fn mode_15_empty_zero_and_impossible_dates_make_the_column_text() {
    let m = migrated(
        "15",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, ts DATETIME, d DATE NOT NULL);
         INSERT INTO t VALUES(1,'','2024-01-01'),(2,'0000-00-00 00:00:00','0000-00-00'),(3,'2024-02-30',''),(4,'24:00:00','9999-12-31'),
           (5,NULL,'2024-01-01');",
    );
    assert_eq!(m.types("t"), ["bigint", "text", "text"]);
    assert_eq!(
        m.rows("SELECT coalesce(ts, 'NULL'), d FROM t ORDER BY id"),
        ["|2024-01-01", "0000-00-00 00:00:00|0000-00-00", "2024-02-30|", "24:00:00|9999-12-31", "NULL|2024-01-01"]
    );
    assert!(!m.accepts("INSERT INTO t VALUES (9, NULL, NULL)"), "d is NOT NULL");
}

#[test]
fn mode_16_rows_with_nul_in_their_text_are_set_aside_whole() {
    let m = migrated(
        "16",
        1,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT, n INTEGER);
         INSERT INTO t VALUES(1,'a'||char(0)||'b',7),(2,char(0),NULL),(3,'ok',9);",
    );
    assert_eq!(m.rows("SELECT * FROM t"), ["3|ok|9"]);
    let rejects = m.rejects("t");
    assert_eq!(rejects.len(), 2);
    assert_eq!(rejects[0]["key"], serde_json::json!({"id": 1}));
    assert_eq!(rejects[0]["column"], "s");
    assert!(rejects[0]["reason"].as_str().unwrap().contains("NUL"), "{}", rejects[0]["reason"]);
    let row = serde_json::json!({
        "id": {"type": "integer", "value": 1}, "s": {"type": "text", "value": "a\u{0}b"}, "n": {"type": "integer", "value": 7},
    });
    assert_eq!(rejects[0]["row"], row);
    assert_eq!(m.report["outcome"], "rejected");
    assert_eq!(m.report["exit_reasons"][0]["count"], 2);
}

#[test]
fn mode_17_json_is_json_only_where_every_value_parses() {
    let m = migrated(
        "17",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, j JSON, k JSONB, nul JSON, twice JSON, clean JSON);
         INSERT INTO t VALUES(1,'{\"a\":1}','[]','{\"s\":\"\\u0000\"}','{\"a\":1,\"a\":2}','{\"a\":[1,2.5,null]}'),(2,'not json',NULL,NULL,'[1]','\"s\"'),
           (3,'{\"s\":\"\\u0000\"}','{}',NULL,NULL,NULL),(4,'{\"a\":1,\"a\":2}','1e400',NULL,NULL,NULL);",
    );
    assert_eq!(m.types("t"), ["bigint", "text", "text", "json", "json", "jsonb"]);
    assert_eq!(m.rows("SELECT j FROM t ORDER BY id"), ["{\"a\":1}", "not json", "{\"s\":\"\\u0000\"}", "{\"a\":1,\"a\":2}"]);
    assert_eq!(m.rows("SELECT nul, twice FROM t WHERE id = 1"), ["{\"s\":\"\\u0000\"}|{\"a\":1,\"a\":2}"]);
    assert_eq!(m.rows("SELECT clean -> 'a' FROM t WHERE id = 1"), ["[1, 2.5, null]"]);
}

#[test]
fn mode_18_rows_whose_text_is_no_utf8_are_set_aside_with_their_bytes() {
    let m = migrated(
        "18",
        1,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT);
         INSERT INTO t VALUES(1,CAST(x'66ff96' AS TEXT)),(2,CAST(x'eda080' AS TEXT)),(3,'after');",
    );
    assert_eq!(m.types("t"), ["bigint", "text"]);
    assert_eq!(m.rows("SELECT * FROM t"), ["3|after"]);
    let rejects = m.rejects("t");
    assert_eq!(rejects[0]["key"], serde_json::json!({"id": 1}));
    assert_eq!(rejects[0]["row"]["s"], serde_json::json!({"type": "text", "base64": "Zv+W"}));
    assert_eq!(rejects[1]["row"]["s"], serde_json::json!({"type": "text", "base64": "7aCA"}));
}

#[test]
fn mode_19_declared_lengths_hold_only_when_the_values_keep_to_them() {
    let m = migrated(
        "19",
        0,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v VARCHAR(3), c CHAR(2), short VARCHAR(3));
         INSERT INTO t VALUES(1,'toolong','xyz','äöü'),(2,'a  ','x','');",
    );
    assert_eq!(m.types("t"), ["bigint", "text", "text", "character varying(3)"]);
    assert_eq!(m.rows("SELECT v || '|' || c || '|' || short FROM t ORDER BY id"), ["toolong|xyz|äöü", "a  |x|"]);

    let given = "CREATE TABLE t(id bigint PRIMARY KEY, v varchar(3))";
    let source = "CREATE TABLE t(id INTEGER PRIMARY KEY, v VARCHAR(3)); INSERT INTO t VALUES(1,'toolong'),(2,'abc');";
    let m = into_prepared("19, given", 1, given, source);
    assert_eq!(m.rows("SELECT * FROM t"), ["2|abc"]);
    assert_eq!(m.rejects("t")[0]["column"], "v");
}

#[test]
fn mode_20_no_type_name_stops_anything() {
    let m = migrated(
        "20",
        0,
        "CREATE TABLE t(a, b GUID, c LONGVARCHAR, d UNSIGNED BIG INT, e INTEGER_OR_TEXT, f STRING, g interger, h '', i NATIVE CHARACTER(70),
           j DOUBLE PRECISION, k UNSIGNED);
         INSERT INTO t VALUES(1,x'00112233445566778899aabbccddeeff','x',5,'a','s',7,x'00','n',1.5,1),('t','u','y',6,7,42,'z',1,'m',2,'q');",
    );
    let types = ["text", "bytea", "text", "bigint", "text", "text", "text", "bytea", "character varying(70)", "double precision", "text"];
    assert_eq!(m.types("t"), types);
    assert_eq!(
        m.rows("SELECT a, encode(b, 'hex'), c, d, e, f, g, encode(h, 'hex'), i, j, k FROM t ORDER BY d"),
        ["1|00112233445566778899aabbccddeeff|x|5|a|s|7|00|n|1.5|1", "t|75|y|6|7|42|z|31|m|2|q"]
    );
}

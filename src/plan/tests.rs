//! Whatever stands in a file: the readers of dates, numbers, JSON and declared types answer, and every conversion does.

use proptest::prelude::*;

use crate::model::{TypeKind, Value};
use crate::plan::convert::{Conversion, Scratch};
use crate::plan::decimal::Decimal;
use crate::plan::declared::Declared;
use crate::plan::profile::ColumnProfile;
use crate::plan::time::Moment;
use crate::plan::transform::{BadText, Transform};
use crate::plan::{json, mapping};

/// A million cases under `CANDLEFISH_LONG`, some thousands otherwise.
fn cases() -> ProptestConfig {
    let long = std::env::var_os("CANDLEFISH_LONG").is_some_and(|long| long == "1");
    ProptestConfig { cases: if long { 1_000_000 } else { 4_000 }, failure_persistence: None, ..ProptestConfig::default() }
}

/// Bytes that look like what the readers read, and bytes that look like nothing.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let text = |pattern: &'static str| proptest::string::string_regex(pattern).expect("a pattern").prop_map(String::into_bytes);
    prop_oneof![
        3 => text("[0-9]{1,5}-[0-9]{1,2}-[0-9]{1,2}([ Tt][0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{0,12})?)?( ?(Z|UTC|[+-][0-9]{1,2}:?[0-9]{0,2}))?)?"),
        2 => text("[0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}(\\.[0-9]{0,8})?)?"),
        3 => text("[-+]?[0-9]{0,25}\\.?[0-9]{0,25}([eE][-+]?[0-9]{0,6})?"),
        2 => text("[-+:. 0-9TZe]{0,30}"),
        2 => text("[\\[\\]{}\",:0-9eE.+\\-truefalsn\\\\ u]{0,40}"),
        1 => text("[{(]?[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}[})]?"),
        1 => text(".{0,12}"),
        1 => proptest::collection::vec(any::<u8>(), 0..24),
    ]
}

fn value(class: u8, integer: i64, real: f64, bytes: &[u8]) -> Value<'_> {
    match class % 5 {
        0 => Value::Null,
        1 => Value::Integer(integer),
        2 => Value::Real(real),
        3 => Value::Text(bytes),
        _ => Value::Blob(bytes),
    }
}

fn kinds() -> Vec<TypeKind> {
    vec![
        TypeKind::Bool,
        TypeKind::Int2,
        TypeKind::Int4,
        TypeKind::Int8,
        TypeKind::Float4,
        TypeKind::Float8,
        TypeKind::NUMERIC,
        TypeKind::Numeric { limits: Some((10, 2)) },
        TypeKind::Numeric { limits: Some((5, -2)) },
        TypeKind::TEXT,
        TypeKind::Text { max_chars: Some(3) },
        TypeKind::Char { chars: 4 },
        TypeKind::Bytea,
        TypeKind::Date,
        TypeKind::Time,
        TypeKind::Timestamp,
        TypeKind::TimestampTz,
        TypeKind::Uuid,
        TypeKind::Json,
        TypeKind::Jsonb,
        TypeKind::Enum { labels: vec!["ok".into()] },
        TypeKind::Other,
    ]
}

const TRANSFORMS: [&str; 8] = ["", "epoch:s", "epoch:ms", "epoch:us", "epoch:ns", "epoch:julian", "epoch:2001", "epoch:1601"];
const BAD_TEXTS: [BadText; 5] = [BadText::Reject, BadText::Strip, BadText::Replace, BadText::Latin1, BadText::Windows1252];

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn readers_answer_whatever_they_are_given(text in bytes()) {
        if let Some(moment) = Moment::parse(&text) {
            let _ = (moment.shape(), moment.local_micros(), moment.utc_micros());
            prop_assert!(moment.micros.is_none_or(|micros| (0..86_400_000_000).contains(&micros)), "{:?}", moment);
        }
        if let Some(decimal) = Decimal::parse(&text) {
            let _ = (decimal.scale(), decimal.integer_digits(), decimal.fits(10, 2));
        }
        let _ = json::shape(&text);
        let declared = String::from_utf8_lossy(&text);
        let _ = (Declared::parse(&declared), mapping::type_from_sql(&declared), Transform::parse(&declared));
    }

    #[test]
    fn numbers_are_their_own_decimals(integer in any::<i64>(), real in any::<f64>()) {
        let written = |text: String| Decimal::parse(text.as_bytes());
        let same = |a: Decimal, b: Option<Decimal>| b.is_some_and(|b| {
            (a.negative, a.point, a.digits().to_vec()) == (b.negative, b.point, b.digits().to_vec())
        });
        prop_assert!(same(Decimal::from_integer(integer), written(integer.to_string())), "{}", integer);
        if real.is_finite() && real != 0.0 {
            prop_assert!(same(Decimal::from_real(real), written(format!("{real:e}"))), "{:e}", real);
        }
    }

    #[test]
    fn every_value_is_converted_or_refused(class in any::<u8>(), integer in any::<i64>(), real in any::<f64>(), text in bytes(), pick in any::<usize>()) {
        let value = value(class, integer, real, &text);
        let mut scratch = Scratch::default();
        let mut profile = ColumnProfile::default();
        profile.observe(value, 1, Declared::parse("DATETIME"));
        prop_assert!(profile.values() <= 1);
        for kind in kinds() {
            let mut conversion = Conversion::new(kind);
            conversion.transform = Transform::try_from(TRANSFORMS[pick % TRANSFORMS.len()].to_string()).expect("a transform");
            conversion.bad_text = BAD_TEXTS[pick / 8 % BAD_TEXTS.len()];
            let _ = conversion.convert(value, &mut scratch);
        }
    }
}

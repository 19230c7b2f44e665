//! What the rows say: one pass over every value of a table, before anything is decided.

use serde::{Deserialize, Serialize};

use crate::model::{Table, Value};
use crate::plan::decimal::{Decimal, whole};
use crate::plan::declared::Declared;
use crate::plan::json::{self, JsonShape};
use crate::plan::time::{Moment, MomentShape};

/// Something that can be true of a value and matters for its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trait {
    Null,
    Integer,
    Real,
    Text,
    Blob,
    /// An integer other than 0 and 1.
    IntegerNotBit,
    /// An integer that a double cannot hold exactly.
    IntegerBeyondDouble,
    /// A REAL that is no whole number, or one beyond the 64 bits of an integer.
    RealFraction,
    RealInfinite,
    /// A REAL zero with a minus sign: no integer and no numeric can say it.
    RealMinusZero,
    TextEmpty,
    TextInvalidUtf8,
    TextNul,
    Date,
    Time,
    Naive,
    Zoned,
    NotMoment,
    /// A time spelled as SQLite's own functions spell it: `2024-01-31 23:59:59`, `23:59:59`.
    OwnSpelling,
    /// A time of day that PostgreSQL would print in another way: `10:00`, `10:00:00.50`.
    TimeRespelled,
    SpelledBool,
    Uuid,
    Json,
    Jsonb,
}

const TRAITS: usize = Trait::Jsonb as usize + 1;

/// How many values, and the first few rows that hold one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    first: [i64; Tally::EXAMPLES],
}

/// Of what no value is.
const NOTHING: Tally = Tally { count: 0, first: [0; Tally::EXAMPLES] };

impl Tally {
    const EXAMPLES: usize = 3;

    fn add(&mut self, row: i64) {
        if let Some(slot) = self.first.get_mut(self.count as usize) {
            *slot = row;
        }
        self.count += 1;
    }

    fn merge(&mut self, later: &Tally) {
        for row in later.examples() {
            self.add(*row);
        }
        self.count += later.count - later.examples().len() as u64;
    }

    /// Up to three rows (rowids, or ordinals from 1 in a table without them).
    pub fn examples(&self) -> &[i64] {
        &self.first[..(self.count as usize).min(Self::EXAMPLES)]
    }
}

/// Spellings of true and false; a column is boolean only when it keeps to one pair.
pub const BOOL_PAIRS: [(&str, &str); 9] =
    [("true", "false"), ("t", "f"), ("True", "False"), ("TRUE", "FALSE"), ("T", "F"), ("yes", "no"), ("Yes", "No"), ("y", "n"), ("Y", "N")];

/// What was seen in one column.
#[derive(Clone, Debug)]
pub struct ColumnProfile {
    /// Of what was seen at all, in the order in which it was seen first: few things are ever true of one column, and columns may be many.
    tallies: Vec<Tally>,
    /// By trait: its place in `tallies`, counted from 1; 0 where nothing was seen.
    places: [u8; TRAITS],
    pub integer_min: i64,
    pub integer_max: i64,
    pub real_min: f64,
    pub real_max: f64,
    /// The longest text in characters; counted only where the declared type has a length.
    pub text_max_chars: u64,
    /// The longest text or blob.
    pub max_bytes: u64,
    /// Digits before and after the point, over all numbers; counted only where the declared type is numeric.
    pub decimal_integer_digits: u32,
    pub decimal_scale: u32,
    /// The form in which the times so far are spelled, as a number; none before the first.
    spelling: Option<u64>,
    /// Two of them are spelled in different forms.
    spelled_apart: bool,
    /// One bit a pair of `BOOL_PAIRS` that every spelled boolean so far belongs to.
    bool_pairs: u16,
}

impl Default for ColumnProfile {
    fn default() -> Self {
        ColumnProfile {
            tallies: Vec::new(),
            places: [0; TRAITS],
            integer_min: i64::MAX,
            integer_max: i64::MIN,
            real_min: f64::INFINITY,
            real_max: f64::NEG_INFINITY,
            text_max_chars: 0,
            max_bytes: 0,
            decimal_integer_digits: 0,
            decimal_scale: 0,
            spelling: None,
            spelled_apart: false,
            bool_pairs: (1 << BOOL_PAIRS.len()) - 1,
        }
    }
}

impl ColumnProfile {
    /// Takes in one value of row `row`.
    pub fn observe(&mut self, value: Value<'_>, row: i64, declared: Declared) {
        match value {
            Value::Null => self.note(Trait::Null, row),
            Value::Integer(integer) => self.observe_integer(integer, row, declared),
            Value::Real(real) => self.observe_real(real, row, declared),
            Value::Text(text) => self.observe_text(text, row, declared),
            Value::Blob(blob) => {
                self.note(Trait::Blob, row);
                self.max_bytes = self.max_bytes.max(blob.len() as u64);
            }
        }
    }

    /// Gives back what room it does not need.
    pub fn shrink(&mut self) {
        self.tallies.shrink_to_fit();
    }

    fn observe_integer(&mut self, integer: i64, row: i64, declared: Declared) {
        self.note(Trait::Integer, row);
        self.integer_min = self.integer_min.min(integer);
        self.integer_max = self.integer_max.max(integer);
        if integer & !1 != 0 {
            self.note(Trait::IntegerNotBit, row);
            if integer.unsigned_abs() > 1 << 53 {
                self.note(Trait::IntegerBeyondDouble, row);
            }
        }
        if let Declared::Numeric(_) = declared {
            self.observe_decimal(&Decimal::from_integer(integer));
        }
    }

    fn observe_real(&mut self, real: f64, row: i64, declared: Declared) {
        self.note(Trait::Real, row);
        self.real_min = self.real_min.min(real);
        self.real_max = self.real_max.max(real);
        if real.is_infinite() {
            self.note(Trait::RealInfinite, row);
        } else if real == 0.0 && real.is_sign_negative() {
            self.note(Trait::RealMinusZero, row);
        } else if whole(real).is_none() {
            self.note(Trait::RealFraction, row);
        }
        if let Declared::Numeric(_) = declared
            && real.is_finite()
        {
            self.observe_decimal(&Decimal::from_real(real));
        }
    }

    fn observe_decimal(&mut self, decimal: &Decimal) {
        self.decimal_integer_digits = self.decimal_integer_digits.max(decimal.integer_digits());
        self.decimal_scale = self.decimal_scale.max(decimal.scale());
    }

    fn observe_text(&mut self, text: &[u8], row: i64, declared: Declared) {
        self.note(Trait::Text, row);
        self.max_bytes = self.max_bytes.max(text.len() as u64);
        if text.is_empty() {
            self.note(Trait::TextEmpty, row);
        }
        // Nearly every text is ASCII: one look tells that it is UTF-8 and without NUL.
        let plain = is_plain(text);
        if !plain && simdutf8::basic::from_utf8(text).is_err() {
            self.note(Trait::TextInvalidUtf8, row);
            return;
        }
        if !plain && text.contains(&0) {
            self.note(Trait::TextNul, row);
            return;
        }
        match declared {
            Declared::Text(Some(_)) => {
                let chars = if plain { text.len() } else { text.utf8_chunks().map(|chunk| chunk.valid().chars().count()).sum() };
                self.text_max_chars = self.text_max_chars.max(chars as u64);
            }
            Declared::Date | Declared::DateTime | Declared::DateTimeTz | Declared::Time => {
                let shape = Moment::parse(text).map(|moment| moment.shape());
                self.note(
                    match shape {
                        Some(MomentShape::Date) => Trait::Date,
                        Some(MomentShape::Time) => Trait::Time,
                        Some(MomentShape::Naive) => Trait::Naive,
                        Some(MomentShape::Zoned) => Trait::Zoned,
                        None => Trait::NotMoment,
                    },
                    row,
                );
                let own = matches!((shape, text.len()), (Some(MomentShape::Naive), 19) | (Some(MomentShape::Time), 8))
                    && !text.contains(&b'T')
                    && !text.contains(&b't');
                // SQLite's own form of a whole time is one form: to look at its bytes again would tell nothing more.
                self.note_spelling(if own && text.len() == 19 { OWN_FORM } else { spelling(text) });
                if own {
                    self.note(Trait::OwnSpelling, row);
                }
                if shape == Some(MomentShape::Time) && !own && (text.len() < 10 || text.ends_with(b"0")) {
                    self.note(Trait::TimeRespelled, row);
                }
            }
            Declared::Boolean => {
                let mut pairs = 0;
                for (bit, (yes, no)) in BOOL_PAIRS.iter().enumerate() {
                    if text == yes.as_bytes() || text == no.as_bytes() {
                        pairs |= 1 << bit;
                    }
                }
                if pairs != 0 {
                    self.note(Trait::SpelledBool, row);
                    self.bool_pairs &= pairs;
                }
            }
            Declared::Uuid if is_canonical_uuid(text) => self.note(Trait::Uuid, row),
            Declared::Json => match json::shape(text) {
                Some(JsonShape::Lossless) => {
                    self.note(Trait::Json, row);
                    self.note(Trait::Jsonb, row);
                }
                Some(JsonShape::NumberRespelled | JsonShape::TextMatters) => self.note(Trait::Json, row),
                None => {}
            },
            _ => {}
        }
    }

    fn note_spelling(&mut self, spelling: u64) {
        self.spelled_apart |= *self.spelling.get_or_insert(spelling) != spelling;
    }

    /// All times are spelled in one form, so that two texts are two times.
    pub fn spelled_alike(&self) -> bool {
        !self.spelled_apart
    }

    #[inline]
    fn note(&mut self, what: Trait, row: i64) {
        self.tally_of(what as usize).add(row);
    }

    #[inline]
    fn tally_of(&mut self, what: usize) -> &mut Tally {
        if self.places[what] == 0 {
            self.tallies.push(Tally::default());
            self.places[what] = self.tallies.len() as u8;
        }
        &mut self.tallies[usize::from(self.places[what]) - 1]
    }

    /// Takes in what another pass saw of later rows of the same column.
    pub fn merge(&mut self, later: &ColumnProfile) {
        for (what, place) in later.places.iter().enumerate().filter(|(_, place)| **place > 0) {
            self.tally_of(what).merge(&later.tallies[usize::from(*place) - 1]);
        }
        self.integer_min = self.integer_min.min(later.integer_min);
        self.integer_max = self.integer_max.max(later.integer_max);
        self.real_min = self.real_min.min(later.real_min);
        self.real_max = self.real_max.max(later.real_max);
        self.text_max_chars = self.text_max_chars.max(later.text_max_chars);
        self.max_bytes = self.max_bytes.max(later.max_bytes);
        self.decimal_integer_digits = self.decimal_integer_digits.max(later.decimal_integer_digits);
        self.decimal_scale = self.decimal_scale.max(later.decimal_scale);
        self.bool_pairs &= later.bool_pairs;
        self.spelled_apart |= later.spelled_apart;
        later.spelling.into_iter().for_each(|spelling| self.note_spelling(spelling));
    }

    pub fn tally(&self, what: Trait) -> &Tally {
        match self.places[what as usize] {
            0 => &NOTHING,
            place => &self.tallies[usize::from(place) - 1],
        }
    }

    pub fn count(&self, what: Trait) -> u64 {
        self.tally(what).count
    }

    pub fn has(&self, what: Trait) -> bool {
        self.count(what) > 0
    }

    /// The least and the most of the values, 0 where there is none; unless one is no integer.
    pub fn integers(&self) -> Option<(i128, i128)> {
        match (self.values(), self.count(Trait::Integer)) {
            (0, _) => Some((0, 0)),
            (values, integers) => (values == integers).then(|| (self.integer_min.into(), self.integer_max.into())),
        }
    }

    /// Values that are not NULL.
    pub fn values(&self) -> u64 {
        self.count(Trait::Integer) + self.count(Trait::Real) + self.count(Trait::Text) + self.count(Trait::Blob)
    }

    /// The one pair of spellings that every text keeps to.
    pub fn bool_pair(&self) -> Option<(&'static str, &'static str)> {
        if self.count(Trait::SpelledBool) == 0 || self.count(Trait::SpelledBool) != self.count(Trait::Text) {
            return None;
        }
        BOOL_PAIRS.iter().enumerate().find(|(bit, _)| self.bool_pairs & (1 << bit) != 0).map(|(_, pair)| *pair)
    }

    /// True when PostgreSQL cannot hold some text of the column as text.
    pub fn has_bad_text(&self) -> bool {
        self.has(Trait::TextInvalidUtf8) || self.has(Trait::TextNul)
    }
}

/// Of `2024-01-31 23:59:59`.
const OWN_FORM: u64 = 0;

/// The form of a time's text: where its digits stand, what stands between them, and its offset as it is.
fn spelling(text: &[u8]) -> u64 {
    let offset = text.iter().rposition(|byte| matches!(byte, b'+' | b'-')).filter(|at| *at > 10).unwrap_or(text.len());
    let form = text.iter().enumerate().map(|(at, byte)| if at < offset && byte.is_ascii_digit() { b'0' } else { *byte });
    form.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// ASCII without NUL. Looks at every byte, so that it can be done many bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(0, |seen, byte| seen | byte | byte.wrapping_sub(1)) < 0x80
}

/// True for the one spelling that PostgreSQL gives back: 8-4-4-4-12 lower-case hexadecimal digits.
pub fn is_canonical_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
        })
}

/// Rows between two rowids, both inclusive, in the order of the table's b-tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRange {
    pub first: i64,
    pub last: i64,
    pub rows: u64,
    pub bytes: u64,
}

/// What was seen in one table.
#[derive(Clone, Debug, Default)]
pub struct TableProfile {
    pub rows: u64,
    /// Bytes of all values, numbers counted as eight.
    pub bytes: u64,
    /// The least that the widest row takes in a heap page, its long values moved out and compressed as far as that can go.
    pub min_tuple_bytes: u64,
    /// The row that needs them.
    pub widest_row: i64,
    pub columns: Vec<ColumnProfile>,
    /// The table cut into ranges of about equal bytes; empty for a table without rowids.
    pub ranges: Vec<RowRange>,
    /// What the table's indexes should have of it.
    pub sums: RowSums,
    /// A virtual table may refuse to be read, for reasons of its module's.
    pub unreadable: Option<String>,
    /// Nobody has looked at the rows.
    pub unseen: bool,
}

/// A table's rows without regard to order: how many, and for each of its indexes that should have them all a sum over what that has of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSums {
    pub rows: u64,
    pub sums: Vec<u64>,
}

impl RowSums {
    pub fn merge(&mut self, later: &RowSums) {
        self.rows += later.rows;
        self.sums.resize(self.sums.len().max(later.sums.len()), 0);
        self.sums.iter_mut().zip(&later.sums).for_each(|(mine, theirs)| *mine = mine.wrapping_add(*theirs));
    }
}

impl TableProfile {
    /// Of a table whose rows nobody has looked at.
    pub fn unseen(table: &Table) -> Self {
        TableProfile { columns: vec![ColumnProfile::default(); table.columns.len()], unseen: true, ..TableProfile::default() }
    }

    pub fn merge(&mut self, later: TableProfile) {
        if self.columns.is_empty() {
            *self = TableProfile { unreadable: self.unreadable.take().or(later.unreadable), ..later };
            return;
        }
        self.rows += later.rows;
        self.bytes += later.bytes;
        if later.min_tuple_bytes > self.min_tuple_bytes {
            self.min_tuple_bytes = later.min_tuple_bytes;
            self.widest_row = later.widest_row;
        }
        for (mine, theirs) in self.columns.iter_mut().zip(&later.columns) {
            mine.merge(theirs);
        }
        self.ranges.extend(later.ranges);
        self.sums.merge(&later.sums);
        self.unreadable = self.unreadable.take().or(later.unreadable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(declared: &str, values: &[Value<'_>]) -> ColumnProfile {
        let mut profile = ColumnProfile::default();
        for (row, value) in values.iter().enumerate() {
            profile.observe(*value, row as i64 + 1, Declared::parse(declared));
        }
        profile
    }

    #[test]
    fn every_value_is_counted_with_examples() {
        let seen = profile("INTEGER", &[Value::Integer(5), Value::Null, Value::Text(b"lots"), Value::Real(1.5), Value::Integer(1)]);
        assert_eq!((seen.count(Trait::Integer), seen.count(Trait::Null), seen.values()), (2, 1, 4));
        assert_eq!(seen.tally(Trait::Text).examples(), [3]);
        assert_eq!((seen.integer_min, seen.integer_max), (1, 5));
        assert!(seen.has(Trait::RealFraction));
    }

    #[test]
    fn a_boolean_keeps_to_one_spelling() {
        assert_eq!(profile("BOOLEAN", &[Value::Text(b"t"), Value::Text(b"f")]).bool_pair(), Some(("t", "f")));
        assert_eq!(profile("BOOLEAN", &[Value::Text(b"true"), Value::Text(b"f")]).bool_pair(), None);
        assert_eq!(profile("BOOLEAN", &[Value::Text(b"true"), Value::Text(b"maybe")]).bool_pair(), None);
    }

    #[test]
    fn two_passes_make_one_profile() {
        let mut first = profile("TEXT", &[Value::Text(b"a"), Value::Text(b"")]);
        first.merge(&profile("TEXT", &[Value::Text(b"\xff"), Value::Text(b"a\0b"), Value::Text(b"")]));
        assert_eq!((first.count(Trait::Text), first.count(Trait::TextEmpty), first.count(Trait::TextNul)), (5, 2, 1));
        assert_eq!(first.tally(Trait::TextEmpty).examples(), [2, 3]);
    }
}

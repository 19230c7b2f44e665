//! Rows of SQLite as the bytes of COPY: binary, or text for tables with a column that has no binary form.

use std::io::Write as _;
use std::sync::Arc;

use crate::migrate::asked::Texts;
use crate::model::TypeKind;
use crate::plan::convert::{Conversion, Datum, Misfit, Scratch};
use crate::plan::time::MICROS_PER_DAY;
use crate::plan::{ColumnPlan, TablePlan};
use crate::postgres::statement::CopyFormat;
use crate::sqlite::Row;

/// From 1970-01-01 to PostgreSQL's own epoch, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * MICROS_PER_DAY;

/// Encodes the rows of one table. Per row it allocates nothing.
pub struct RowEncoder {
    columns: Vec<EncodeColumn>,
    format: CopyFormat,
    scratch: Scratch,
}

struct EncodeColumn {
    /// The column's place in the scan.
    place: usize,
    conversion: Conversion,
    wire: Wire,
}

/// What the type of a column says about bytes beyond its datum.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// Numbers of eight bytes, and everything that has its own length.
    Plain,
    TwoBytes,
    FourBytes,
    /// Microseconds count from 2000-01-01, not from midnight.
    Timestamp,
    /// A byte with the version comes first.
    Jsonb,
}

impl Wire {
    fn of(kind: &TypeKind) -> Self {
        match kind {
            TypeKind::Int2 => Wire::TwoBytes,
            TypeKind::Int4 | TypeKind::Float4 => Wire::FourBytes,
            TypeKind::Timestamp | TypeKind::TimestampTz => Wire::Timestamp,
            TypeKind::Jsonb => Wire::Jsonb,
            _ => Wire::Plain,
        }
    }
}

/// Which columns of a row did not fit, and why; at least one.
#[derive(Clone, Debug)]
pub struct RowMisfit {
    pub first: ColumnMisfit,
    pub others: Vec<ColumnMisfit>,
}

#[derive(Clone, Debug)]
pub struct ColumnMisfit {
    /// The column's place among the plan's copied columns.
    pub column: usize,
    pub reason: String,
}

impl ColumnMisfit {
    /// The column's name in SQLite.
    pub fn source<'a>(&self, table: &'a TablePlan) -> Option<&'a str> {
        copied(table).nth(self.column).map(|column| column.source.as_str())
    }
}

/// The columns of the plan that COPY carries.
pub fn copied(table: &TablePlan) -> impl Iterator<Item = &ColumnPlan> {
    table.columns.iter().map(Arc::as_ref).filter(|column| !column.computed)
}

/// The format that all of a table's columns have.
pub fn format(table: &TablePlan) -> CopyFormat {
    if copied(table).all(|column| column.column_type.kind.has_binary_form()) { CopyFormat::Binary } else { CopyFormat::Text }
}

impl RowEncoder {
    /// `scanned` are the places in `Table::columns` that the scan reads, in its order.
    pub fn new(table: &TablePlan, scanned: &[usize]) -> Self {
        let column = |column: &ColumnPlan| EncodeColumn {
            place: scanned.iter().position(|place| *place == column.source_index).expect("the scan reads every copied column"),
            wire: Wire::of(&column.column_type.kind),
            conversion: column.conversion.clone(),
        };
        RowEncoder { columns: copied(table).map(column).collect(), format: format(table), scratch: Scratch::default() }
    }

    /// Appends the row to `out`; when a value does not fit, `out` stays as it was.
    pub fn encode(&mut self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), RowMisfit> {
        let start = out.len();
        let result = match self.format {
            CopyFormat::Binary => self.binary(row, out),
            CopyFormat::Text => self.text(row, out),
        };
        result.map_err(|(column, misfit)| {
            out.truncate(start);
            RowMisfit { first: ColumnMisfit { column, reason: misfit.reason }, others: self.misfits_after(row, column) }
        })
    }

    /// Adds the row's texts of the types that only the server knows, once the row has been encoded.
    pub fn add_texts(&mut self, row: &Row<'_>, texts: &mut Texts) {
        let asked = self.columns.iter().filter(|column| column.conversion.asked().is_some());
        for (place, column) in asked.enumerate() {
            if texts.columns.len() <= place {
                texts.columns.push(Vec::new());
            }
            let text = match column.conversion.convert(row.value(column.place), &mut self.scratch) {
                Ok(Datum::Text(text)) => Some(String::from_utf8_lossy(text).into_owned()),
                _ => None,
            };
            texts.columns[place].push(text);
        }
    }

    /// Whoever mends the first column should not have to come back for the next.
    fn misfits_after(&mut self, row: &Row<'_>, first: usize) -> Vec<ColumnMisfit> {
        let mut others = Vec::new();
        for (index, column) in self.columns.iter().enumerate().skip(first + 1) {
            if let Err(misfit) = column.conversion.convert(row.value(column.place), &mut self.scratch) {
                others.push(ColumnMisfit { column: index, reason: misfit.reason });
            }
        }
        others
    }

    fn binary(&mut self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), (usize, Misfit)> {
        out.extend_from_slice(&(self.columns.len() as i16).to_be_bytes());
        for (index, column) in self.columns.iter().enumerate() {
            let datum = column.conversion.convert(row.value(column.place), &mut self.scratch).map_err(|misfit| (index, misfit))?;
            write_binary(datum, column.wire, out);
        }
        Ok(())
    }

    fn text(&mut self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<(), (usize, Misfit)> {
        for (index, column) in self.columns.iter().enumerate() {
            if index > 0 {
                out.push(b'\t');
            }
            let datum = column.conversion.convert(row.value(column.place), &mut self.scratch).map_err(|misfit| (index, misfit))?;
            write_text(datum, column.wire, out);
        }
        out.push(b'\n');
        Ok(())
    }
}

fn write_binary(datum: Datum<'_>, wire: Wire, out: &mut Vec<u8>) {
    let mut fixed = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    match datum {
        Datum::Null => out.extend_from_slice(&(-1i32).to_be_bytes()),
        Datum::Bool(truth) => fixed(&[u8::from(truth)]),
        Datum::Int(integer) => match wire {
            Wire::TwoBytes => fixed(&(integer as i16).to_be_bytes()),
            Wire::FourBytes => fixed(&(integer as i32).to_be_bytes()),
            _ => fixed(&integer.to_be_bytes()),
        },
        Datum::Float(real) if wire == Wire::FourBytes => fixed(&(real as f32).to_be_bytes()),
        Datum::Float(real) => fixed(&real.to_be_bytes()),
        Datum::Numeric { negative, digits, point, scale } => write_numeric(negative, digits, point, scale, out),
        Datum::Text(text) if wire == Wire::Jsonb => {
            out.extend_from_slice(&(text.len() as i32 + 1).to_be_bytes());
            // The version of jsonb's wire form.
            out.push(1);
            out.extend_from_slice(text);
        }
        Datum::Text(bytes) | Datum::Bytes(bytes) => fixed(bytes),
        Datum::Days(days) => fixed(&(days - EPOCH_DAYS).to_be_bytes()),
        Datum::Micros(micros) if wire == Wire::Timestamp => fixed(&(micros - EPOCH_MICROS).to_be_bytes()),
        Datum::Micros(micros) => fixed(&micros.to_be_bytes()),
        Datum::Uuid(bytes) => fixed(&bytes),
    }
}

/// PostgreSQL's numeric: base-10000 digits aligned at the decimal point.
fn write_numeric(negative: bool, digits: &[u8], point: i32, scale: u32, out: &mut Vec<u8>) {
    let start = out.len();
    // Length, number of digits, weight, sign, scale: filled in below.
    out.extend_from_slice(&[0; 12]);
    let mut count = 0i16;
    let mut weight = 0i16;
    if !digits.is_empty() {
        let lead = (point - 1).rem_euclid(4) as usize + 1;
        weight = ((point - lead as i32) / 4) as i16;
        let mut group = 0u16;
        let mut missing = lead;
        for digit in digits {
            group = group * 10 + u16::from(*digit);
            missing -= 1;
            if missing == 0 {
                out.extend_from_slice(&group.to_be_bytes());
                (group, missing, count) = (0, 4, count + 1);
            }
        }
        if missing < 4 {
            group *= 10u16.pow(missing as u32);
            out.extend_from_slice(&group.to_be_bytes());
            count += 1;
        }
    }
    let length = (out.len() - start - 4) as i32;
    let sign: u16 = if negative { 0x4000 } else { 0 };
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4..start + 6].copy_from_slice(&count.to_be_bytes());
    out[start + 6..start + 8].copy_from_slice(&weight.to_be_bytes());
    out[start + 8..start + 10].copy_from_slice(&sign.to_be_bytes());
    out[start + 10..start + 12].copy_from_slice(&(scale as u16).to_be_bytes());
}

fn write_text(datum: Datum<'_>, wire: Wire, out: &mut Vec<u8>) {
    let result = match datum {
        Datum::Null => out.write_all(b"\\N"),
        Datum::Bool(truth) => out.write_all(if truth { b"t" } else { b"f" }),
        Datum::Int(integer) => write!(out, "{integer}"),
        Datum::Float(real) if real.is_infinite() => out.write_all(if real > 0.0 { b"Infinity" } else { b"-Infinity" }),
        Datum::Float(real) if wire == Wire::FourBytes => write!(out, "{:e}", real as f32),
        Datum::Float(real) => write!(out, "{real:e}"),
        Datum::Numeric { negative, digits, point, scale: _ } => {
            let digits: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
            let sign = if negative { "-" } else { "" };
            if digits.is_empty() { out.write_all(b"0") } else { write!(out, "{sign}0.{digits}e{point}") }
        }
        Datum::Text(text) => escape(text, out),
        Datum::Bytes(bytes) => {
            out.extend_from_slice(b"\\\\x");
            bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
        }
        Datum::Days(days) => {
            let era = write_day(days, out);
            out.write_all(era)
        }
        Datum::Micros(micros) if wire == Wire::Timestamp => write_timestamp(micros, out),
        Datum::Micros(micros) => write_time(micros, out),
        Datum::Uuid(bytes) => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
    };
    result.expect("a Vec takes every byte");
}

/// `YYYY-MM-DD HH:MM:SS.ffffff+00`: `timestamp` reads what stands before the offset.
fn write_timestamp(micros: i64, out: &mut Vec<u8>) -> std::io::Result<()> {
    let era = write_day(micros.div_euclid(MICROS_PER_DAY) as i32, out);
    out.push(b' ');
    write_time(micros.rem_euclid(MICROS_PER_DAY), out)?;
    out.write_all(b"+00")?;
    out.write_all(era)
}

/// `YYYY-MM-DD`; returns what PostgreSQL wants at the end, as it has no year 0: the one before 1 is 1 BC.
fn write_day(days: i32, out: &mut Vec<u8>) -> &'static [u8] {
    let (year, month, day) = civil_from_days(days);
    let (year, era): (i64, &[u8]) = if year > 0 { (year, b"") } else { (1 - year, b" BC") };
    write!(out, "{year:04}-{month:02}-{day:02}").expect("a Vec takes every byte");
    era
}

fn write_time(micros: i64, out: &mut Vec<u8>) -> std::io::Result<()> {
    let seconds = micros / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, micros % 1_000_000)
}

/// The inverse of `days_from_civil`, by Howard Hinnant.
fn civil_from_days(days: i32) -> (i64, i64, i64) {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// COPY's text escapes.
fn escape(text: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    for byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.push(*byte),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(negative: bool, digits: &[u8], point: i32, scale: u32) -> Vec<i16> {
        let mut out = Vec::new();
        write_numeric(negative, digits, point, scale, &mut out);
        out[4..].chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn numeric_digits_stand_in_groups_of_four_around_the_point() {
        // number of digits, weight, sign, scale, digits…
        assert_eq!(numeric(false, &[1, 2, 3, 0, 9, 9], 4, 2), [2, 0, 0, 2, 1230, 9900]);
        assert_eq!(numeric(true, &[1, 2, 3, 4, 5], 5, 0), [2, 1, 0x4000, 0, 1, 2345]);
        assert_eq!(numeric(false, &[5], -2, 3), [1, -1, 0, 3, 50]);
        assert_eq!(numeric(false, &[5], -4, 5), [1, -2, 0, 5, 5000]);
        assert_eq!(numeric(false, &[], 0, 2), [0, 0, 0, 2]);
        assert_eq!(numeric(false, &[1], 301, 0), [1, 75, 0, 0, 1]);
    }

    #[test]
    fn text_form() {
        let text = |datum| {
            let mut out = Vec::new();
            let wire = if matches!(datum, Datum::Micros(_)) { Wire::Timestamp } else { Wire::Plain };
            write_text(datum, wire, &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(text(Datum::Text(b"a\tb\\N\n")), "a\\tb\\\\N\\n");
        assert_eq!(text(Datum::Micros(-1)), "1969-12-31 23:59:59.999999+00");
        assert_eq!(text(Datum::Days(19_782)), "2024-02-29");
        assert_eq!(text(Datum::Days(-719_163)), "0001-12-31 BC");
        assert_eq!(text(Datum::Micros(-210_866_760_000_000_000)), "4714-11-24 12:00:00.000000+00 BC");
        assert_eq!(text(Datum::Bytes(&[0, 255])), "\\\\x00ff");
        assert_eq!(text(Datum::Numeric { negative: true, digits: &[7, 5], point: 1, scale: 2 }), "-0.75e1");
    }
}

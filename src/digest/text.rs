//! Text: a REAL as SQLite writes it, and the repairs that a mapping may ask for.

use std::io::Write as _;

use crate::plan::transform::BadText;

/// A REAL as SQLite writes it, with the fewest digits that mean the same double: `2.0`, `0.0001`, `1.5e-05`, `1.0e+15`, `-Inf`.
pub fn write_real(real: f64, out: &mut Vec<u8>) {
    if !real.is_finite() {
        out.extend_from_slice(if real < 0.0 { b"-Inf" } else { b"Inf" });
        return;
    }
    let mut buffer = [0u8; 40];
    let mut rest = &mut buffer[..];
    write!(rest, "{real:e}").expect("forty bytes hold the shortest form of any double");
    let length = 40 - rest.len();
    let text = std::str::from_utf8(&buffer[..length]).expect("a number is ASCII");
    let (mantissa, exponent) = text.split_once('e').expect("the form has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    let unsigned = mantissa.trim_start_matches('-');
    if unsigned.len() < mantissa.len() {
        out.push(b'-');
    }
    let digits = || unsigned.bytes().filter(|byte| *byte != b'.');
    let count = digits().count() as i32;
    match exponent {
        -4..=-1 => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
            out.extend(digits());
        }
        0..=14 => {
            let whole = exponent + 1;
            out.extend(digits().take(whole as usize));
            out.extend(std::iter::repeat_n(b'0', (whole - count).max(0) as usize));
            out.push(b'.');
            if count > whole {
                out.extend(digits().skip(whole as usize));
            } else {
                out.push(b'0');
            }
        }
        _ => {
            out.extend(digits().take(1));
            out.push(b'.');
            if count > 1 {
                out.extend(digits().skip(1));
            } else {
                out.push(b'0');
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(out, "e{sign}{:02}", exponent.unsigned_abs()).expect("a Vec takes every byte");
        }
    }
}

/// True when PostgreSQL can hold the text as it is.
pub fn is_clean(text: &[u8]) -> bool {
    // ASCII without NUL, which nearly every text is, is told by one look at its bytes.
    text.iter().fold(0, |seen, byte| seen | byte | byte.wrapping_sub(1)) < 0x80
        || (simdutf8::basic::from_utf8(text).is_ok() && !text.contains(&0))
}

/// Appends the text as the mapping wants it repaired; none when it wants such rows set aside.
pub fn repair(text: &[u8], how: BadText, out: &mut Vec<u8>) -> Option<()> {
    let (for_nul, for_invalid) = match how {
        BadText::Reject | BadText::Bytea => return None,
        BadText::Strip => ("", ""),
        BadText::Replace => ("\u{2400}", "\u{fffd}"),
        BadText::Latin1 | BadText::Windows1252 => {
            for byte in text {
                let code = match *byte {
                    0 => 0x2400,
                    byte @ 0x80..=0x9f if how == BadText::Windows1252 => WINDOWS_1252[usize::from(byte & 0x1f)],
                    byte => u16::from(byte),
                };
                let character = char::from_u32(u32::from(code)).expect("no surrogate is in the table");
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            return Some(());
        }
    };
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\0' => out.extend_from_slice(for_nul.as_bytes()),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(for_invalid.as_bytes());
        }
    }
    Some(())
}

/// Unicode's mapping of CP1252 0x80 to 0x9f; what that leaves open keeps its number.
const WINDOWS_1252: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f, 0x90, 0x2018,
    0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
];

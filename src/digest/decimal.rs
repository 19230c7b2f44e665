//! Numbers in canonical form: a sign, the digits that matter, and where the point stands.

/// What was read; its digits stand at the end of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub negative: bool,
    /// How many digits matter; zero has none.
    pub digits: usize,
    /// The number is ±0.d₁d₂… × 10^point.
    pub point: i32,
    /// Digits after the point, as they were written.
    pub scale: i64,
}

/// Sign, point and number of digits.
const HEAD: usize = 9;

/// Appends the canonical form of `[+-]digits[.digits][e[+-]digits]`; none, and nothing appended, for anything else.
pub fn write_number(text: &[u8], out: &mut Vec<u8>) -> Option<Number> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let number = read(text, start + HEAD, out);
    match number {
        Some(number) => finish(start, number.negative, number.digits, number.point, out),
        None => out.truncate(start),
    }
    number
}

fn read(text: &[u8], first: usize, out: &mut Vec<u8>) -> Option<Number> {
    let (negative, unsigned) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let mut halves = unsigned.splitn(2, |byte| matches!(byte, b'e' | b'E'));
    let mantissa = halves.next()?;
    let exponent: i64 = match halves.next() {
        Some(exponent) => i64::from(std::str::from_utf8(exponent).ok()?.parse::<i32>().ok()?),
        None => 0,
    };
    let mut parts = mantissa.splitn(2, |byte| *byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next().unwrap_or_default());
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    for byte in whole.iter().chain(fraction) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Zeros in front are left out at once.
        if digit != 0 || out.len() > first {
            out.push(digit);
        }
    }
    let leading = whole.len() + fraction.len() - (out.len() - first);
    trim(first, out);
    let digits = out.len() - first;
    let point = i32::try_from(whole.len() as i64 - leading as i64 + exponent).ok()?;
    let scale = (fraction.len() as i64 - exponent).max(0);
    Some(Number { negative: negative && digits > 0, digits, point: if digits == 0 { 0 } else { point }, scale })
}

fn trim(first: usize, out: &mut Vec<u8>) {
    while out.len() > first && out.last() == Some(&0) {
        out.pop();
    }
}

/// Rounds the canonical number that begins at `start` to so many digits after the point, halves away from zero; where its point stands then.
pub fn round(start: usize, scale: i16, out: &mut Vec<u8>) -> i32 {
    let first = start + HEAD;
    let negative = out[start] == 1;
    let mut point = i32::from_le_bytes([out[start + 1], out[start + 2], out[start + 3], out[start + 4]]);
    let kept = i64::from(point) + i64::from(scale);
    if kept < (out.len() - first) as i64 {
        let up = kept >= 0 && out[first + kept as usize] >= 5;
        out.truncate(first + kept.max(0) as usize);
        if up {
            // A digit in front takes what is carried through all others.
            out.insert(first, 0);
            point += 1;
            let mut at = out.len() - 1;
            while out[at] == 9 {
                out[at] = 0;
                at -= 1;
            }
            out[at] += 1;
            if out[first] == 0 {
                out.remove(first);
                point -= 1;
            }
        }
        trim(first, out);
    }
    let digits = out.len() - first;
    let point = if digits == 0 { 0 } else { point };
    finish(start, negative, digits, point, out);
    point
}

fn finish(start: usize, negative: bool, digits: usize, point: i32, out: &mut [u8]) {
    out[start] = match (digits, negative) {
        (0, _) => 0,
        (_, true) => 1,
        (_, false) => 2,
    };
    out[start + 1..start + 5].copy_from_slice(&point.to_le_bytes());
    out[start + 5..start + 9].copy_from_slice(&(digits as u32).to_le_bytes());
}

/// PostgreSQL's numeric: groups of four digits, the weight of the first, a sign, and a scale that means nothing here.
pub fn write_groups(field: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let word = |at: usize| Some(u16::from_be_bytes([*field.get(at)?, *field.get(at + 1)?]));
    let (count, weight, sign) = (usize::from(word(0)?), i32::from(word(2)? as i16), word(4)?);
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    if sign != 0 && sign != 0x4000 {
        // NaN and the infinities: no REAL becomes one, so any mark of their own will do.
        out[start] = 3;
        out[start + 1..start + 3].copy_from_slice(&sign.to_le_bytes());
        return Some(());
    }
    let first = start + HEAD;
    for group in 0..count {
        let value = word(8 + 2 * group)?;
        for digit in [value / 1000, value / 100 % 10, value / 10 % 10, value % 10] {
            if digit != 0 || out.len() > first {
                out.push(digit as u8);
            }
        }
    }
    let leading = (4 * count) as i32 - (out.len() - first) as i32;
    trim(first, out);
    let digits = out.len() - first;
    let point = if digits == 0 { 0 } else { (weight + 1) * 4 - leading };
    finish(start, sign == 0x4000, digits, point, out);
    Some(())
}

/// A canonical number as people write it; none for NaN and the infinities.
pub fn shown(canonical: &[u8]) -> Option<String> {
    let (head, digits) = canonical.split_at_checked(HEAD)?;
    let point = i32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    if head[0] == 3 {
        return None;
    }
    if digits.is_empty() {
        return Some("0".into());
    }
    let mut text = String::from(if head[0] == 1 { "-" } else { "" });
    let digit = |digit: &u8| char::from(b'0' + digit);
    if point <= 0 {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
        text.extend(digits.iter().map(digit));
        return Some(text);
    }
    let whole = (point as usize).min(digits.len());
    text.extend(digits[..whole].iter().map(digit));
    text.extend(std::iter::repeat_n('0', point as usize - whole));
    if whole < digits.len() {
        text.push('.');
        text.extend(digits[whole..].iter().map(digit));
    }
    Some(text)
}

//! JSON: is it any, and what does it mean? Read by `serde_json`, whatever the depth.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::digest::decimal::write_number;
use crate::digest::write_bytes;

/// Deeper nesting than this is set aside.
const MAX_DEPTH: usize = 500;

/// True when the text is JSON that PostgreSQL can turn into text: every half of a surrogate pair has its other half.
pub fn is_valid(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok() && depth(text) <= MAX_DEPTH && surrogates_pair(text)
}

/// How deep valid JSON is nested.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

fn surrogates_pair(text: &[u8]) -> bool {
    let mut at = 0;
    // A backslash and what follows it, two bytes at a time: `\\u` is no escape of a character.
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    while let Some(next) = text[at..].iter().position(|byte| *byte == b'\\') {
        at += next;
        match unit(at) {
            Some(0xd800..0xdc00) if matches!(unit(at + 6), Some(0xdc00..0xe000)) => at += 12,
            Some(0xd800..0xe000) => return false,
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    true
}

/// Appends what valid JSON means. False when `jsonb` would keep another text with another meaning: a key twice, a character 0, a number that
/// `numeric` does not hold, or a key that is spelled with escapes and may equal another.
pub fn write_meaning(text: &str, out: &mut Vec<u8>) -> Option<bool> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let mut faithful = true;
    write_value(raw, &mut faithful, out)?;
    Some(faithful)
}

fn write_value(raw: &RawValue, faithful: &mut bool, out: &mut Vec<u8>) -> Option<()> {
    let text = raw.get().trim_ascii();
    let first = *text.as_bytes().first()?;
    out.push(first);
    match first {
        b'{' => {
            let mut members = serde_json::from_str::<Members<'_>>(text).ok()?.0;
            members.sort_by(|a, b| a.key.cmp(&b.key));
            *faithful &= members.windows(2).all(|pair| pair[0].key != pair[1].key);
            out.extend_from_slice(&(members.len() as u64).to_le_bytes());
            for member in members {
                *faithful &= !member.escaped && !member.key.contains('\0');
                write_bytes(member.key.as_bytes(), out);
                write_value(member.value, faithful, out)?;
            }
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            out.extend_from_slice(&(items.len() as u64).to_le_bytes());
            items.into_iter().try_for_each(|item| write_value(item, faithful, out))?;
        }
        b'"' => {
            let string: String = serde_json::from_str(text).ok()?;
            *faithful &= !string.contains('\0');
            write_bytes(string.as_bytes(), out);
        }
        b't' | b'f' | b'n' => {}
        _ => {
            // All numbers have one mark, whatever their first character is.
            out.pop();
            out.push(b'#');
            let number = write_number(text.as_bytes(), out);
            // `jsonb` keeps the zeros at a fraction's end: 1.10 is not 1.1.
            out.extend_from_slice(&number.map_or(0, |number| number.scale).to_le_bytes());
            *faithful &= number.is_some() && is_numeric(text) && !(first == b'-' && number.is_some_and(|number| number.digits == 0));
        }
    }
    Some(())
}

/// Within what `numeric` holds, as the plan draws the line.
fn is_numeric(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, ""));
    let scale = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    exponent.trim_start_matches(['+', '-']).len() <= 3 && scale <= 1000 && text.len() <= 2000
}

struct Member<'a> {
    key: String,
    escaped: bool,
    value: &'a RawValue,
}

/// The members of an object as they stand, doubles included.
struct Members<'a>(Vec<Member<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key { text, escaped }) = map.next_key()? {
                    members.push(Member { key: text, escaped, value: map.next_value()? });
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

struct Key {
    text: String,
    escaped: bool,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            // What could be borrowed has no escapes.
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key, E> {
                Ok(Key { text: text.to_string(), escaped: false })
            }

            fn visit_str<E>(self, text: &str) -> Result<Key, E> {
                Ok(Key { text: text.to_string(), escaped: true })
            }
        }
        deserializer.deserialize_str(Text)
    }
}

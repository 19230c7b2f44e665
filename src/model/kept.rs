//! A value of SQLite as a file of rejects keeps it: its storage class beside it, bytes as base64, so that it comes back as it was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value as Json, json};

use crate::model::Value;

/// A value that stands on its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Kept {
    /// `{"type": "text", "value": "…"}`; what is not UTF-8 is in base64.
    pub fn write(value: Value<'_>) -> Json {
        let class = value.storage_class().as_str();
        match value {
            Value::Null => json!({"type": class, "value": null}),
            Value::Integer(integer) => json!({"type": class, "value": integer}),
            // JSON has no infinity, and a double's text must come back as the same double.
            Value::Real(real) => json!({"type": class, "value": real, "text": format!("{real:?}")}),
            Value::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => json!({"type": class, "value": text}),
                Err(_) => json!({"type": class, "base64": BASE64.encode(bytes)}),
            },
            Value::Blob(bytes) => json!({"type": class, "base64": BASE64.encode(bytes)}),
        }
    }

    /// None for anything that `write` did not write.
    pub fn parse(json: &Json) -> Option<Self> {
        let base64 = || json.get("base64").and_then(Json::as_str).and_then(|text| BASE64.decode(text).ok());
        let value = json.get("value");
        Some(match json.get("type")?.as_str()? {
            "null" => Kept::Null,
            "integer" => Kept::Integer(value?.as_i64()?),
            // The text is exact where the number may not be.
            "real" => Kept::Real(json.get("text")?.as_str()?.parse().ok()?),
            "text" => Kept::Text(base64().or_else(|| Some(value?.as_str()?.as_bytes().to_vec()))?),
            "blob" => Kept::Blob(base64()?),
            _ => return None,
        })
    }

    pub fn value(&self) -> Value<'_> {
        match self {
            Kept::Null => Value::Null,
            Kept::Integer(integer) => Value::Integer(*integer),
            Kept::Real(real) => Value::Real(*real),
            Kept::Text(text) => Value::Text(text),
            Kept::Blob(blob) => Value::Blob(blob),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_as_it_was() {
        let values = [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Real(f64::INFINITY),
            Value::Real(-0.0),
            Value::Real(5e-324),
            Value::Text(b"a\0b"),
            Value::Text(b"\xff"),
            Value::Text("é".as_bytes()),
            Value::Blob(b""),
            Value::Blob(&[0, 255]),
        ];
        for value in values {
            let text = Kept::write(value).to_string();
            let json: Json = serde_json::from_str(&text).expect("JSON");
            let back = Kept::parse(&json).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(Kept::write(back.value()).to_string(), text);
            assert_eq!(format!("{:?}", back.value()), format!("{value:?}"));
        }
    }
}

//! Values of a script: what a variable holds and a parameter sends.

use std::fmt;
use std::sync::Arc;

use crate::postgres::Argument;

/// What `\set` computes and `\gset` keeps. A text is read as a number only where an expression needs one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    /// Shared: to draw one that is at hand costs nothing.
    Text(Arc<str>),
}

impl Value {
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    /// As a statement's parameter.
    pub fn argument(&self) -> Argument<'_> {
        match self {
            Value::Null => Argument::Null,
            Value::Bool(truth) => Argument::Bool(*truth),
            Value::Int(int) => Argument::Int(*int),
            Value::Double(double) => Argument::Double(*double),
            Value::Text(text) => Argument::Text(text),
        }
    }

    /// A text as the number or truth that it spells, as pgbench reads a `-D` value; other values as they are.
    pub fn read(&self) -> Option<Value> {
        let Value::Text(text) = self else { return Some(self.clone()) };
        let word = text.trim().to_ascii_lowercase();
        match word.as_str() {
            "null" => Some(Value::Null),
            "t" | "true" | "yes" | "on" => Some(Value::Bool(true)),
            "f" | "false" | "no" | "off" => Some(Value::Bool(false)),
            number => {
                let int = number.parse().ok().map(Value::Int);
                int.or_else(|| number.parse().ok().filter(|double: &f64| double.is_finite()).map(Value::Double))
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Bool(truth) => f.write_str(if *truth { "true" } else { "false" }),
            Value::Int(int) => write!(f, "{int}"),
            Value::Double(double) => write!(f, "{double}"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

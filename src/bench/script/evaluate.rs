//! What an expression comes to: pgbench's arithmetic, with its overflows and NULLs.

use anyhow::{Result, bail};

use super::expression::Expression;
use super::random::{Random, hash_fnv1a, hash_murmur2, permute};
use super::value::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Less,
    Greater,
    AtMost,
    AtLeast,
    Equal,
    Different,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Not,
    IsNull,
    IsTrue,
    IsFalse,
    Abs,
    Int,
    Double,
    Greatest,
    Least,
    Sqrt,
    Ln,
    Exp,
    Pi,
    Power,
    Random,
    Gaussian,
    Exponential,
    Zipfian,
    HashMurmur2,
    HashFnv1a,
    Permute,
}

impl Function {
    /// Name, function, least and most arguments.
    pub const NAMES: [(&str, Function, usize, usize); 20] = [
        ("abs", Function::Abs, 1, 1),
        ("double", Function::Double, 1, 1),
        ("exp", Function::Exp, 1, 1),
        ("greatest", Function::Greatest, 1, usize::MAX),
        ("hash", Function::HashMurmur2, 1, 2),
        ("hash_fnv1a", Function::HashFnv1a, 1, 2),
        ("hash_murmur2", Function::HashMurmur2, 1, 2),
        ("int", Function::Int, 1, 1),
        ("least", Function::Least, 1, usize::MAX),
        ("ln", Function::Ln, 1, 1),
        ("mod", Function::Remainder, 2, 2),
        ("permute", Function::Permute, 2, 3),
        ("pi", Function::Pi, 0, 0),
        ("pow", Function::Power, 2, 2),
        ("power", Function::Power, 2, 2),
        ("random", Function::Random, 2, 2),
        ("random_exponential", Function::Exponential, 3, 3),
        ("random_gaussian", Function::Gaussian, 3, 3),
        ("random_zipfian", Function::Zipfian, 3, 3),
        ("sqrt", Function::Sqrt, 1, 1),
    ];

    pub fn named(word: &str) -> Option<(Function, usize, usize)> {
        Function::NAMES.iter().find(|(name, ..)| *name == word).map(|(_, function, least, most)| (*function, *least, *most))
    }

    pub fn is_hash(self) -> bool {
        matches!(self, Function::HashMurmur2 | Function::HashFnv1a)
    }
}

/// The value of an expression with these variables.
pub fn evaluate(expression: &Expression, variables: &[Value], random: &mut Random) -> Result<Value> {
    match expression {
        Expression::Constant(value) => Ok(value.clone()),
        Expression::Variable(slot) => variable(&variables[slot.index()]),
        Expression::And(both) => logic(both, variables, random, false),
        Expression::Or(both) => logic(both, variables, random, true),
        Expression::Case(branches, otherwise) => {
            for (condition, value) in branches {
                if is_true(&evaluate(condition, variables, random)?)? {
                    return evaluate(value, variables, random);
                }
            }
            evaluate(otherwise, variables, random)
        }
        Expression::Call(function, arguments) => {
            // No function takes more than a few; only least() and greatest() have no end.
            let mut few = [const { Value::Null }; 4];
            if arguments.len() <= few.len() {
                for (value, argument) in few.iter_mut().zip(arguments) {
                    *value = evaluate(argument, variables, random)?;
                }
                return call(*function, &few[..arguments.len()], random);
            }
            let many = arguments.iter().map(|argument| evaluate(argument, variables, random)).collect::<Result<Vec<_>>>()?;
            call(*function, &many, random)
        }
    }
}

/// A condition: NULL and 0 are not true.
pub fn is_true(value: &Value) -> Result<bool> {
    match variable(value)? {
        Value::Null => Ok(false),
        Value::Bool(truth) => Ok(truth),
        Value::Int(int) => Ok(int != 0),
        Value::Double(double) => Ok(double != 0.0),
        Value::Text(_) => bail!("{value:?} is neither true nor false"),
    }
}

fn variable(value: &Value) -> Result<Value> {
    match value.read() {
        Some(value) => Ok(value),
        None => bail!("the text '{value}' is not a number"),
    }
}

/// AND (`decisive` false) and OR (true), with three truths; the right side is not asked when the left decides.
fn logic(both: &(Expression, Expression), variables: &[Value], random: &mut Random, decisive: bool) -> Result<Value> {
    let mut truth_of = |expression: &Expression| -> Result<Option<bool>> {
        match evaluate(expression, variables, random)? {
            Value::Null => Ok(None),
            Value::Bool(truth) => Ok(Some(truth)),
            other => bail!("{other} is not a boolean"),
        }
    };
    let left = truth_of(&both.0)?;
    if left == Some(decisive) {
        return Ok(Value::Bool(decisive));
    }
    Ok(match (left, truth_of(&both.1)?) {
        (_, Some(right)) if right == decisive => Value::Bool(decisive),
        (None, _) | (_, None) => Value::Null,
        _ => Value::Bool(!decisive),
    })
}

fn call(function: Function, values: &[Value], random: &mut Random) -> Result<Value> {
    match function {
        Function::IsNull => return Ok(Value::Bool(values[0] == Value::Null)),
        Function::IsTrue => return Ok(Value::Bool(values[0] == Value::Bool(true))),
        Function::IsFalse => return Ok(Value::Bool(values[0] == Value::Bool(false))),
        _ if values.contains(&Value::Null) => return Ok(Value::Null),
        _ => {}
    }
    let doubles = values.iter().any(|value| matches!(value, Value::Double(_)));
    match function {
        Function::Add | Function::Subtract | Function::Multiply | Function::Divide if doubles => {
            let (left, right) = (double(&values[0])?, double(&values[1])?);
            Ok(Value::Double(match function {
                Function::Add => left + right,
                Function::Subtract => left - right,
                Function::Multiply => left * right,
                _ if right == 0.0 => bail!("division by zero"),
                _ => left / right,
            }))
        }
        Function::Add | Function::Subtract | Function::Multiply | Function::Divide | Function::Remainder => {
            let (left, right) = (int(&values[0])?, int(&values[1])?);
            if matches!(function, Function::Divide | Function::Remainder) && right == 0 {
                bail!("division by zero");
            }
            let result = match function {
                Function::Add => left.checked_add(right),
                Function::Subtract => left.checked_sub(right),
                Function::Multiply => left.checked_mul(right),
                Function::Divide => left.checked_div(right),
                _ => Some(left.wrapping_rem(right)),
            };
            result.map(Value::Int).ok_or_else(|| anyhow::anyhow!("an integer is out of range"))
        }
        Function::Less => compare(values, doubles, |order| order.is_lt()),
        Function::Greater => compare(values, doubles, |order| order.is_gt()),
        Function::AtMost => compare(values, doubles, |order| order.is_le()),
        Function::AtLeast => compare(values, doubles, |order| order.is_ge()),
        Function::Equal => compare(values, doubles, |order| order.is_eq()),
        Function::Different => compare(values, doubles, |order| order.is_ne()),
        Function::BitAnd => Ok(Value::Int(int(&values[0])? & int(&values[1])?)),
        Function::BitOr => Ok(Value::Int(int(&values[0])? | int(&values[1])?)),
        Function::BitXor => Ok(Value::Int(int(&values[0])? ^ int(&values[1])?)),
        Function::ShiftLeft => Ok(Value::Int(int(&values[0])?.wrapping_shl(int(&values[1])? as u32))),
        Function::ShiftRight => Ok(Value::Int(int(&values[0])?.wrapping_shr(int(&values[1])? as u32))),
        Function::Not => Ok(Value::Bool(!is_true(&values[0])?)),
        Function::Abs if doubles => Ok(Value::Double(double(&values[0])?.abs())),
        Function::Abs => Ok(Value::Int(int(&values[0])?.checked_abs().ok_or_else(|| anyhow::anyhow!("an integer is out of range"))?)),
        Function::Int => Ok(Value::Int(int(&values[0])?)),
        Function::Double => Ok(Value::Double(double(&values[0])?)),
        Function::Greatest if doubles => fold_doubles(values, f64::max),
        Function::Least if doubles => fold_doubles(values, f64::min),
        Function::Greatest => fold_ints(values, i64::max),
        Function::Least => fold_ints(values, i64::min),
        Function::Sqrt => Ok(Value::Double(double(&values[0])?.sqrt())),
        Function::Ln => Ok(Value::Double(double(&values[0])?.ln())),
        Function::Exp => Ok(Value::Double(double(&values[0])?.exp())),
        Function::Pi => Ok(Value::Double(std::f64::consts::PI)),
        Function::Power => Ok(Value::Double(double(&values[0])?.powf(double(&values[1])?))),
        Function::Random | Function::Gaussian | Function::Exponential | Function::Zipfian => draw(function, values, random),
        Function::HashMurmur2 => Ok(Value::Int(hash_murmur2(int(&values[0])?, int(&values[1])? as u64))),
        Function::HashFnv1a => Ok(Value::Int(hash_fnv1a(int(&values[0])?, int(&values[1])? as u64))),
        Function::Permute => {
            let size = int(&values[1])?;
            if size <= 0 {
                bail!("the size of permute() is above 0, not {size}");
            }
            Ok(Value::Int(permute(int(&values[0])?, size, int(&values[2])?)))
        }
        Function::IsNull | Function::IsTrue | Function::IsFalse => unreachable!("answered above"),
    }
}

fn draw(function: Function, values: &[Value], random: &mut Random) -> Result<Value> {
    let (low, high) = (int(&values[0])?, int(&values[1])?);
    if low > high {
        bail!("the range of a random number is empty: {low} to {high}");
    }
    if low < 0 && high.checked_sub(low).is_none() {
        bail!("the range of a random number is too large: {low} to {high}");
    }
    let parameter = || double(&values[2]);
    Ok(Value::Int(match function {
        Function::Gaussian => match parameter()? {
            parameter if parameter < 2.0 => bail!("the parameter of random_gaussian() is at least 2, not {parameter}"),
            parameter => random.gaussian(low, high, parameter),
        },
        Function::Exponential => match parameter()? {
            parameter if parameter <= 0.0 => bail!("the parameter of random_exponential() is above 0, not {parameter}"),
            parameter => random.exponential(low, high, parameter),
        },
        Function::Zipfian => match parameter()? {
            parameter if !(1.001..=1000.0).contains(&parameter) => {
                bail!("the parameter of random_zipfian() is from 1.001 to 1000, not {parameter}")
            }
            parameter => random.zipfian(low, high, parameter),
        },
        _ => random.uniform(low, high),
    }))
}

fn compare(values: &[Value], doubles: bool, holds: impl Fn(std::cmp::Ordering) -> bool) -> Result<Value> {
    let order = if doubles {
        // Not a number is neither less nor more nor equal.
        let Some(order) = double(&values[0])?.partial_cmp(&double(&values[1])?) else { return Ok(Value::Bool(false)) };
        order
    } else if let [Value::Bool(left), Value::Bool(right)] = values {
        left.cmp(right)
    } else {
        int(&values[0])?.cmp(&int(&values[1])?)
    };
    Ok(Value::Bool(holds(order)))
}

fn fold_doubles(values: &[Value], pick: fn(f64, f64) -> f64) -> Result<Value> {
    values[1..].iter().try_fold(double(&values[0])?, |best, value| Ok(pick(best, double(value)?))).map(Value::Double)
}

fn fold_ints(values: &[Value], pick: fn(i64, i64) -> i64) -> Result<Value> {
    values[1..].iter().try_fold(int(&values[0])?, |best, value| Ok(pick(best, int(value)?))).map(Value::Int)
}

fn int(value: &Value) -> Result<i64> {
    match value {
        Value::Int(int) => Ok(*int),
        // The nearest, an even one of two; 2^63 itself is out of range.
        Value::Double(double) if (-(2f64.powi(63))..2f64.powi(63)).contains(double) => Ok(double.round_ties_even() as i64),
        Value::Double(double) => bail!("{double} is out of an integer's range"),
        other => bail!("{other} is not a number"),
    }
}

fn double(value: &Value) -> Result<f64> {
    match value {
        Value::Int(int) => Ok(*int as f64),
        Value::Double(double) => Ok(*double),
        other => bail!("{other} is not a number"),
    }
}

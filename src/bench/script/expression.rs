//! pgbench's expressions: read once, evaluated a million times.

use super::evaluate::Function;
use super::value::Value;
use super::{Fault, Names, Slot};

#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    Constant(Value),
    Variable(Slot),
    Call(Function, Vec<Expression>),
    And(Box<(Expression, Expression)>),
    Or(Box<(Expression, Expression)>),
    /// Conditions with their values, and what else.
    Case(Vec<(Expression, Expression)>, Box<Expression>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(Value),
    Variable(String),
    Word(String),
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 22] =
    ["<=", ">=", "<>", "!=", "<<", ">>", "<", ">", "=", "(", ")", ",", "+", "-", "*", "/", "%", "&", "|", "#", "~", ";"];

/// Reads `text`, which stands at `offset` of its file. Variables are looked up in `names`.
pub fn parse(text: &str, offset: usize, names: &mut Names) -> Result<Expression, Fault> {
    let mut parser = Parser { tokens: tokens(text, offset)?, at: 0, names, depth: 0, chained: 0 };
    let expression = parser.binary(0)?;
    match parser.peek() {
        Token::End => Ok(expression),
        _ => Err(parser.unexpected("the expression's end")),
    }
}

fn tokens(text: &str, offset: usize) -> Result<Vec<(Token, usize)>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let start = offset + at;
        // A backslash before a line's end goes on with the next line.
        if first.is_whitespace() || (first == '\\' && rest[1..].trim_start_matches('\r').starts_with('\n')) {
            at += first.len_utf8();
        } else if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            let length = number_length(rest);
            let number = &rest[..length];
            let value = match number.parse::<i64>() {
                Ok(int) => Value::Int(int),
                // 9223372036854775808 is a number only behind a minus.
                Err(_) if number == "9223372036854775808" => Value::Text(number.into()),
                Err(_) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    return Err(Fault::new(start, format!("{number} is too large an integer")));
                }
                Err(_) => number.parse().map(Value::Double).map_err(|_| Fault::new(start, format!("{number} is not a number")))?,
            };
            tokens.push((Token::Number(value), start));
            at += length;
        } else if first == ':' {
            let name: String = rest[1..].chars().take_while(|c| is_name(*c)).collect();
            if name.is_empty() {
                return Err(Fault::new(start, "a variable's name follows a colon"));
            }
            at += 1 + name.len();
            tokens.push((Token::Variable(name), start));
        } else if is_name(first) {
            let word: String = rest.chars().take_while(|c| is_name(*c)).collect();
            at += word.len();
            tokens.push((Token::Word(word.to_ascii_lowercase()), start));
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            at += sign.len();
            tokens.push((Token::Sign(sign), start));
        } else {
            return Err(Fault::new(start, format!("an expression has no {first:?}")));
        }
    }
    tokens.push((Token::End, offset + text.len()));
    Ok(tokens)
}

fn number_length(text: &str) -> usize {
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(0);
    if text[length..].starts_with('.') {
        length += 1 + digits(length + 1);
    }
    if text[length..].starts_with(['e', 'E']) {
        let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

pub fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

struct Parser<'a> {
    tokens: Vec<(Token, usize)>,
    at: usize,
    names: &'a mut Names,
    /// How deep the parser stands in parentheses, signs and calls.
    depth: usize,
    /// Operators so far: each may put what stands before it one level deeper.
    chained: usize,
}

/// What reads an expression and what evaluates it go down as deep as it is, on the stack of a thread.
const DEEPEST: usize = 100;
const LONGEST: usize = 500;

/// Weakest first, as pgbench's grammar has them. NOT and IS stand between AND and the comparisons.
const LEVELS: [&[(&str, Function)]; 4] = [
    &[
        ("<", Function::Less),
        (">", Function::Greater),
        ("<=", Function::AtMost),
        (">=", Function::AtLeast),
        ("=", Function::Equal),
        ("<>", Function::Different),
        ("!=", Function::Different),
    ],
    &[("|", Function::BitOr), ("#", Function::BitXor), ("&", Function::BitAnd), ("<<", Function::ShiftLeft), (">>", Function::ShiftRight)],
    &[("+", Function::Add), ("-", Function::Subtract)],
    &[("*", Function::Multiply), ("/", Function::Divide), ("%", Function::Remainder)],
];

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if found {
            self.next();
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(found) if found == word);
        if found {
            self.next();
        }
        found
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.peek() {
            Token::Number(value) => format!("{value}"),
            Token::Variable(name) => format!(":{name}"),
            Token::Word(word) => format!("\"{word}\""),
            Token::Sign(sign) => format!("\"{sign}\""),
            Token::End => "the end".to_string(),
        };
        Fault::new(self.tokens[self.at].1, format!("{found} stands where {wanted} should"))
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("\"{sign}\""))) }
    }

    /// Reads what stands one level deeper.
    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<Expression, Fault>) -> Result<Expression, Fault> {
        if self.depth == DEEPEST {
            return Err(Fault::new(self.tokens[self.at].1, format!("the expression is nested more than {DEEPEST} deep")));
        }
        self.depth += 1;
        let inner = read(self)?;
        self.depth -= 1;
        Ok(inner)
    }

    /// An operator was read.
    fn one_more(&mut self) -> Result<(), Fault> {
        self.chained += 1;
        if self.chained <= LONGEST {
            return Ok(());
        }
        Err(Fault::new(self.tokens[self.at].1, format!("the expression has more than {LONGEST} operators: \\set a part of it first")))
    }

    /// 0: OR, 1: AND, 2: NOT, 3: IS, then [`LEVELS`].
    fn binary(&mut self, level: usize) -> Result<Expression, Fault> {
        match level {
            0 | 1 => {
                let word = ["or", "and"][level];
                let mut left = self.binary(level + 1)?;
                while self.take_word(word) {
                    self.one_more()?;
                    let both = Box::new((left, self.binary(level + 1)?));
                    left = if level == 0 { Expression::Or(both) } else { Expression::And(both) };
                }
                Ok(left)
            }
            2 if self.take_word("not") => Ok(Expression::Call(Function::Not, vec![self.deeper(|parser| parser.binary(2))?])),
            2 => self.binary(3),
            3 => {
                let left = self.binary(4)?;
                self.test(left)
            }
            _ => {
                let Some(signs) = LEVELS.get(level - 4) else { return self.unary() };
                let mut left = self.binary(level + 1)?;
                while let Some((_, function)) = signs.iter().find(|(sign, _)| self.take(sign)) {
                    self.one_more()?;
                    left = Expression::Call(*function, vec![left, self.binary(level + 1)?]);
                    // a < b < c is no chain.
                    if level == 4 {
                        break;
                    }
                }
                Ok(left)
            }
        }
    }

    /// IS [NOT] NULL | TRUE | FALSE, ISNULL, NOTNULL.
    fn test(&mut self, left: Expression) -> Result<Expression, Fault> {
        let not = |wanted: bool, test: Expression| if wanted { Expression::Call(Function::Not, vec![test]) } else { test };
        if self.take_word("isnull") {
            return Ok(Expression::Call(Function::IsNull, vec![left]));
        }
        if self.take_word("notnull") {
            return Ok(not(true, Expression::Call(Function::IsNull, vec![left])));
        }
        if !self.take_word("is") {
            return Ok(left);
        }
        let negated = self.take_word("not");
        let functions = [("null", Function::IsNull), ("true", Function::IsTrue), ("false", Function::IsFalse)];
        match functions.into_iter().find(|(word, _)| self.take_word(word)) {
            Some((_, function)) => Ok(not(negated, Expression::Call(function, vec![left]))),
            None => Err(self.unexpected("NULL, TRUE or FALSE")),
        }
    }

    fn unary(&mut self) -> Result<Expression, Fault> {
        if self.take("-") {
            if *self.peek() == Token::Number(Value::Text("9223372036854775808".into())) {
                self.next();
                return Ok(Expression::Constant(Value::Int(i64::MIN)));
            }
            return Ok(Expression::Call(Function::Subtract, vec![Expression::Constant(Value::Int(0)), self.deeper(Self::unary)?]));
        }
        if self.take("+") {
            return self.deeper(Self::unary);
        }
        if self.take("~") {
            return Ok(Expression::Call(Function::BitXor, vec![Expression::Constant(Value::Int(-1)), self.deeper(Self::unary)?]));
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expression, Fault> {
        let offset = self.tokens[self.at].1;
        match self.peek().clone() {
            Token::Number(Value::Text(text)) => Err(Fault::new(offset, format!("{text} is too large an integer"))),
            Token::Number(value) => {
                self.next();
                Ok(Expression::Constant(value))
            }
            Token::Variable(name) => {
                self.next();
                Ok(Expression::Variable(self.names.used(&name, offset)))
            }
            Token::Sign("(") => {
                self.next();
                let inner = self.deeper(|parser| parser.binary(0))?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Word(word) => {
                let constant = match word.as_str() {
                    "null" => Value::Null,
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    "case" => return self.case(),
                    _ => return self.call(&word, offset),
                };
                self.next();
                Ok(Expression::Constant(constant))
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    fn case(&mut self) -> Result<Expression, Fault> {
        self.next();
        let mut branches = Vec::new();
        while self.take_word("when") {
            let condition = self.deeper(|parser| parser.binary(0))?;
            if !self.take_word("then") {
                return Err(self.unexpected("THEN"));
            }
            branches.push((condition, self.deeper(|parser| parser.binary(0))?));
        }
        if branches.is_empty() {
            return Err(self.unexpected("WHEN"));
        }
        let otherwise = if self.take_word("else") { self.deeper(|parser| parser.binary(0))? } else { Expression::Constant(Value::Null) };
        if self.take_word("end") { Ok(Expression::Case(branches, Box::new(otherwise))) } else { Err(self.unexpected("END")) }
    }

    fn call(&mut self, word: &str, offset: usize) -> Result<Expression, Fault> {
        let Some((function, least, most)) = Function::named(word) else {
            return Err(Fault::new(offset, unknown_function(word)));
        };
        self.next();
        self.expect("(")?;
        let mut arguments = Vec::new();
        if !self.take(")") {
            loop {
                arguments.push(self.deeper(|parser| parser.binary(0))?);
                if self.take(")") {
                    break;
                }
                if !self.take(",") {
                    return Err(self.unexpected("\",\" or \")\""));
                }
            }
        }
        let count = arguments.len();
        if !(least..=most).contains(&count) {
            let takes = match (least, most) {
                (least, usize::MAX) => format!("at least {least}"),
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            return Err(Fault::new(offset, format!("{word}() takes {takes} arguments, not {count}")));
        }
        // A hash without a seed of its own has that of the run.
        if function.is_hash() && count == 1 {
            arguments.push(Expression::Variable(self.names.used("default_seed", offset)));
        }
        if function == Function::Permute && count == 2 {
            arguments.push(Expression::Variable(self.names.used("default_seed", offset)));
        }
        Ok(Expression::Call(function, arguments))
    }
}

fn unknown_function(word: &str) -> String {
    if word == "debug" {
        return "debug() is pgbench's own; take it out to measure".to_string();
    }
    let near = Function::NAMES.iter().map(|(name, ..)| (strsim::damerau_levenshtein(name, word), name)).min();
    match near.filter(|(distance, _)| *distance <= 2) {
        Some((_, name)) => format!("there is no function {word}(); did you mean {name}()?"),
        None => format!("there is no function {word}()"),
    }
}

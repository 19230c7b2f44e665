//! What could not be done (exit 2), in a form that a person and a program can use.

use std::fmt;

/// The root of an error chain that ends a command with exit 2. Raise it with `bail!(Failure::new(…).hint(…))`; callers add
/// the verb and the object with `.context(…)`, so that the whole chain reads as one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable, for programs: `source_not_found`, `target_unreachable`, …
    pub code: &'static str,
    /// One clause, no full stop, no secrets.
    pub message: String,
    /// What to do next; a whole sentence.
    pub hint: Option<String>,
    /// PostgreSQL's five characters, when it was PostgreSQL that refused.
    pub sqlstate: Option<String>,
    /// True when something in the target was changed before the failure.
    pub target_changed: bool,
    /// True when `--resume` continues from here.
    pub resumable: bool,
}

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), hint: None, sqlstate: None, target_changed: false, resumable: false }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        self.sqlstate = Some(sqlstate.into());
        self
    }

    pub fn target_changed(mut self) -> Self {
        self.target_changed = true;
        self
    }

    pub fn resumable(mut self) -> Self {
        self.resumable = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The causes of an error as one sentence, each said once.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Many libraries repeat their source in their own message.
        if !parts.last().is_some_and(|last| last.ends_with(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

//! Texts of types that only PostgreSQL can read, as it would write them: asked once each, and remembered.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use tokio::runtime::Handle;

use crate::digest::{AsIs, Normalise};
use crate::plan::CopyColumn;
use crate::postgres::TypeReader;

/// How many answers are remembered before all are forgotten.
const REMEMBERED: usize = 50_000;

/// Used in a thread that may wait. Without a `TypeReader` texts stay as they are.
pub struct Normaliser {
    types: Option<Arc<TypeReader>>,
    runtime: Handle,
    answers: HashMap<(String, Vec<u8>), Option<String>>,
    failed: Option<anyhow::Error>,
}

impl Normaliser {
    pub fn new(types: Option<Arc<TypeReader>>, runtime: Handle) -> Self {
        Normaliser { types, runtime, answers: HashMap::new(), failed: None }
    }

    /// The error that kept an answer from coming.
    pub fn check(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl Normalise for Normaliser {
    fn normalise(&mut self, column: &CopyColumn, text: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(types) = &self.types else { return AsIs.normalise(column, text, out) };
        let key = (column.sql_type.clone(), text.to_vec());
        if !self.answers.contains_key(&key) {
            // Text is clean by now: nothing else has a form in PostgreSQL.
            let asked = String::from_utf8_lossy(text);
            let answer = self.runtime.block_on(types.normalise(&asked, &column.sql_type));
            let answer = answer.unwrap_or_else(|error| {
                self.failed = Some(error);
                None
            });
            if self.answers.len() >= REMEMBERED {
                self.answers.clear();
            }
            self.answers.insert(key.clone(), answer);
        }
        match self.answers.get(&key) {
            Some(Some(answer)) => {
                out.extend_from_slice(answer.as_bytes());
                true
            }
            _ => false,
        }
    }
}

//! What the source declares otherwise than when the target's schema was made: a refresh brings rows alone, and says what it does not bring.

use anyhow::Result;
use serde_json::Value as Json;

use crate::migrate::Job;
use crate::migrate::earlier::DECLARATIONS;
use crate::model::QualifiedName;
use crate::plan::target::TargetSchema;
use crate::plan::{CopyMap, Warning};
use crate::postgres::Journal;
use crate::sqlite::Declarations;

/// Tables of the target whose source has dropped them: they are not ours to drop.
pub fn left_over(maps: &[CopyMap], target: &TargetSchema) -> Vec<Warning> {
    let there = |map: &&CopyMap| target.tables.iter().any(|table| table.name.name.as_str() == map.target);
    let say = |map: &CopyMap| {
        let name = QualifiedName::new(map.schema.as_str(), map.target.as_str());
        Warning::weaker("table_left_over", &map.source, format!("is no longer in the source; {name} is left as it is, with its rows"))
    };
    maps.iter().filter(there).map(say).collect()
}

/// What of the source is declared otherwise than for the runs that made the target's schema; `before` are the settings of the last one.
pub fn since(before: &Json, job: &Job) -> Result<Vec<Warning>> {
    let Some(then) = Journal::setting::<Declarations>(before, DECLARATIONS)? else {
        let message = "what the source declares otherwise since the run that made the target is not known: an earlier candlefish did not keep it; \
                       from this refresh on it is";
        return Ok(vec![Warning::weaker("declarations_unknown", &job.options.schema, message)]);
    };
    let now = job.snapshot.reader()?.declarations();
    let mut said = Vec::new();
    let mut say = |object: &String, what: &str| {
        // A table that is gone is said with its rows, and a new one refused.
        if what == "is declared otherwise" || !object.starts_with("table ") {
            let message = format!("{what} in the source since the run that made the target; a refresh brings rows alone");
            said.push(Warning::weaker("changed_in_source", object, message));
        }
    };
    for (object, declared) in &now {
        match then.get(object) {
            None => say(object, "is new"),
            Some(known) if known != declared => say(object, "is declared otherwise"),
            Some(_) => {}
        }
    }
    then.keys().filter(|object| !now.contains_key(*object)).for_each(|object| say(object, "is gone"));
    Ok(said)
}

/// What the next refresh holds the source against: the definitions that the target was made of, else those that this one has met.
pub fn baseline(before: &Json, job: &Job) -> Result<Json> {
    match before.get(DECLARATIONS).filter(|declared| !declared.is_null()) {
        Some(declared) => Ok(declared.clone()),
        None => Ok(serde_json::to_value(job.snapshot.reader()?.declarations())?),
    }
}

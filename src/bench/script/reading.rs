//! What a script may not say where it may only read. PostgreSQL holds each transaction to that, and each is rolled back; here is refused what would
//! take a transaction out of its hands, and what no transaction takes back.

use super::expression::is_name;
use super::read::reads_only;
use super::{Control, Statement};

/// Functions whose doing outlives the transaction that calls them. Hidden in another function they are not seen.
const LASTING: [&str; 19] = [
    "DBLINK",
    "LO_EXPORT",
    "PG_BACKUP_",
    "PG_CANCEL_BACKEND",
    "PG_COPY_",
    "PG_CREATE_",
    "PG_DROP_REPLICATION_SLOT",
    "PG_FILE_",
    "PG_LOGICAL_",
    "PG_PROMOTE",
    "PG_RELOAD_CONF",
    "PG_REPLICATION_",
    "PG_ROTATE_LOGFILE",
    "PG_START_BACKUP",
    "PG_STAT_RESET",
    "PG_STAT_STATEMENTS_RESET",
    "PG_SWITCH_WAL",
    "PG_TERMINATE_BACKEND",
    "PG_WAL_REPLAY_",
];

/// Why this statement may not run where only reading is allowed; none: it may.
pub fn objection(statement: &Statement) -> Option<String> {
    match statement.control {
        Some(_) if !statement.parameters.is_empty() => Some("variables in what begins or ends a transaction hide what it does".to_string()),
        Some(Control::Begin { .. }) if words(&statement.sql).any(|word| word == "WRITE") => {
            Some("this asks for a transaction that writes".to_string())
        }
        Some(_) => None,
        None => objection_to_text(&statement.sql),
    }
}

/// The same of a statement that neither begins nor ends a transaction, as it is sent.
pub fn objection_to_text(sql: &str) -> Option<String> {
    let mut all = words(sql);
    let first = all.next().unwrap_or_default();
    let has_escapes = sql.to_ascii_uppercase().contains("U&\"");
    match first.as_str() {
        "BEGIN" | "START" | "END" | "COMMIT" | "ROLLBACK" | "ABORT" => Some(format!("this kind of {first} leaves open what follows it")),
        "SET" if has_escapes || all.any(|word| word == "WRITE" || word.ends_with("TRANSACTION_READ_ONLY")) => {
            Some("this may allow what follows to write".to_string())
        }
        _ if !reads_only(sql) => Some("this writes".to_string()),
        _ if has_escapes => Some("names of escaped characters (U&\"…\") hide what is called".to_string()),
        _ => lasting_call(sql).map(|name| format!("what {}() does no transaction takes back", name.to_lowercase())),
    }
}

/// True of a SET, whose effect is on the session and not on any row.
pub fn is_setting(sql: &str) -> bool {
    words(sql).next().is_some_and(|word| word == "SET")
}

fn words(sql: &str) -> impl Iterator<Item = String> {
    sql.split(|c: char| !is_name(c)).filter(|word| !word.is_empty()).map(str::to_ascii_uppercase)
}

fn lasting_call(sql: &str) -> Option<String> {
    sql.match_indices('(').find_map(|(at, _)| {
        let name = sql[..at].trim_end().trim_end_matches('"').rsplit(|c: char| !is_name(c)).next().unwrap_or_default().to_ascii_uppercase();
        LASTING.iter().any(|lasting| name.starts_with(lasting)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_free_a_script_of_reading_is_refused() {
        for sql in [
            "INSERT INTO t VALUES (1)",
            "SET TRANSACTION READ WRITE",
            "set session characteristics as transaction read  write",
            "SET \"transaction_read_only\" = off",
            "SET LOCAL default_transaction_read_only TO off",
            "SET U&\"\\0074ransaction_read_only\" = off",
            "COMMIT AND NO CHAIN",
            "ROLLBACK TO s",
            "SELECT pg_terminate_backend(1)",
            "SELECT pg_catalog.\"pg_terminate_backend\" (1)",
            "SELECT * FROM dblink_exec('', '')",
            "SELECT U&\"pg\\005fterminate_backend\"(1)",
            "CALL p()",
            "DO $$ BEGIN END $$",
        ] {
            assert!(objection_to_text(sql).is_some(), "{sql}");
        }
        for sql in [
            "SELECT count(*) FROM dblinks",
            "SET search_path = a, b",
            "SHOW transaction_read_only",
            "SELECT f(1), 'WRITE'",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        ] {
            assert_eq!(objection_to_text(sql), None, "{sql}");
        }
    }
}

//! What ends a session or a prepared transaction that is in the way, and who may do it: the same words wherever one is named.

use std::collections::HashMap;

use anyhow::Result;

use crate::model::{Cell, pasteable_literal, visible};
use crate::postgres::Type;
use crate::stats::{Look, Stat};

/// What ends a prepared transaction: its coordinator alone knows which of the two.
pub fn of_prepared(gid: &str, database: &str, owner: &str) -> String {
    let gid = pasteable_literal(gid);
    format!(
        "COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid} -- ask the coordinator first; in database {} as {} or a superuser",
        // A line's end in a name would end the comment.
        visible(database),
        visible(owner)
    )
}

impl Look<'_> {
    /// Says behind what ends a session, in the column `remedy`, who may do it, where this user may not.
    pub(super) async fn say_who_may_end(&self, stat: &Stat, rows: &mut [Vec<Cell>]) -> Result<()> {
        let at = |name: &str| stat.columns.iter().position(|column| *column == name);
        let (Some(pid), Some(remedy)) = (at("pid"), at("remedy")) else { return Ok(()) };
        let ends =
            |row: &Vec<Cell>| row[remedy].text().is_some_and(|remedy| remedy.starts_with("SELECT pg_")) && row[pid].number().is_some();
        let pids: Vec<i32> = rows.iter().filter(|row| ends(row)).filter_map(|row| Some(row[pid].number()? as i32)).collect();
        if pids.is_empty() {
            return Ok(());
        }
        let answer = self.ask(include_str!("queries/who_may_end.sql"), &[(&pids, Type::INT4_ARRAY)]).await?;
        let who = answer.rows.iter().filter_map(|row| Some((row[0].number()? as i32, row[1].text()?)));
        let who: HashMap<i32, &str> = who.collect();
        for row in rows.iter_mut().filter(|row| ends(row)) {
            let who = row[pid].number().and_then(|pid| who.get(&(pid as i32)));
            if let (Some(who), Cell::Text(remedy)) = (who, &mut row[remedy]) {
                remedy.push_str(&format!(" -- {who}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_prepared_transaction_is_one_line_whatever_it_is_called() {
        assert_eq!(
            of_prepared("it's\n1", "shop", "app\r"),
            "COMMIT PREPARED E'it''s\\u000A1' or ROLLBACK PREPARED E'it''s\\u000A1' -- ask the coordinator first; in database shop as app\\r or a superuser"
        );
    }
}

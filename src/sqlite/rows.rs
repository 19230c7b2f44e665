//! Rows, streamed: values are borrowed from SQLite's own pages, one row at a time.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};

use crate::model::{Collation, Failure, Index, Table, TableKind, Value};
use crate::plan::profile::RowRange;
use crate::sqlite::cursor::Cursor;
use crate::sqlite::pages::Part;
use crate::sqlite::salvage::Salvage;
use crate::sqlite::snapshot::{DAMAGED, Reader, damaged, explain};

/// Which columns and rows of a table to read.
#[derive(Clone, Debug)]
pub struct Scan {
    table: String,
    /// `SELECT … FROM …`
    select: String,
    rowid: Option<&'static str>,
    /// The scan's first column is the rowid; else the rowid comes before the first column.
    rowid_is_first: bool,
    range: Option<(i64, i64)>,
    columns: usize,
    /// In a table whose rows have no rowid but an order: read with it from either end.
    ends: Option<Ends>,
}

/// Statements for a damaged table without rowids; each gives the key after the scan's columns.
#[derive(Clone, Debug)]
struct Ends {
    forwards: String,
    backwards: String,
}

impl Ends {
    /// The order of the b-tree is that of its key's own index, directions and collations included.
    fn of(table: &Table, key: &Index, names: &[String], hint: &str) -> Self {
        let mut selected = names.to_vec();
        let mut order = Vec::new();
        for column in &key.columns {
            let Some(at) = column.column else { continue };
            let name = quote(&table.columns[at].name);
            let collation = match &column.collation {
                Collation::Binary => "BINARY".to_string(),
                Collation::NoCase => "NOCASE".to_string(),
                Collation::RTrim => "RTRIM".to_string(),
                Collation::Custom(name) => quote(name),
            };
            order.push(format!("{name} COLLATE {collation} {}", if column.descending { "ASC" } else { "DESC" }));
            selected.push(name);
        }
        let forwards = format!("SELECT {} FROM main.{}{hint}", selected.join(", "), quote(&table.name));
        Ends { backwards: format!("{forwards} ORDER BY {}", order.join(", ")), forwards }
    }
}

/// The row that the scan stands on.
pub struct Row<'a> {
    /// The rowid; in a table without one, the ordinal from 1.
    pub key: i64,
    values: &'a [Value<'a>],
}

impl<'a> Row<'a> {
    /// A row of these columns.
    pub(super) fn new(key: i64, values: &'a [Value<'a>]) -> Self {
        Row { key, values }
    }

    /// The value of the scan's column `index`.
    #[inline]
    pub fn value(&self, index: usize) -> Value<'a> {
        self.values[index]
    }

    /// The values of the scan's columns.
    pub fn values(&self) -> &'a [Value<'a>] {
        self.values
    }
}

impl Scan {
    /// All rows of `table`, with these of its columns, in the order of its b-tree.
    pub fn table(table: &Table, columns: &[usize]) -> Self {
        let rowid = rowid_name(table);
        let name = |column: &usize| match table.columns[*column].unreadable() {
            Some(_) => "NULL".to_string(),
            None => quote(&table.columns[*column].name),
        };
        let mut names: Vec<String> = columns.iter().map(name).collect();
        // A first column that is another name of the rowid is read once, for both.
        let rowid_is_first = rowid.is_some() && table.rowid_alias.is_some() && columns.first() == table.rowid_alias.as_ref();
        if let Some(rowid) = rowid.filter(|_| !rowid_is_first) {
            names.insert(0, rowid.to_string());
        }
        if names.is_empty() {
            names.push("NULL".into());
        }
        // An index could serve the columns in another order, or know other rows; the b-tree's own order is the fastest and the one of the ranges.
        let key = table.primary_key_index().filter(|_| table.without_rowid);
        let hint = match key {
            // NOT INDEXED keeps SQLite from no index of a table without rowids.
            Some(key) => format!(" INDEXED BY {}", quote(&key.name)),
            None if table.kind == TableKind::Ordinary => " NOT INDEXED".to_string(),
            None => String::new(),
        };
        Scan {
            table: table.name.clone(),
            select: format!("SELECT {} FROM main.{}{hint}", names.join(", "), quote(&table.name)),
            rowid,
            rowid_is_first,
            range: None,
            columns: columns.len(),
            ends: key.map(|key| Ends::of(table, key, &names, &hint)),
        }
    }

    /// Only the rows of the range; for tables with rowids.
    pub fn range(mut self, table: &Table, range: Option<&RowRange>) -> Self {
        if let (Some(range), Some(_)) = (range, rowid_name(table)) {
            self.range = Some((range.first, range.last));
        }
        self
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    fn sql(&self, range: Option<(i64, i64)>) -> String {
        match (range, self.rowid) {
            (Some(_), Some(rowid)) => format!("{} WHERE {rowid} BETWEEN ?1 AND ?2", self.select),
            _ => self.select.clone(),
        }
    }
}

/// True when ranges of rowids can be read.
pub fn has_rowid(table: &Table) -> bool {
    rowid_name(table).is_some()
}

/// A name of the rowid that no column of the table hides.
pub(super) fn rowid_name(table: &Table) -> Option<&'static str> {
    if table.without_rowid || table.kind != TableKind::Ordinary {
        return None;
    }
    ["rowid", "_rowid_", "oid"].into_iter().find(|name| table.column_index(name).is_none())
}

/// Without a WHERE, SQLite counts whatever is smallest, though it is told an index.
pub(super) fn count_by_index(table: &Table, index: &Index) -> String {
    format!("SELECT count(*) FROM main.{} INDEXED BY {} WHERE 1", quote(&table.name), quote(&index.name))
}

/// SQLite's quoting of an identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Reader<'_> {
    /// The smallest and largest rowid, each by one step into the b-tree; none where there are no rowids or no rows.
    pub fn rowid_bounds(&self, table: &Table) -> Option<(i64, i64)> {
        let rowid = rowid_name(table)?;
        let name = quote(&table.name);
        let sql = format!("SELECT (SELECT min({rowid}) FROM main.{name}), (SELECT max({rowid}) FROM main.{name})");
        // A table that cannot be read says so when its rows are.
        self.connection().query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).ok()
    }

    /// Calls `each` for every row; an error of `each` ends the scan. Returns how many rows were read. When the snapshot salvages, that is
    /// every row that can be read, and what could not be is noted.
    pub fn scan(&self, scan: &Scan, mut each: impl FnMut(&Row<'_>) -> Result<()>) -> Result<u64> {
        let mut progress = Progress::default();
        let Some(salvage) = self.salvage() else {
            self.read(scan, &scan.sql(scan.range), scan.range, &mut progress, &mut each)?;
            return Ok(progress.rows);
        };
        match scan.rowid {
            Some(_) => self.salvage_by_rowid(salvage, scan, &mut progress, &mut each)?,
            None => self.salvage_from_both_ends(salvage, scan, &mut progress, &mut each)?,
        }
        Ok(progress.rows)
    }

    /// Reads part after part of the b-tree, as its pages tell of it: what a damaged one has lost is between those beside it.
    fn salvage_by_rowid(
        &self,
        salvage: &Salvage,
        scan: &Scan,
        progress: &mut Progress,
        each: &mut impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let root = self.root(&scan.table)?;
        let (mut from, last) = scan.range.unwrap_or((i64::MIN, i64::MAX));
        loop {
            let part = salvage.part(root, from);
            let to = part.last.min(last);
            match part.is_whole {
                true => self.salvage_whole(salvage, scan, &part, (from, to), progress, each)?,
                false => self.salvage_broken(salvage, scan, &part, (from, to), progress, each)?,
            }
            match to.checked_add(1).filter(|next| *next <= last) {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    /// A page whose rows are known, and each in its place; the values of some may be lost with pages of their own.
    fn salvage_whole(
        &self,
        salvage: &Salvage,
        scan: &Scan,
        part: &Part,
        (from, to): (i64, i64),
        progress: &mut Progress,
        each: &mut impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut start = from;
        let mut left = part.rows.iter().flatten().copied().filter(|row| (from..=to).contains(row)).peekable();
        while left.peek().is_some() {
            let range = Some((start, to));
            progress.last = None;
            let read = self.read(scan, &scan.sql(range), range, progress, each);
            let last = progress.last;
            while left.next_if(|row| last.is_some_and(|last| *row <= last)).is_some() {}
            let reason = match read {
                Ok(()) => NOT_FOUND.to_string(),
                Err(error) => damage(&error).ok_or(error)?,
            };
            let Some(row) = left.next() else { return Ok(()) };
            salvage.skip_row(&scan.table, row, &reason)?;
            let Some(next) = row.checked_add(1) else { return Ok(()) };
            start = next;
        }
        Ok(())
    }

    /// A page that is not what it should be: of its rows those that are in their place and can be read.
    fn salvage_broken(
        &self,
        salvage: &Salvage,
        scan: &Scan,
        part: &Part,
        (from, to): (i64, i64),
        progress: &mut Progress,
        each: &mut impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let lost = |first: i64, last: i64, reason: &str| match first <= last {
            true => salvage.lost(&scan.table, (first, last), part.page, reason),
            false => Ok(()),
        };
        let mut reason = damaged().message;
        // The first rowid that may be lost, once one is.
        let (mut open, mut is_lost, mut any_lost) = (from, false, false);
        for row in &part.rows {
            let Some(row) = row.filter(|row| (from..=to).contains(row)) else {
                is_lost |= row.is_none();
                continue;
            };
            let (range, before) = (Some((row, row)), progress.rows);
            progress.last = None;
            match self.read(scan, &scan.sql(range), range, progress, each) {
                Ok(()) if progress.rows == before + 1 => {
                    if is_lost {
                        lost(open, row.saturating_sub(1), &reason)?;
                    }
                    any_lost |= is_lost;
                    (open, is_lost) = (row.saturating_add(1), false);
                }
                Ok(()) => is_lost = true,
                Err(error) => (reason, is_lost) = (damage(&error).ok_or(error)?, true),
            }
        }
        match (is_lost, any_lost) {
            (true, _) => lost(open, to, &reason),
            // Nothing tells where in the page rows are lacking.
            (false, false) => lost(from, to, &reason),
            (false, true) => Ok(()),
        }
    }

    /// Reads from the first row to what cannot be read, then from the last row back to it.
    fn salvage_from_both_ends(
        &self,
        salvage: &Salvage,
        scan: &Scan,
        progress: &mut Progress,
        each: &mut impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let width = scan.columns.max(1);
        // The key of the row that was read last.
        let mut last = String::new();
        let mut forwards = |row: &Row<'_>| {
            let (values, key) = row.values.split_at(width);
            last.clear();
            write!(last, "{key:?}")?;
            each(&Row { key: row.key, values })
        };
        let sql = scan.ends.as_ref().map_or_else(|| scan.sql(None), |ends| ends.forwards.clone());
        let Err(error) = self.read(scan, &sql, None, progress, &mut forwards) else { return Ok(()) };
        let reason = damage(&error).ok_or(error)?;
        let before = progress.rows;
        if let Some(ends) = &scan.ends {
            // Damage that was read over the second time ends where the first reading ended.
            let mut met = false;
            let mut backwards = |row: &Row<'_>| {
                let (values, key) = row.values.split_at(width);
                met = format!("{key:?}") == last;
                if met {
                    bail!("the rows from here on have been read");
                }
                each(&Row { key: row.key, values })
            };
            if let Err(error) = self.read(scan, &ends.backwards, None, progress, &mut backwards) {
                match met {
                    true => progress.rows -= 1,
                    false => drop(damage(&error).ok_or(error)?),
                }
            }
        }
        let after = progress.rows - before;
        salvage.note(&scan.table, &reason, |damage| damage.gap = Some((before, after)))
    }

    /// The page where the table's b-tree begins.
    fn root(&self, table: &str) -> Result<u32> {
        let sql = "SELECT rootpage FROM main.sqlite_schema WHERE type = 'table' AND name = ?1";
        self.connection().query_row(sql, [table], |row| row.get(0)).context("look for the table's first page")
    }

    /// How many rows the table has by one of its indexes that can be read; none where there is no such.
    pub fn rows_by_index(&self, table: &Table) -> Option<u64> {
        table.indexes.iter().filter(|index| index.predicate.is_none()).find_map(|index| {
            let sql = count_by_index(table, index);
            // An index that cannot be read either is no answer.
            self.connection().query_row(&sql, [], |row| row.get::<_, i64>(0)).ok().map(i64::unsigned_abs)
        })
    }

    /// One statement to its end, or to its first error.
    fn read(
        &self,
        scan: &Scan,
        sql: &str,
        range: Option<(i64, i64)>,
        progress: &mut Progress,
        each: &mut impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut cursor = Cursor::open(self.connection(), sql, range).map_err(|error| explain(error.into())).context("read rows")?;
        while let Some(values) =
            cursor.next().map_err(|error| explain(error.into())).with_context(|| format!("read row {} of the scan", progress.rows + 1))?
        {
            let ordinal = progress.rows as i64 + 1;
            let (key, values) = match (scan.rowid, values) {
                (Some(_), [Value::Integer(rowid), ..]) if scan.rowid_is_first => (*rowid, values),
                (Some(_), [Value::Integer(rowid), values @ ..]) => (*rowid, values),
                _ => (ordinal, values),
            };
            // A b-tree gives its rowids in order, each once; pages in the wrong place do not.
            if scan.rowid.is_some() && progress.last.is_some_and(|last| key <= last) {
                return Err(damaged().into());
            }
            progress.rows += 1;
            progress.last = Some(key);
            each(&Row { key, values })?;
        }
        Ok(())
    }
}

/// Of a row that its page has, and SQLite does not come to.
const NOT_FOUND: &str = "the b-tree does not lead to the row";

/// How far a scan has come.
#[derive(Default)]
struct Progress {
    rows: u64,
    /// The key of the last row.
    last: Option<i64>,
}

/// What SQLite says when the error is damage to the file.
fn damage(error: &anyhow::Error) -> Option<String> {
    error.downcast_ref::<Failure>().filter(|failure| failure.code == DAMAGED).map(|failure| failure.message.clone())
}

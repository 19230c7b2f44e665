//! The rows that a note speaks of: how many there are, and the first by their ids.

/// Rows that are named.
const EXAMPLES: usize = 5;

/// `1 row does not fit`, `2 rows do not fit`
pub fn unfit(rows: u64) -> String {
    if rows == 1 { "1 row does not fit".to_owned() } else { format!("{rows} rows do not fit") }
}

#[derive(Default)]
pub struct CountedRows {
    pub count: u64,
    first: Vec<String>,
}

impl CountedRows {
    pub fn add(&mut self, row: i64) {
        self.count += 1;
        if self.first.len() < EXAMPLES {
            self.first.push(row.to_string());
        }
    }

    pub fn merge(&mut self, more: CountedRows) {
        self.count += more.count;
        self.first.extend(more.first);
        self.first.truncate(EXAMPLES);
    }

    /// `rows 1, 2, 3, 4, 5, …`
    pub fn named(&self) -> String {
        let more = if self.count > self.first.len() as u64 { ", …" } else { "" };
        format!("rows {}{more}", self.first.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::unfit;

    #[test]
    fn one_row_is_not_many() {
        assert_eq!([0, 1, 2].map(unfit), ["0 rows do not fit", "1 row does not fit", "2 rows do not fit"]);
    }
}

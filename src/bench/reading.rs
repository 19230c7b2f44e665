//! A connection of one's own to a database that may only be read. The words of a script do not tell what the functions do that it calls: so each
//! statement stands in a transaction that PostgreSQL holds to reading, sent with it in one flight, and each transaction is rolled back.

use crate::bench::layer::{Answer, parameters};
use crate::bench::script::reading::{is_setting, objection_to_text};
use crate::bench::script::{Control, Keep, Statement, Value};
use crate::postgres::{Driver, Protocol, Refusal};

pub struct Reading {
    driver: Driver,
    /// The script has begun a transaction, and not ended it.
    in_transaction: bool,
}

impl Reading {
    pub fn new(driver: Driver) -> Self {
        Reading { driver, in_transaction: false }
    }

    /// Of a driver: what ends the statement that runs here.
    pub fn leaving(&self) -> impl Future<Output = ()> + Send + use<> {
        self.driver.leaving()
    }

    /// Runs a statement that nothing was to be said against when the script was read.
    pub async fn execute(&mut self, statement: &Statement, variables: &[Value], protocol: Protocol) -> Result<Answer, Refusal> {
        if let Some(control) = statement.control {
            return self.control(control, &statement.sql).await.map(|()| Answer::default());
        }
        // A setting that is rolled back would set nothing.
        let by_itself = !self.in_transaction && !is_setting(&statement.sql);
        let text = match (&statement.keep, protocol) {
            (_, Protocol::Simple) => statement.simple(variables),
            // The extended protocol brings values in binary; kept ones are wanted as text.
            (Keep::Variables { .. }, _) => statement.quoted(variables),
            (Keep::Nothing, _) => {
                let parameters = parameters(statement, variables);
                let parameters = parameters.as_slice(statement);
                let answer = match by_itself {
                    true => self.driver.execute_reading(statement.index, &statement.sql, parameters).await,
                    false => self.driver.execute(statement.index, &statement.sql, parameters).await,
                };
                return answer.map(|_| Answer::default());
            }
        };
        // Here values have become words.
        if is_setting(&text)
            && let Some(why) = objection_to_text(&text)
        {
            return Err(Refusal { code: "writes_not_allowed".to_string(), message: why, broken: false });
        }
        let sets = self.driver.fetch_reading(&text, by_itself).await?;
        Ok(if statement.keep == Keep::Nothing { Answer::default() } else { Answer::from(sets) })
    }

    async fn control(&mut self, control: Control, sql: &str) -> Result<(), Refusal> {
        match control {
            Control::Begin { .. } => {
                self.driver.execute_simple(&format!("{sql}; SET TRANSACTION READ ONLY")).await?;
                self.in_transaction = true;
                Ok(())
            }
            Control::Commit | Control::Rollback => {
                self.in_transaction = false;
                self.driver.execute_simple("ROLLBACK").await
            }
        }
    }

    /// Ends a transaction that failed midway; whether the connection can go on.
    pub async fn recover(&mut self) -> bool {
        self.in_transaction = false;
        self.driver.execute_simple("ROLLBACK").await.is_ok() && !self.driver.is_closed()
    }
}

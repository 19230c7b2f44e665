//! Several statements as one, again as a whole when they cannot be serialized: `cargo run --example transaction`, with `DATABASE_URL`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use anyhow::{Context as _, Result};
use candlefish::model::{ParamType, Query};
use candlefish::postgres::{self, Address};
use candlefish::store::{Isolation, Store, StoreConfig, StoreError, TransactionOptions};

const BALANCE: Query = Query::read("balance", "SELECT balance FROM candlefish_accounts WHERE id = $1", &[ParamType::Int8]);
const ADD: Query =
    Query::write("add", "UPDATE candlefish_accounts SET balance = balance + $2 WHERE id = $1", &[ParamType::Int8, ParamType::Int8])
        .tags(&["account:{1}"]);

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL names the database")?;
    let address = Address::parse(&url, "DATABASE_URL")?;
    let setup = postgres::connect(&address).await?;
    setup
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS candlefish_accounts AS SELECT n AS id, 100::bigint AS balance FROM generate_series(1::bigint, 2) n",
        )
        .await?;

    let store = Store::open(StoreConfig::new(address)).await?;
    let (balance, add) = (store.declare(BALANCE)?, store.declare(ADD)?);
    let options = TransactionOptions { isolation: Isolation::Serializable, ..TransactionOptions::default() };
    for amount in [30_i64, 500] {
        let done = store.transaction(options, |t| {
            let (balance, add) = (&balance, &add);
            async move {
                let left: i64 = t.run(balance, &[&1_i64]).await?.row(0).get(0)?;
                if left < amount {
                    return Ok::<_, StoreError>(None);
                }
                t.run(add, &[&1_i64, &-amount]).await?;
                t.run(add, &[&2_i64, &amount]).await?;
                Ok(Some(left - amount))
            }
        });
        let done = done.await?;
        match done.value {
            Some(left) => println!("moved {amount}, {left} left; {:?}, {} retries", done.invalidation, done.retries),
            None => println!("{amount} is more than there is"),
        }
    }
    setup.batch_execute("DROP TABLE candlefish_accounts").await?;
    Ok(())
}

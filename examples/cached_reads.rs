//! One query through the layers: `cargo run --example cached_reads`, with `DATABASE_URL` and, for the shared cache, `REDIS_URL`
//! (`eval "$(candlefish stack env)"` names those of the local stack). Makes a table of its own, and drops it.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use anyhow::{Context as _, Result};
use candlefish::model::{ParamType, Query};
use candlefish::postgres::{self, Address};
use candlefish::store::{Store, StoreConfig};

const USER: Query = Query::cached("user", "SELECT id, email FROM candlefish_example WHERE id = $1", &[ParamType::Int8])
    .tags(&["user:{1}"])
    .ttl(Duration::from_secs(60))
    .grace(Duration::from_secs(600));
const SET_EMAIL: Query =
    Query::write("set email", "UPDATE candlefish_example SET email = $2 WHERE id = $1", &[ParamType::Int8, ParamType::Text])
        .tags(&["user:{1}"]);

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL names the database")?;
    let address = Address::parse(&url, "DATABASE_URL")?;
    let table = "CREATE TABLE IF NOT EXISTS candlefish_example AS SELECT n AS id, 'user' || n || '@example.org' AS email FROM generate_series(1::bigint, 9) n";
    let setup = postgres::connect(&address).await?;
    setup.batch_execute(table).await?;

    let mut config = StoreConfig::new(address);
    config.redis = std::env::var("REDIS_URL").ok();
    let store = Store::open(config).await?;
    let (user, set_email) = (store.declare(USER)?, store.declare(SET_EMAIL)?);
    let show = async |what: &str| -> Result<()> {
        let fetched = store.fetch(&user, &[&7_i64]).await?;
        let email: &str = fetched.rows().row(0).named("email")?;
        println!("{what:<22} {email:<22} from {:?}, {} ms old", fetched.source, fetched.age().as_millis());
        Ok(())
    };
    show("first").await?;
    show("again").await?;
    let written = store.write(&set_email, &[&7_i64, &"seven@example.org"]).await?;
    println!("{:<22} {} row, {:?}", "written", written.affected, written.invalidation);
    show("after the write").await?;
    show("again").await?;
    setup.batch_execute("DROP TABLE candlefish_example").await?;
    Ok(())
}

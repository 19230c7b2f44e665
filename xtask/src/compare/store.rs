//! The data layer beside what it stands on: `benches/store.rs` measures, this judges.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value as Json, json};

use super::bed::{Bed, read};
use super::measure::median;
use super::report::{Claim, claims_text};

#[derive(clap::Args)]
pub struct Store {
    /// Only these
    #[arg(long, value_delimiter = ',', value_parser = ["l1", "l2", "pooled", "memory-small", "memory-large", "memory-mixed"],
          default_value = "l1,l2,pooled,memory-small,memory-large,memory-mixed")]
    only: Vec<String>,
    /// Write the document here too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(options: &Store) -> Result<()> {
    let bed = Bed::up()?;
    let addresses = ["DATABASE_URL", "POOLER_URL", "REDIS_URL"].map(|variable| bed.address(variable));
    let addresses = addresses.into_iter().collect::<Result<Vec<String>>>()?;
    let mut measured: Vec<Json> = Vec::new();
    // Each in a process of its own: what one leaves in memory is nothing to the next.
    for what in &options.only {
        let words: Vec<&str> = addresses.iter().map(String::as_str).chain([what.as_str()]).collect();
        let said = read(bed.benchmark("store", &words)).with_context(|| format!("measure {what}"))?;
        for line in said.lines().filter(|line| line.starts_with('{')) {
            measured.push(serde_json::from_str(line).context("read a measurement")?);
        }
    }
    if measured.is_empty() {
        bail!("nothing was measured");
    }
    let rounds = |one: &Json| one["rounds"].as_array().into_iter().flatten().filter_map(Json::as_f64).collect::<Vec<f64>>();
    let medians: BTreeMap<&str, f64> =
        measured.iter().filter_map(|one| Some((one["what"].as_str()?, median(rounds(one).into_iter())?))).collect();
    let ratio = |of: &str, to: &str| Some(medians.get(of)? / medians.get(to)?);
    let growths = medians.iter().filter(|(what, _)| what.starts_with("growth of the process"));
    let claims: Vec<Claim> = [
        Claim::at_most(
            "a hit of L1 through fetch / a bare get of quick_cache",
            2.0,
            ratio("a hit of L1 through fetch", "a bare get of quick_cache"),
        ),
        Claim::at_least("million hits of L1 a second, two threads", 5.0, medians.get("hits of L1 on two threads").copied()),
        Claim::at_most("a hit of L2 through fetch / a bare GET", 1.25, ratio("a hit of L2 through fetch", "a bare GET of Redis")),
        Claim::at_most(
            "a pooled query / the bare client's, directly",
            1.15,
            ratio("a pooled query, directly", "the bare client, prepared"),
        ),
        Claim::at_most(
            "a pooled query / the bare client's with the same limit, through PgBouncer",
            1.15,
            ratio("a pooled query through PgBouncer", "the bare client through PgBouncer, with the limit"),
        ),
    ]
    .into_iter()
    .chain(growths.map(|(what, ratio)| Claim::at_most(what, 1.15, Some(*ratio))))
    .collect();
    println!("\ncompare store: medians of interleaved rounds\n");
    for one in &measured {
        let (what, unit, rounds) = (one["what"].as_str().unwrap_or_default(), one["unit"].as_str().unwrap_or_default(), rounds(one));
        let (least, most) = rounds.iter().fold((f64::MAX, 0.0f64), |(least, most), value| (least.min(*value), most.max(*value)));
        println!("{what:<52} {:>9.2} {unit:<9} {least:.2} … {most:.2}", medians[what]);
    }
    println!("\n{}", claims_text(&claims));
    if let Some(file) = &options.json {
        let document = json!({
            "task": "compare store", "machine": bed.facts()?, "results": measured, "claims": claims.iter().map(Claim::json).collect::<Vec<_>>(),
        });
        fs::write(file, serde_json::to_string_pretty(&document)? + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

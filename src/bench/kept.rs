//! What runs keep in Redis: under a namespace of each run's own, beside the application's; taken away by the run, and by `bench clean` where a run was
//! killed.

use std::process;

use anyhow::Result;

use crate::bench::NAME;
use crate::store::{Fleet, FleetPlace, clear_namespaces, random_token};

/// The namespace of one run beside an application's. In containers every run has the same process id.
pub fn namespace(application: &str) -> String {
    format!("{}{}_{:016x}", start(application), process::id(), random_token())
}

fn start(application: &str) -> String {
    format!("{application}_bench_")
}

/// True of a key that a run has made: of no application whose name begins alike.
fn is_of_a_run(start: &str, key: &[u8]) -> bool {
    let rest = key.strip_prefix(start.as_bytes()).and_then(|rest| rest.split(|byte| *byte == b':').next());
    let Some((process, token)) = rest.and_then(|name| str::from_utf8(name).ok()?.split_once('_')) else { return false };
    process.parse::<u32>().is_ok() && token.len() == 16 && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What became of the keys of runs that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysRemoval {
    Removed(u64),
    /// A run that is alive, or was a moment ago, uses some of them.
    InUse,
}

/// `place`: where the application's instances describe themselves, and those of runs among them.
pub async fn clean_redis(place: &FleetPlace) -> Result<KeysRemoval> {
    let of_runs = format!("{NAME}-");
    if Fleet::connect(place).await?.instances().await?.iter().any(|instance| instance.instance.starts_with(&of_runs)) {
        return Ok(KeysRemoval::InUse);
    }
    let start = start(&place.namespace);
    clear_namespaces(&place.url, &start, |key| is_of_a_run(&start, key)).await.map(KeysRemoval::Removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_keys_are_told_from_those_of_others() {
        let run = namespace("candlefish");
        assert_ne!(run, namespace("candlefish"));
        let is_meant = |key: &str| is_of_a_run("candlefish_bench_", key.as_bytes());
        assert!(is_meant(&format!("{run}:v:1")));
        for key in
            ["candlefish:v:1", "candlefish_bench_app:v", "candlefish_bench_2024:v", "candlefish_bench_1_shop:v", "candlefish_bench_1_é:v"]
        {
            assert!(!is_meant(key), "{key}");
        }
    }
}

//! Work on the source that several readers do together.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};

use crate::sqlite::snapshot::{Reader, Snapshot};

/// Does the work on every piece, with `readers` threads, if there are as many, that each take the next one; what each piece gave, in the order of the pieces. Blocking.
pub fn share<P: Sync, T: Send>(
    snapshot: &Snapshot,
    readers: usize,
    pieces: &[P],
    work: impl Fn(&Reader<'_>, &P) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let take = || -> Result<Vec<(usize, T)>> {
        let reader = snapshot.reader()?;
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(at) else { return Ok(done) };
            done.push((at, work(&reader, piece)?));
        }
    };
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..readers.min(snapshot.readers()).max(1)).map(|_| scope.spawn(take)).collect();
        let results = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a reader of the source panicked"))?);
        results.collect::<Result<Vec<_>>>()
    })?
    .into_iter()
    .flatten()
    .collect();
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

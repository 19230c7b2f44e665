//! Whether rows can be set aside: found out before the first one moves, not when there is one to be written.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::migrate::{Job, rejects};
use crate::model::{Event, Failure};
use crate::plan::Plan;

/// What must have room on the folder's disk.
static ROOM: [u8; 64 * 1024] = [0; 64 * 1024];

/// An error where the folder of rejects cannot be made, or nothing can be written into it. Nothing is left of the try, and the folder is not made.
pub fn refuse_unwritable(folder: &Path) -> Result<()> {
    attempt(folder).map_err(|error| refusal(folder, &error))
}

/// The same before a run begins, with the files that are there already. A folder that nobody has asked for, and that may never be needed, is
/// warned of only.
pub fn refuse_before(job: &Job, plan: &Plan) -> Result<()> {
    let folder = &job.rejects_dir;
    let is_needed = job.rejects_asked || !plan.todo.is_empty();
    match refuse_unwritable(folder) {
        Err(error) if is_needed => return Err(error),
        Err(error) => (job.events)(Event::Warning(format!("{error}; a run that has a row to set aside would end there: --rejects DIR"))),
        Ok(()) => {}
    }
    for table in &plan.tables {
        let path = rejects::path(folder, &table.source);
        if fs::symlink_metadata(&path).is_ok() {
            OpenOptions::new().append(true).open(&path).map_err(|error| refusal(&path, &error))?;
        }
    }
    Ok(())
}

fn refusal(path: &Path, error: &io::Error) -> anyhow::Error {
    Failure::new("rejects_unwritable", format!("no row could be set aside in {}: {error}", path.display()))
        .hint("Give --rejects a folder that can be written and has room, or make this one so.")
        .into()
}

fn attempt(folder: &Path) -> io::Result<()> {
    let trial = nearest(folder)?.join(format!(".candlefish-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&trial)?;
    let written = file.write_all(&ROOM).and_then(|()| file.sync_all());
    fs::remove_file(&trial)?;
    written
}

/// The folder itself, or the one that is there and that it would be made in.
fn nearest(folder: &Path) -> io::Result<PathBuf> {
    let mut there = std::path::absolute(folder)?;
    loop {
        match fs::metadata(&there) {
            Ok(known) if known.is_dir() => return Ok(there),
            Ok(_) => return Err(io::Error::new(ErrorKind::NotADirectory, format!("{} is no folder", there.display()))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) && there.pop() => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_tried_and_left_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "mine").unwrap();
        refuse_unwritable(&home.path().join("a/b/c")).unwrap();
        refuse_unwritable(home.path()).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        for unwritable in [file.clone(), file.join("below"), PathBuf::from("/proc/candlefish/rejects")] {
            let error = refuse_unwritable(&unwritable).unwrap_err().to_string();
            assert!(error.starts_with(&format!("no row could be set aside in {}: ", unwritable.display())), "{error}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
}

//! The home folder of a stack: finding it, making it, one `up` at a time in it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{env, io};

use anyhow::{Context as _, Result};

const FOLDER: &str = ".candlefish";
const IGNORE: &str = ".gitignore";
const LOCK: &str = "stack.lock";

/// `CANDLEFISH_HOME`, else the nearest `.candlefish/` upward, else `.candlefish/` in the current folder.
pub fn locate() -> Result<PathBuf> {
    let here = env::current_dir().context("find the current folder")?;
    match env::var_os("CANDLEFISH_HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(here.join(home)),
        None => Ok(nearest(&here)),
    }
}

fn nearest(here: &Path) -> PathBuf {
    let found = here.ancestors().map(|folder| folder.join(FOLDER)).find(|home| home.is_dir());
    found.unwrap_or_else(|| here.join(FOLDER))
}

/// Makes the folder, which git is told to ignore.
pub fn make(home: &Path) -> Result<()> {
    fs::create_dir_all(home).with_context(|| format!("make {}", home.display()))?;
    let ignore = home.join(IGNORE);
    if !ignore.exists() {
        fs::write(&ignore, "*\n").with_context(|| format!("write {}", ignore.display()))?;
    }
    Ok(())
}

/// Holds the home for one `up`, `down` or `destroy`; waits for another that is under way. Released when dropped, and by the system when we die.
pub fn lock(home: &Path) -> Result<File> {
    let path = home.join(LOCK);
    loop {
        let file = File::options().create(true).append(true).open(&path).with_context(|| format!("open {}", path.display()))?;
        file.lock().with_context(|| format!("lock {}", path.display()))?;
        // A `destroy` that went before us took the file away: then we hold nothing that others would see.
        match fs::metadata(&path) {
            Ok(there) if there.ino() == file.metadata()?.ino() => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => make(home)?,
            Err(error) => return Err(error).with_context(|| format!("look at {}", path.display())),
        }
    }
}

/// Removes the folder when nothing but our own marks is left in it.
pub fn remove(home: &Path) -> Result<()> {
    let left = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() != IGNORE && entry.file_name() != LOCK);
    if fs::read_dir(home)?.any(left) {
        return Ok(());
    }
    fs::remove_dir_all(home).with_context(|| format!("remove {}", home.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_home_upward_is_taken_else_one_here() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep)?;
        assert_eq!(nearest(&deep), deep.join(".candlefish"));
        make(&folder.path().join("a/.candlefish"))?;
        assert_eq!(nearest(&deep), folder.path().join("a/.candlefish"));
        assert_eq!(fs::read_to_string(folder.path().join("a/.candlefish/.gitignore"))?, "*\n");
        Ok(())
    }

    #[test]
    fn a_home_with_other_things_in_it_stays() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let home = folder.path().join("home");
        make(&home)?;
        fs::write(home.join("notes"), "mine")?;
        remove(&home)?;
        assert!(home.join("notes").exists());
        fs::remove_file(home.join("notes"))?;
        remove(&home)?;
        assert!(!home.exists());
        Ok(())
    }
}

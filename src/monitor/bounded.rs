//! Files that somebody names, read up to a limit: a device has no end, and a machine has.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

/// Of rules, and of tests of rules.
pub const RULES_BYTES: u64 = 1 << 20;
/// Of a token.
pub const TOKEN_BYTES: u64 = 64 << 10;
/// Of what one run leaves for the next.
pub const STATE_BYTES: u64 = 64 << 20;

/// The whole text of a file, or of a pipe.
///
/// # Errors
/// It cannot be read, is no UTF-8, or is longer than `most` bytes.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    String::from_utf8(read_bytes(path, most)?).map_err(|_| Error::new(ErrorKind::InvalidData, "it is no UTF-8"))
}

/// The same, whatever it is.
///
/// # Errors
/// It cannot be read, or is longer than `most` bytes.
pub fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_long(most)) } else { Ok(bytes) }
}

pub fn too_long(most: u64) -> Error {
    let most = if most >= 1 << 20 { format!("{} MiB", most >> 20) } else { format!("{} KiB", most >> 10) };
    Error::other(format!("it is longer than {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        let said = |most| read_text(Path::new("/dev/zero"), most).unwrap_err().to_string();
        assert_eq!((said(RULES_BYTES), said(TOKEN_BYTES)), ("it is longer than 1 MiB".to_string(), "it is longer than 64 KiB".to_string()));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read_text(file.path(), 5).unwrap(), "12345");
        assert!(read_text(file.path(), 4).is_err());
    }
}

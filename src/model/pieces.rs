//! A long text that is used as it is made: no more of it is in memory than a piece.

use std::io::{self, Write};

use anyhow::Result;

/// Gives what `make` writes to `send` in pieces of about `at_once` bytes, each of them text by itself.
pub fn in_pieces(at_once: usize, send: impl FnMut(&str) -> Result<()>, make: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut pieces = Pieces { bytes: Vec::new(), at_once, send, failed: None };
    let made = make(&mut pieces).and_then(|()| Ok(pieces.flush()?));
    // Why a piece was not taken says more than that the text could not be written.
    match pieces.failed {
        Some(error) => Err(error),
        None => made,
    }
}

struct Pieces<F> {
    /// What has been made since the last piece.
    bytes: Vec<u8>,
    at_once: usize,
    send: F,
    failed: Option<anyhow::Error>,
}

impl<F: FnMut(&str) -> Result<()>> Write for Pieces<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= self.at_once {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // A character may be written in two halves.
        let whole = self.bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        if whole.is_empty() {
            return Ok(());
        }
        if let Err(error) = (self.send)(whole) {
            self.failed = Some(error);
            return Err(io::Error::other("a piece was not taken"));
        }
        let length = whole.len();
        self.bytes.drain(..length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_text_and_make_the_whole() {
        let whole = "aé表😀".repeat(50);
        let mut pieces: Vec<String> = Vec::new();
        let send = |piece: &str| {
            pieces.push(piece.to_string());
            Ok(())
        };
        in_pieces(7, send, |into| Ok(whole.as_bytes().chunks(3).try_for_each(|part| into.write_all(part))?)).unwrap();
        assert_eq!(pieces.concat(), whole);
        assert!(pieces.len() > 10 && pieces.iter().all(|piece| piece.len() < 7 + 3), "{pieces:?}");
    }

    #[test]
    fn what_keeps_a_piece_from_being_taken_is_said() {
        let refused = in_pieces(1, |_| anyhow::bail!("no room"), |into| Ok(into.write_all(b"ab")?));
        assert_eq!(refused.unwrap_err().to_string(), "no room");
    }
}

//! COPY, both ways: buffers into a table, rows out of one.

use std::pin::Pin;

use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, Bytes};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_postgres::{Client, CopyInSink, CopyOutStream, ToStatement};

/// An open `COPY … FROM STDIN`. Dropped without `finish`, PostgreSQL takes nothing of it.
pub struct CopySink {
    sink: Pin<Box<CopyInSink<Bytes>>>,
}

impl CopySink {
    /// A statement's text, or one that was prepared to be run many times.
    pub async fn open(client: &Client, statement: &(impl ToStatement + ?Sized)) -> Result<Self, tokio_postgres::Error> {
        Ok(CopySink { sink: Box::pin(client.copy_in(statement).await?) })
    }

    /// Sends bytes that need not end where a row ends.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), tokio_postgres::Error> {
        self.sink.feed(bytes).await
    }

    /// Ends the COPY; returns how many rows PostgreSQL took.
    pub async fn finish(mut self) -> Result<u64, tokio_postgres::Error> {
        self.sink.as_mut().finish().await
    }
}

/// The start of binary COPY data: signature, flags, length of the header's extension.
pub const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The end of binary COPY data.
pub const BINARY_TRAILER: &[u8] = &[0xff, 0xff];

/// An open `COPY … TO STDOUT (FORMAT binary)`, row by row.
pub struct CopyRows {
    stream: Pin<Box<CopyOutStream>>,
    started: bool,
}

/// The fields of one row, as PostgreSQL's binary values.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl CopyRows {
    pub async fn open(client: &Client, statement: &str) -> Result<Self> {
        Ok(CopyRows { stream: Box::pin(client.copy_out(statement).await?), started: false })
    }

    /// The next row's bytes; PostgreSQL sends one message a row. None at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(message) = self.stream.next().await else { return Ok(None) };
            let mut message = message.context("read rows back")?;
            if !self.started {
                if !message.starts_with(&BINARY_HEADER[..11]) || message.len() < 19 {
                    bail!("PostgreSQL's COPY data does not start with its signature");
                }
                self.started = true;
                let extension = u32::from_be_bytes([message[15], message[16], message[17], message[18]]) as usize;
                message.advance((19 + extension).min(message.len()));
            }
            if message.is_empty() || &message[..] == BINARY_TRAILER {
                continue;
            }
            return Ok(Some(message));
        }
    }
}

impl<'a> Fields<'a> {
    /// Splits a row of `CopyRows`.
    pub fn of(row: &'a [u8]) -> Self {
        // The first two bytes count the fields, which the statement has fixed already.
        Fields { rest: row.get(2..).unwrap_or_default() }
    }
}

impl<'a> Iterator for Fields<'a> {
    /// None inside is NULL.
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.rest.split_at_checked(4)?;
        let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let Ok(length) = usize::try_from(length) else {
            self.rest = rest;
            return Some(None);
        };
        let (field, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Some(field))
    }
}

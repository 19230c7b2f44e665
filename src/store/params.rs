//! Parameters as their binary values: what is hashed into the key is what the server is sent.

use std::error::Error;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

use crate::model::Uuid;

/// The parameters of one call, each its length (`i32`, -1 is NULL) and its bytes.
#[derive(Clone)]
pub(super) struct Params {
    bytes: Bytes,
}

/// One parameter that is encoded already.
#[derive(Debug)]
pub(super) struct Encoded<'a>(Option<&'a [u8]>);

/// Appends the binary value of a parameter.
#[inline]
pub(super) fn encode(param: &(dyn ToSql + Sync), param_type: &Type, into: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
    // A text could be the binary value of something else, and have its key.
    if let Format::Text = param.encode_format(param_type) {
        return Err("it is sent as text; the store wants binary values".into());
    }
    param.to_sql_checked(param_type, into)
}

impl Params {
    pub fn push(into: &mut BytesMut, param: &(dyn ToSql + Sync), param_type: &Type) -> Result<(), Box<dyn Error + Sync + Send>> {
        let at = into.len();
        into.put_i32_le(-1);
        if let IsNull::No = encode(param, param_type, into)? {
            let length = i32::try_from(into.len() - at - 4)?;
            into[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }

    pub fn from_bytes(bytes: Bytes) -> Self {
        Params { bytes }
    }

    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(i32::from_le_bytes(*length)).ok();
            let (value, after) = after.split_at(length.unwrap_or(0));
            rest = after;
            Some(length.map(|_| value))
        })
    }

    pub fn get(&self, at: usize) -> Option<&[u8]> {
        self.iter().nth(at).flatten()
    }

    pub fn encoded(&self) -> Vec<Encoded<'_>> {
        self.iter().map(Encoded).collect()
    }
}

impl ToSql for Encoded<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Some(value) => {
                out.put_slice(value);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(param_type: &Type) -> bool {
        *param_type == Type::UUID
    }

    to_sql_checked!();
}

impl<'a> tokio_postgres::types::FromSql<'a> for Uuid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Uuid(raw.try_into()?))
    }

    fn accepts(column_type: &Type) -> bool {
        *column_type == Type::UUID
    }
}

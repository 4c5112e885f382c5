//! What the rows say once they are opened. Each plaintext begins with one byte naming the module that wrote it.
//!
//! Called by this room to seal and open, by the conductors to read and build object rows. Never prints what it holds:
//! all of it is personal data. A new shape is a new module here and a step from the old one.

pub mod v1;

use minicbor::{Decode, Encode};

/// A row's plaintext is not of a known version, or not what that version says. After authentication: a bug, not an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row's content has no known shape")]
pub struct BadRow;

/// The plaintext of a row of the newest version.
pub fn encode<T: Encode<()>>(row: &T) -> Vec<u8> {
    let mut plain = vec![v1::VERSION];
    minicbor::encode(row, &mut plain).expect("a vector takes every byte");
    plain
}

/// Reads a row's plaintext, whole.
pub fn decode<'a, T: Decode<'a, ()>>(plain: &'a [u8]) -> Result<T, BadRow> {
    let (&version, cbor) = plain.split_first().ok_or(BadRow)?;
    if version != v1::VERSION {
        return Err(BadRow);
    }
    let mut decoder = minicbor::Decoder::new(cbor);
    let row = decoder.decode().map_err(|_| BadRow)?;
    if decoder.position() == cbor.len() { Ok(row) } else { Err(BadRow) }
}

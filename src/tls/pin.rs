//! Pins: the public keys that an upstream may have.
//!
//! A pin is the SHA-256 of a certificate's `SubjectPublicKeyInfo`, so it outlives a certificate
//! that is renewed with the same key. It holds in addition to the ordinary checks, never instead.

use std::fmt;

use data_encoding::BASE64;

/// Reads a pin as `sha256/BASE64`, or as curl writes it, `sha256//BASE64`.
///
/// # Errors
/// Returns what is wrong with it.
pub fn parse(text: &str) -> Result<[u8; 32], PinError> {
    let rest = text.strip_prefix("sha256/").ok_or(PinError::Prefix)?;
    let base64 = match rest.strip_prefix('/') {
        // A hash may itself begin with a slash: the length tells.
        Some(shorter) if rest.len() > ENCODED => shorter,
        _ => rest,
    };
    let bytes = BASE64
        .decode(base64.as_bytes())
        .map_err(|_| PinError::Base64)?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| PinError::Length(length))
}

/// Characters that 32 bytes take.
const ENCODED: usize = 44;

/// Writes a pin as [`parse`] reads it.
pub fn display(pin: &[u8; 32]) -> String {
    format!("sha256/{}", BASE64.encode(pin))
}

/// A text that is no pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinError {
    /// Does not begin with `sha256/`.
    Prefix,
    /// What follows is not Base64 with its padding.
    Base64,
    /// It has this many bytes and not 32.
    Length(usize),
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix => f.write_str("a pin begins with `sha256/`"),
            Self::Base64 => f.write_str("what follows `sha256/` is not Base64 with its padding"),
            Self::Length(length) => write!(f, "a pin has 32 bytes, this one has {length}"),
        }
    }
}

impl std::error::Error for PinError {}

/// The peer's key is none of the pinned ones; names the one it has.
#[derive(Debug)]
pub(super) struct PinMismatch(pub(super) [u8; 32]);

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its pin is `{}`", display(&self.0))
    }
}

impl std::error::Error for PinMismatch {}

//! The two messages of `grpc.health.v1.Health/Check`, in gRPC's framing, without a code generator.
//!
//! `HealthCheckRequest { string service = 1 }` is read, `HealthCheckResponse { ServingStatus status
//! = 1 }` written. A request comes from anybody who may ask about health, hence it is short or
//! refused, and fields that are not known are skipped as protobuf wants it. Knows nothing about
//! HTTP, nor about what is healthy.

use std::fmt;

/// The longest request message. 4 KiB: names of services are far shorter.
pub const MAX_MESSAGE: usize = 4 << 10;

/// Octets before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// `ServingStatus` of `grpc.health.v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServingStatus {
    /// Nobody can tell.
    Unknown,
    /// Requests are welcome.
    Serving,
    /// They are not.
    NotServing,
    /// There is no such service; for `Watch` alone, `Check` fails with `NOT_FOUND`.
    ServiceUnknown,
}

/// Why a body is no request, by the gRPC status that it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// The message is compressed; no coding was agreed on. `UNIMPLEMENTED`.
    Compressed,
    /// The message is longer than [`MAX_MESSAGE`]. `RESOURCE_EXHAUSTED`.
    TooLarge,
    /// The body is not one whole message of protobuf. `INVALID_ARGUMENT`.
    Garbage,
}

/// How many octets of a body are worth keeping: one more makes it too large.
pub const MAX_BODY: usize = PREFIX + MAX_MESSAGE;

/// Reads the whole body of a request: the service that it asks about, empty for all of us.
///
/// # Errors
///
/// See [`BadRequest`].
pub fn decode(body: &[u8]) -> Result<&str, BadRequest> {
    let ([flag, length @ ..], message) = body
        .split_first_chunk::<PREFIX>()
        .ok_or(BadRequest::Garbage)?;
    match flag {
        0 => {}
        1 => return Err(BadRequest::Compressed),
        _ => return Err(BadRequest::Garbage),
    }
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(BadRequest::TooLarge);
    }
    if length != message.len() {
        return Err(BadRequest::Garbage);
    }
    service(message).ok_or(BadRequest::Garbage)
}

/// Writes the whole body of a response.
pub const fn encode(status: ServingStatus) -> &'static [u8] {
    match status {
        // The default of a field is not written.
        ServingStatus::Unknown => &[0, 0, 0, 0, 0],
        ServingStatus::Serving => &[0, 0, 0, 0, 2, 8, 1],
        ServingStatus::NotServing => &[0, 0, 0, 0, 2, 8, 2],
        ServingStatus::ServiceUnknown => &[0, 0, 0, 0, 2, 8, 3],
    }
}

/// Reads the fields of a message; the last of several values counts.
fn service(mut message: &[u8]) -> Option<&str> {
    const VARINT: u64 = 0;
    const FIXED_64: u64 = 1;
    const BYTES: u64 = 2;
    const FIXED_32: u64 = 5;
    let mut service = "";
    while !message.is_empty() {
        let tag = u64::from(u32::try_from(varint(&mut message)?).ok()?);
        let (field, wire_type) = (tag >> 3, tag & 7);
        if field == 0 {
            return None;
        }
        match wire_type {
            VARINT => {
                varint(&mut message)?;
            }
            FIXED_64 => {
                take(&mut message, 8)?;
            }
            FIXED_32 => {
                take(&mut message, 4)?;
            }
            BYTES => {
                let length = varint(&mut message)?;
                let bytes = take(&mut message, length)?;
                if field == 1 {
                    service = std::str::from_utf8(bytes).ok()?;
                }
            }
            // Groups ended with version 2 of the language.
            _ => return None,
        }
    }
    Some(service)
}

/// Seven bits an octet, the lowest first; ten octets hold 64 bits.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (octet, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compressed => "the message is compressed",
            Self::TooLarge => "the message is longer than a health check",
            Self::Garbage => "not one message of grpc.health.v1",
        })
    }
}

#[cfg(test)]
mod tests;

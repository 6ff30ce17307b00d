//! What HTTP/2 asks of a server (RFC 9113), and HPACK of a decoder and an encoder (RFC 7541), asked
//! of the real binary frame by frame.
//!
//! A case is what a caller does and every outcome that the RFC permits; where the RFC has a code for
//! it, no other will do. The order is that of the RFC: connections, frames, streams, each kind of
//! frame, messages, header compression. After each case a caller on another connection gets its
//! answer, no message that is malformed reaches the upstream whole, and once a family is through
//! nothing is held any more.

#![cfg(test)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with suites that use more of it")]
mod support;

#[path = "../support/h2raw/mod.rs"]
#[expect(dead_code, reason = "shared with suites that use more of it")]
mod h2raw;

mod case;
mod peer;

mod connection;
mod continuation;
mod control;
mod fields;
mod frames;
mod hpack_read;
mod hpack_written;
mod messages;
mod pseudo;
mod settings;
mod streams;
mod typed;
mod window;

//! No ambiguous byte goes on: raw bytes to the real binary, a raw recorder behind it, and the other
//! way round.
//!
//! Each family is a table of cases: a name, the bytes of a caller (or of an upstream), and what is
//! to become of them. What goes on is read by a parser of this suite's own that takes nothing but
//! what a sender may generate, and compared with what the case says was meant. One message in is
//! one message out: the recorder counts, a request that follows on the same connection and one on
//! another have to get their own answers.
//!
//! A case that cannot be had right yet says why and what happens instead, and fails as soon as it
//! passes.

#![cfg(test)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with suites that use more of it")]
mod support;

#[path = "../support/h2raw/mod.rs"]
#[expect(dead_code, reason = "shared with suites that use more of it")]
mod h2raw;

mod case;
mod codec;
mod http2;
mod requests;
mod responses;
mod run;
mod strict;
mod upstreams;

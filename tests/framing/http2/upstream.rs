//! Every request once more, to an upstream that speaks HTTP/2: what was refused on the way to
//! HTTP/1 is refused here, and what went on goes on as the same message.

use super::{bodies, connection, pseudo, values};
use crate::case::{self, Unfit};
use crate::requests;
use crate::run;

const HTTP2: &str = "protocol = \"http2\"";

const UNFIT: Unfit = &[
    (
        "websocket is asked for, and may be refused",
        "an upgrade stays behind where HTTP/2 follows",
    ),
    (
        "empty, which says that there is no authority",
        "HTTP/2 has no empty authority: that of the endpoint stands in",
    ),
];

#[track_caller]
fn http1(cases: &[case::Case]) {
    run::requests_to(HTTP2, UNFIT, cases);
}

#[track_caller]
fn http2(cases: &[super::Case]) {
    super::requests_to(HTTP2, UNFIT, cases);
}

#[test]
fn http1_chunks() {
    http1(requests::chunks::CASES);
}

#[test]
fn http1_connection() {
    http1(requests::connection::CASES);
}

#[test]
fn http1_content_length() {
    http1(requests::content_length::CASES);
}

#[test]
fn http1_fields() {
    http1(requests::fields::CASES);
}

#[test]
fn http1_host() {
    http1(requests::host::CASES);
}

#[test]
fn http1_lines() {
    http1(requests::lines::CASES);
}

#[test]
fn http1_methods() {
    http1(requests::methods::CASES);
}

#[test]
fn http1_pipeline() {
    http1(requests::pipeline::CASES);
}

#[test]
fn http1_transfer_encoding() {
    http1(requests::transfer_encoding::CASES);
}

#[test]
fn http1_versions() {
    http1(requests::versions::CASES);
}

#[test]
fn http2_bodies() {
    http2(bodies::CASES);
}

#[test]
fn http2_connection() {
    http2(connection::CASES);
}

#[test]
fn http2_pseudo() {
    http2(pseudo::CASES);
}

#[test]
fn http2_values() {
    http2(values::CASES);
}

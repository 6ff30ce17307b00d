//! Request bodies that are kept while they pass, and sent again.

use crate::expect::{assert_denied, assert_nothing_held};
use crate::retries::{call, daemon, passing};
use crate::support::upstream::{Step, Upstream, in_turn, message, reply};

#[test]
fn a_request_body_is_kept_and_sent_again_as_it_was() {
    let body: Vec<u8> = (0..40_000_u32).map(|i| (i % 251) as u8).collect();
    let upstream = passing("");
    let own = daemon(&upstream, "");
    assert_eq!(call(&own, "PUT", &[], &body).text(), "second");
    let chunked = [
        ("transfer-encoding", "chunked"),
        ("trailer", "x-end"),
        ("te", "trailers"),
    ];
    let pieces = b"6\r\nchunks\r\n4\r\n and\r\n0\r\nx-end: 3\r\n\r\n";
    let trailing = passing("");
    let other = daemon(&trailing, "");
    assert_eq!(call(&other, "PUT", &chunked, pieces).text(), "second");

    let seen = upstream.seen().requests;
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert!(
            request.complete && request.body == body,
            "{:?}",
            request.head
        );
        assert_eq!(request.head.field("content-length"), Some("40000"));
    }
    let seen = trailing.seen().requests;
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert!(request.complete, "{request:?}");
        assert_eq!(request.body, b"chunks and");
        assert_eq!(request.trailers, [("x-end".to_owned(), "3".to_owned())]);
    }
}

#[test]
fn a_body_that_is_still_on_its_way_is_sent_again_and_read_on() {
    let early = vec![Step::Send(message(503, "early")), Step::ReadBody];
    let upstream = Upstream::start(in_turn([early, reply(200, "second")]));
    let daemon = daemon(&upstream, "");
    let mut client = daemon.client();
    client.request("PUT", "/", &[("content-length", "10")], b"half ");
    upstream.wait_until("the second attempt", |record| record.requests.len() == 2);
    client.send("whole");
    let response = client.response("PUT").expect("a whole response");
    assert_eq!(response.text(), "second");
    assert_eq!(upstream.seen().requests[1].body, b"half whole");
    assert_nothing_held(&daemon);
}

#[test]
fn a_body_beyond_the_buffer_passes_and_is_not_sent_again() {
    let small = ", max_body_buffer = \"1KiB\"";
    let body = vec![b'x'; 1025];
    let chunked = [("transfer-encoding", "chunked")];
    let framed = [b"401\r\n", &*body, b"\r\n0\r\n\r\n"].concat();
    for (fields, sent) in [(&[] as &[_], &body), (&chunked, &framed)] {
        let upstream = passing("");
        let daemon = daemon(&upstream, small);
        assert_eq!(call(&daemon, "PUT", fields, sent).text(), "first");
        let seen = upstream.seen().requests;
        assert_eq!((seen.len(), seen[0].length), (1, 1025));
        assert_denied(&daemon, "committed", 1.0);
        assert_nothing_held(&daemon);
    }
    let upstream = passing("");
    let daemon = daemon(&upstream, small);
    assert_eq!(call(&daemon, "PUT", &[], &body[..1024]).text(), "second");
    assert_eq!(upstream.seen().requests[1].length, 1024);
}

#[test]
fn an_empty_chunked_body_is_framed_alike_each_time() {
    let upstream = passing("");
    let daemon = daemon(&upstream, "");
    let chunked = [("transfer-encoding", "chunked")];
    let response = call(&daemon, "PUT", &chunked, b"0\r\n\r\n");
    assert_eq!(response.text(), "second");
    let seen = upstream.seen().requests;
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert!(request.head.chunked() && request.complete, "{request:?}");
    }
}

//! How names of fields are spelled between peers of HTTP/1, and in which order fields of one name go.

use crate::expect::assert_retried;
use crate::h2raw::{Frame, Link};
use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, section};
use crate::support::dead::Refusing;
use crate::support::stage::Stage;
use crate::support::wire::Head;

const REQUEST: &str = "GET / HTTP/1.1\r\nHOST: a\r\nX-CamelCase: 1\r\nx-lower: 2\r\nX-Dup: 3\r\n\
                       x-dUP: 4\r\nConnection: X-Gone\r\nX-Gone: 5\r\nX-Request-ID: 6\r\nX-DUP: 7\r\n\r\n";
const ANSWER: &str = "Content-Length: 2\r\nX-Odd-CASE: 1\r\nSet-Cookie: a\r\nETag: \"a\"\r\n\
                      SET-COOKIE: b\r\nset-Cookie: c\r\n\r\nok";
const KEEPS: &str = "[defaults.downstream]\nkeep_header_case = true\n";

fn names(head: &Head) -> Vec<&str> {
    head.fields.iter().map(|(name, _)| name.as_str()).collect()
}

/// That these names are among those of the head, spelled so, and nothing is lost of equal ones.
#[track_caller]
fn assert_spelled(head: &Head, expected: [&str; 6]) {
    for name in expected {
        assert!(names(head).contains(&name), "{name}: {head:?}");
    }
    assert_eq!(head.all("set-cookie"), ["a", "b", "c"]);
}

#[test]
fn names_go_on_as_they_were_spelled_where_that_is_asked_for() {
    let stage = Stage::open();
    let retry = "retry = { mode = \"enforce\", backoff = { base = \"1ms\" } }";
    let daemon = Daemon::start(&format!("{KEEPS}{}", section(&[stage.url()], retry)));
    let mut client = daemon.client();
    client.send(REQUEST);
    let mut played = Vec::new();
    // Sent once more, it is the same.
    for answer in ["503 Service Unavailable", "200 OK"] {
        let mut upstream = stage.accept();
        let head = upstream.head().unwrap();
        let mut spelled = names(&head);
        spelled.retain(|name| !name.eq_ignore_ascii_case("x-dup"));
        assert_eq!(spelled, ["HOST", "X-CamelCase", "x-lower", "X-Request-ID"]);
        assert_eq!(head.all("x-dup"), ["3", "4", "7"]);
        for name in ["X-Dup", "x-dUP", "X-DUP"] {
            assert!(names(&head).contains(&name), "{head:?}");
        }
        upstream
            .write(format!("HTTP/1.1 {answer}\r\n{ANSWER}").as_bytes())
            .unwrap();
        played.push(upstream);
    }
    let kept = [
        "Content-Length",
        "X-Odd-CASE",
        "ETag",
        "Set-Cookie",
        "SET-COOKIE",
        "set-Cookie",
    ];
    assert_spelled(&client.head(), kept);
    assert_retried(&daemon, "status", 1.0);
}

#[test]
fn names_are_in_lower_case_otherwise_and_fields_of_one_name_in_order() {
    let stage = Stage::open();
    let daemon = Daemon::start(&section(&[stage.url()], ""));
    let mut client = daemon.client();
    client.send(REQUEST);
    let mut upstream = stage.accept();
    let head = upstream.head().unwrap();
    assert!(
        names(&head)
            .iter()
            .all(|name| *name == name.to_ascii_lowercase())
    );
    assert_eq!(head.all("x-dup"), ["3", "4", "7"]);
    upstream
        .write(format!("HTTP/1.1 200 OK\r\n{ANSWER}").as_bytes())
        .unwrap();
    let lower = [
        "content-length",
        "x-odd-case",
        "etag",
        "set-cookie",
        "set-cookie",
        "set-cookie",
    ];
    assert_spelled(&client.head(), lower);
}

#[test]
fn each_listener_decides_for_its_callers_and_a_failover_is_spelled_to_as_well() {
    let (refusing, stage) = (Refusing::start(), Stage::open());
    let daemon = Daemon::start(&format!(
        "[upstreams.api]\nendpoints = [\"{}\"]\nfailover = \"spare\"\n\
         [upstreams.spare]\nendpoints = [\"{}\"]\n\
         [[listeners]]\nname = \"api\"\naddress = \"127.0.0.1:0\"\n\
         downstream = {{ keep_header_case = true }}\nroutes = [{{ upstream = \"api\" }}]\n\
         [[listeners]]\nname = \"other\"\naddress = \"127.0.0.1:0\"\n\
         routes = [{{ upstream = \"spare\" }}]\n",
        refusing.url(),
        stage.url()
    ));
    for (listener, name) in [("api", "X-CamelCase"), ("other", "x-camelcase")] {
        let mut client = Client::connect(daemon.address(listener));
        client.send(REQUEST);
        let mut upstream = stage.accept();
        let head = upstream.head().unwrap();
        assert!(names(&head).contains(&name), "{listener}: {head:?}");
        upstream
            .write(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{ANSWER}").as_bytes())
            .unwrap();
        assert_eq!(client.response("GET").unwrap().text(), "ok");
    }
    // There is one spelling in HTTP/2.
    let mut link = Link::connect(daemon.api(), PATIENCE);
    let fields: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"a"),
    ];
    link.send(&Frame::headers(1, &fields, true));
    let mut upstream = stage.accept();
    upstream.head().unwrap();
    upstream
        .write(format!("HTTP/1.1 200 OK\r\n{ANSWER}").as_bytes())
        .unwrap();
    let message = link.message(1);
    assert_eq!(message.all("x-odd-case"), ["1"]);
    assert_eq!(message.all("set-cookie"), ["a", "b", "c"]);
}

//! The suite's own HTTP/2 against a library's: what is written there is read here, and back.

#![expect(
    clippy::disallowed_methods,
    reason = "a panic there ends the connection, which the test notices"
)]

use std::net::{SocketAddr, TcpListener};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};

use crate::h2raw::{End, Frame, HEADERS, Link, RST_STREAM, hpack};
use crate::support::PATIENCE;

/// A body of several frames, larger than the window of a stream.
const LARGE: usize = 200_000;

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

/// Serves one connection by the library: answers each request with its own fields, body and
/// trailers.
fn library() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    thread::spawn(move || {
        runtime().block_on(async move {
            let (socket, _) = listener.accept().expect("a connection");
            socket
                .set_nonblocking(true)
                .expect("the option is supported");
            let socket = tokio::net::TcpStream::from_std(socket).expect("a socket");
            let mut connection = h2::server::handshake(socket).await.expect("a preface");
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(echo(request, respond));
            }
        });
    });
    address
}

async fn echo(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let mut response = Response::new(());
    for (name, value) in request.headers() {
        response.headers_mut().append(name, value.clone());
    }
    let path = HeaderValue::from_str(request.uri().path()).expect("a path");
    response.headers_mut().insert("x-path", path);
    let mut body = request.into_body();
    let mut send = respond
        .send_response(response, false)
        .expect("an open stream");
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        send.send_data(data, false).expect("an open stream");
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    send.send_trailers(trailers).expect("an open stream");
}

const POST: [(&[u8], &[u8]); 4] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a"),
    (b":authority", b"a"),
];

#[test]
fn a_library_answers_the_client() {
    let mut link = Link::connect(library(), PATIENCE);
    let long = "v".repeat(3_000);
    for stream in [1, 3] {
        let body = vec![b'x'; 10_000];
        let fields = [&POST[..], &[(b"x-long", long.as_bytes())]].concat();
        link.send_whole(stream, &fields, &body);
        let answer = link.message(stream);
        assert_eq!((answer.status(), &answer.end), (200, &End::Whole));
        assert_eq!(answer.all("x-path"), ["/a"]);
        assert_eq!(answer.all("x-long"), [long.as_str()]);
        assert_eq!(answer.data, body);
        assert_eq!(answer.trailers, [(b"x-sum".to_vec(), b"1".to_vec())]);
    }
}

#[test]
fn a_library_resets_what_is_malformed() {
    let mut link = Link::connect(library(), PATIENCE);
    link.send_whole(1, &POST[..3], b"");
    let named: [(&[u8], &[u8]); 1] = [(b"connection", b"close")];
    link.send_whole(3, &[&POST[..], &named].concat(), b"");
    assert_eq!(link.message(3).end, End::Reset(1));
    assert_eq!(link.message(1).status(), 200);
    link.write(&Frame::new(HEADERS, 4, 5, &[0x80]).encode());
    assert!(matches!(link.message(5).end, End::GoAway(_)));
}

#[test]
fn a_library_asks_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a connection");
        let mut link = Link::accept(socket, b"", PATIENCE).expect("a preface");
        let stream = link.request().expect("a request");
        let asked = link.message(stream);
        let status: (&[u8], &[u8]) = (b":status", b"200");
        link.send(&Frame::headers(
            stream,
            &[(b":status", b"103"), (b"link", b"a")],
            false,
        ));
        link.send(&Frame::headers(stream, &[status], false));
        link.send(&Frame::data(stream, b"hello", false));
        link.send(&Frame::headers(stream, &[(b"x-sum", b"1")], true));
        let second = link.request().expect("a request");
        link.send(&Frame::reset(second, 7));
        drop(link.request());
        asked
    });
    let request = || {
        let request = Request::post("http://a.test/long?query");
        let request = request.header("x-one", "1").header("x-one", "\u{e9}");
        request.body(()).expect("a request")
    };
    runtime().block_on(async {
        let socket = tokio::net::TcpStream::connect(address)
            .await
            .expect("a listener");
        let (mut client, connection) = h2::client::handshake(socket).await.expect("settings");
        tokio::spawn(connection);
        let (response, mut body) = client.send_request(request(), false).expect("a stream");
        body.send_data(Bytes::from(vec![b'x'; LARGE]), true)
            .expect("an open stream");
        let mut body = response.await.expect("an answer").into_body();
        assert_eq!(body.data().await.expect("data").expect("data"), "hello");
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.expect("trailers");
        assert_eq!(trailers.expect("trailers")["x-sum"], "1");
        let (response, _) = client.send_request(request(), true).expect("a stream");
        let error = response.await.expect_err("a reset");
        assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    });
    let asked = server.join().expect("a server");
    assert_eq!(asked.end, End::Whole);
    assert_eq!(asked.all(":path"), ["/long?query"]);
    assert_eq!(asked.all(":authority"), ["a.test"]);
    assert_eq!(asked.all("x-one"), ["1", "\u{c3}\u{a9}"]);
    assert_eq!(asked.data.len(), LARGE);
}

/// Examples of RFC 7541, appendix C: literals with and without a table, indices, and Huffman codes.
#[test]
fn fields_are_read_in_every_form() {
    let mut decoder = hpack::Decoder::new();
    let mut read = |block: &[u8]| -> Vec<(String, String)> {
        let fields = decoder.decode(block).expect("a legal block");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        fields
            .iter()
            .map(|field| (text(&field.0), text(&field.1)))
            .collect()
    };
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let first = [
        field(":method", "GET"),
        field(":scheme", "http"),
        field(":path", "/"),
        field(":authority", "www.example.com"),
    ];
    let coded = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    assert_eq!(read(coded), first);
    let second = read(b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf");
    assert_eq!(
        second[3..],
        [first[3].clone(), field("cache-control", "no-cache")]
    );
    assert!(decoder.decode(b"\x80").is_err());
    assert!(decoder.decode(b"\xff\xff\xff\xff\xff\x0f").is_err());
    assert!(decoder.decode(b"\x00\x01a\x81\xff").is_err());
}

/// What is kept for later does not lose its place.
#[test]
fn streams_do_not_mix() {
    let mut link = Link::connect(library(), PATIENCE);
    for stream in [1, 3, 5] {
        link.send_whole(stream, &POST, format!("body {stream}").as_bytes());
    }
    link.send(&Frame::new(RST_STREAM, 0, 3, &8_u32.to_be_bytes()));
    for stream in [5, 1] {
        assert_eq!(
            link.message(stream).data,
            format!("body {stream}").as_bytes()
        );
    }
}

//! Bodies that nobody reads take nothing from others on the same connection of HTTP/2.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};

use crate::expect::assert_nothing_held;
use crate::support::client::get;
use crate::support::daemon::{Daemon, section};
use crate::support::gate::Gate;
use crate::support::grpc::run;
use crate::support::h2_server::{Act, H2Server};
use crate::support::upstream::{Step, Upstream};

/// More than the windows and the buffers of sockets take together.
const LONG: usize = 32 << 20;

/// A body that is longer than any window.
const BODY: usize = 2 << 20;

const ECHO: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Bodies that stand still at once.
const STALLED: usize = 6;

#[test]
fn callers_that_do_not_read_hold_up_nobody_elses_response() {
    let text = |length| &*Box::leak("x".repeat(length).into_boxed_str());
    let (long, body) = (text(LONG), text(BODY));
    let upstream = H2Server::start(move |_, head| match head.uri.path() {
        "/long" => Act::Reply(200, long),
        _ => Act::Reply(200, body),
    });
    let more = "protocol = \"http2\"\n[runtime]\nworkers = 1\n";
    let daemon = Daemon::start(&section(&[upstream.url()], more));
    let stalled: Vec<_> = (0..STALLED)
        .map(|_| {
            let mut caller = daemon.client();
            caller.request("GET", "/long", &[], b"");
            assert_eq!(caller.head().word(1), "200");
            caller
        })
        .collect();
    for _ in 0..3 {
        let response = get(daemon.api(), "/short");
        assert_eq!((response.status, response.body.len()), (200, BODY));
    }
    assert_eq!(upstream.seen().connections, 1);
    drop(stalled);
    assert_nothing_held(&daemon);
}

/// Begins a request with a body, all of which is ready to be sent.
fn post(sender: &mut SendRequest<Bytes>, path: &str, body: usize) -> h2::client::ResponseFuture {
    let request = Request::post(format!("http://a{path}")).body(());
    let sent = sender.send_request(request.expect("a request"), false);
    let (response, mut stream) = sent.expect("a stream");
    let body = Bytes::from(vec![b'x'; body]);
    stream.send_data(body, true).expect("an open stream");
    response
}

async fn whole(response: Response<h2::RecvStream>) -> usize {
    let (mut length, mut body) = (0, response.into_body());
    while let Some(data) = body.data().await {
        let data = data.expect("a whole body");
        let _ = body.flow_control().release_capacity(data.len());
        length += data.len();
    }
    length
}

#[test]
fn an_upstream_that_does_not_read_holds_up_nobody_elses_request() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::start(move |call| match call.path() {
        "/long" => vec![Step::Await(held.clone()), Step::Close],
        _ => vec![
            Step::Send(ECHO.into()),
            Step::Echo,
            Step::Send("0\r\n\r\n".into()),
        ],
    });
    let daemon = Daemon::proxying(&[upstream.url()], "");
    let caller = async {
        let stream = tokio::net::TcpStream::connect(daemon.api()).await;
        let stream = stream.expect("a connection");
        let (mut sender, connection) = h2::client::handshake(stream).await.expect("settings");
        let asked = async {
            let stalled: Vec<_> = (0..STALLED)
                .map(|_| post(&mut sender, "/long", LONG))
                .collect();
            for _ in 0..3 {
                let echoed = post(&mut sender, "/echo", BODY).await.expect("an answer");
                assert_eq!(whole(echoed).await, BODY);
            }
            drop(stalled);
        };
        tokio::select! {
            () = asked => {}
            ended = connection => panic!("the connection ended: {ended:?}"),
        }
    };
    run(caller);
    gate.open();
    assert_nothing_held(&daemon);
}

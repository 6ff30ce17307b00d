//! Upstreams on raw sockets: one that records what leaves the proxy, one that answers by script.
//! They speak the version that the proxy begins with.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::h2raw::{self, End, Frame, Link};
use crate::strict::{self, Parsed, Read};
use crate::support::PATIENCE;
use crate::support::daemon::raise_open_files;

/// What came out of the proxy, in the order of arrival.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "what is wrong is printed, not looked at")]
pub(crate) enum Event {
    /// A whole request.
    Whole(Box<Parsed>),
    /// The connection ended within a request, after its head if it is known.
    Part(Option<Box<Parsed>>),
    /// Something that is no request.
    Garbled(String),
}

/// Bytes of a scripted answer, and whether the connection ends with them.
type Script = dyn Fn(&Parsed) -> (Vec<u8>, bool) + Send + Sync;

/// Frames of a scripted answer on this stream.
type Frames = dyn Fn(&Parsed, u32) -> Vec<Frame> + Send + Sync;

struct Shared {
    events: Mutex<Vec<Event>>,
    ended: AtomicBool,
    script: Box<Script>,
    frames: Box<Frames>,
}

impl Shared {
    fn note(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event);
    }
}

/// An upstream with a thread for each connection.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Upstream {
    /// Answers each request with what it was: its method and its target.
    pub(crate) fn recording() -> Self {
        Self::start(|request| (saw(request), false), saw_framed)
    }

    /// Answers each request of HTTP/1 by `script`.
    pub(crate) fn scripted(
        script: impl Fn(&Parsed) -> (Vec<u8>, bool) + Send + Sync + 'static,
    ) -> Self {
        Self::start(script, saw_framed)
    }

    /// Answers each request of HTTP/2 by `frames`.
    pub(crate) fn framed(
        frames: impl Fn(&Parsed, u32) -> Vec<Frame> + Send + Sync + 'static,
    ) -> Self {
        Self::start(|request| (saw(request), false), frames)
    }

    fn start(
        script: impl Fn(&Parsed) -> (Vec<u8>, bool) + Send + Sync + 'static,
        frames: impl Fn(&Parsed, u32) -> Vec<Frame> + Send + Sync + 'static,
    ) -> Self {
        raise_open_files();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            events: Mutex::default(),
            ended: AtomicBool::new(false),
            script: Box::new(script),
            frames: Box::new(frames),
        });
        let own = Arc::clone(&shared);
        let accepting = thread::spawn(move || accept(&listener, &own));
        Self {
            address,
            shared,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that came, once the proxy is gone.
    pub(crate) fn finish(self) -> Vec<Event> {
        self.shared.ended.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        self.accepting.join().expect("no check in that thread");
        let events = self.shared.events.lock();
        events.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The answer that says which request it belongs to.
pub(crate) fn saw(request: &Parsed) -> Vec<u8> {
    let [method, target, _] = &request.start;
    let saw = format!("{method} {target}");
    let body = if method == "HEAD" { "" } else { &saw };
    let length = saw.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx-saw: {saw}\r\n\r\n{body}")
        .into_bytes()
}

/// As [`saw`], over HTTP/2.
pub(crate) fn saw_framed(request: &Parsed, stream: u32) -> Vec<Frame> {
    let [method, target, _] = &request.start;
    let saw = format!("{method} {target}");
    let length = saw.len().to_string();
    let fields: [(&[u8], &[u8]); 3] = [
        (b":status", b"200"),
        (b"content-length", length.as_bytes()),
        (b"x-saw", saw.as_bytes()),
    ];
    let is_head = method == "HEAD";
    let mut frames = vec![Frame::headers(stream, &fields, is_head)];
    if !is_head {
        frames.push(Frame::data(stream, saw.as_bytes(), true));
    }
    frames
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::Acquire) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let own = Arc::clone(shared);
        connections.push(thread::spawn(move || serve(stream, &own)));
    }
    for connection in connections {
        drop(connection.join());
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    drop(stream.set_nodelay(true));
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let mut told = false;
    loop {
        if bytes.starts_with(b"PRI") {
            return serve_frames(stream, &bytes, shared);
        }
        let part = match strict::request(&bytes) {
            Ok(Read::Whole(request, length)) => {
                bytes.drain(..length);
                let (answer, ends) = (shared.script)(&request);
                shared.note(Event::Whole(request));
                told = false;
                if stream.write_all(&answer).is_err() || ends {
                    return;
                }
                continue;
            }
            Ok(Read::Part { head }) => head,
            Err(why) => {
                let raw = String::from_utf8_lossy(&bytes).into_owned();
                return shared.note(Event::Garbled(format!("{why} in {raw:?}")));
            }
        };
        let expects = |head: &Parsed| !head.all("expect").is_empty();
        if !told && part.as_deref().is_some_and(expects) {
            told = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok();
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) if bytes.is_empty() => return,
            Ok(0) => return shared.note(Event::Part(part)),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return shared.note(Event::Part(part)),
        }
    }
}

fn serve_frames(stream: TcpStream, begun: &[u8], shared: &Shared) {
    let Ok(mut link) = Link::accept(stream, begun, PATIENCE) else {
        return;
    };
    loop {
        let stream = match link.request() {
            Ok(stream) => stream,
            Err(h2raw::Gone::Bad(what)) => return shared.note(Event::Garbled(what)),
            Err(_) => return,
        };
        let message = link.message(stream);
        let ended = message.end.clone();
        match (ended, strict::framed(message)) {
            (End::Whole, Ok(request)) => {
                let frames = (shared.frames)(&request, stream);
                shared.note(Event::Whole(request));
                for frame in &frames {
                    link.send(frame);
                }
            }
            (_, Ok(request)) => shared.note(Event::Part(Some(request))),
            (_, Err(why)) => {
                shared.note(Event::Garbled(why));
                link.send(&Frame::reset(stream, 1));
            }
        }
    }
}

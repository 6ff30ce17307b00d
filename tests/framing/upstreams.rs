//! Upstreams on raw sockets: one that records what leaves the proxy, one that answers by script.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::strict::{self, Parsed, Read};

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

struct Shared {
    events: Mutex<Vec<Event>>,
    ended: AtomicBool,
    script: Box<Script>,
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
        Self::scripted(|request| (saw(request), false))
    }

    /// Answers each request by `script`.
    pub(crate) fn scripted(
        script: impl Fn(&Parsed) -> (Vec<u8>, bool) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            events: Mutex::default(),
            ended: AtomicBool::new(false),
            script: Box::new(script),
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

//! An upstream that does exactly what a test tells it, byte by byte, and remembers what it saw.
//!
//! One thread a connection. The script of a request is a list of [`Step`]s, chosen by a function
//! of the request as it was received; that of a connection (what happens before any request) may
//! be chosen as well. A connection goes on with the next request when its steps are over, unless
//! one of them ended it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::PATIENCE;
use super::gate::Gate;
use super::wire::{Head, Stop, Wire};

/// One thing that the upstream does.
#[derive(Clone)]
pub(crate) enum Step {
    /// Reads the request body to its end.
    ReadBody,
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Writes these bytes one by one, with a pause before each but the first.
    Drip(Vec<u8>, Duration),
    /// Writes these bytes again and again until the peer ends the connection.
    Endless(Vec<u8>),
    /// Sends the request body back, chunk by chunk as it arrives.
    Echo,
    /// Does nothing, not even read, until the gate opens.
    Await(Gate),
    /// Does nothing for this long: a modelled delay, which the gate of the test does not shorten.
    Delay(Duration),
    /// Says nothing more, and reads until the peer ends the connection.
    Hang,
    /// Ends the connection if the next request does not come within this time.
    KeepFor(Duration),
    /// Ends the connection in order (FIN).
    Close,
    /// Resets the connection (RST).
    Reset,
}

/// A request whose head was just read.
pub(crate) struct Call<'a> {
    pub(crate) head: &'a Head,
    /// How many requests came before it on this connection.
    pub(crate) earlier: usize,
}

impl Call<'_> {
    pub(crate) fn method(&self) -> &str {
        self.head.word(0)
    }

    pub(crate) fn path(&self) -> &str {
        self.head.word(1)
    }
}

/// What is remembered of a request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: Head,
    pub(crate) connection: usize,
    /// Whether the end of its body was read.
    pub(crate) complete: bool,
    /// Bytes of its body.
    pub(crate) length: u64,
    /// The body, up to [`KEPT`] bytes.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// How much of a request body is remembered.
pub(crate) const KEPT: usize = 64 * 1024;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer ended it, in order or by a reset.
    ByPeer,
    /// The script ended it.
    ByScript,
}

/// Everything that the upstream saw so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) requests: Vec<Seen>,
    /// One entry for each connection accepted.
    pub(crate) connections: Vec<Option<End>>,
    /// Connections open at once, at most.
    pub(crate) max_open: usize,
    /// Requests whose answer is not on its way yet.
    pub(crate) in_progress: usize,
    /// Requests in progress at once, at most.
    pub(crate) max_in_progress: usize,
}

impl Record {
    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.connections.iter().filter(|end| end.is_none()).count()
    }

    /// Connections that the peer ended.
    pub(crate) fn ended_by_peer(&self) -> usize {
        self.connections
            .iter()
            .filter(|end| **end == Some(End::ByPeer))
            .count()
    }

    /// Targets of the requests, in the order of arrival.
    pub(crate) fn targets(&self) -> Vec<&str> {
        self.requests.iter().map(|seen| seen.head.word(1)).collect()
    }
}

type OnAccept = dyn Fn(usize) -> Vec<Step> + Send + Sync;
/// What is done with each piece of a request body; may answer on the same socket.
type OnBytes<'a> = &'a mut dyn FnMut(&Wire, &[u8]) -> Result<(), Stop>;
type OnCall = dyn Fn(&Call<'_>) -> Vec<Step> + Send + Sync;

struct Shared {
    record: Mutex<Record>,
    changed: Condvar,
    sockets: Mutex<Vec<Weak<TcpStream>>>,
    stopped: AtomicBool,
    on_accept: Box<OnAccept>,
    on_call: Box<OnCall>,
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let value = change(&mut self.record());
        self.changed.notify_all();
        value
    }
}

/// The upstream; dropping it ends its connections.
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Upstream {
    /// An upstream that answers each request by the steps that `on_call` chooses.
    pub(crate) fn start(on_call: impl Fn(&Call<'_>) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_with(|_| Vec::new(), on_call)
    }

    /// As [`Self::start`], with steps before the first request of each connection as well.
    pub(crate) fn start_with(
        on_accept: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
        on_call: impl Fn(&Call<'_>) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::listening(listener, on_accept, on_call)
    }

    /// Upstreams on 127.0.0.2, 127.0.0.3 and so on, all on the same port, each of which answers
    /// every request with 200 and its body.
    pub(crate) fn neighbours<const N: usize>(bodies: [&'static str; N]) -> [Self; N] {
        Self::neighbours_by(bodies.map(|body| move |_: &Call<'_>| reply(200, body)))
    }

    /// As [`Self::neighbours`], each of which answers by steps that it chooses.
    pub(crate) fn neighbours_by<const N: usize, F>(on_call: [F; N]) -> [Self; N]
    where
        F: Fn(&Call<'_>) -> Vec<Step> + Send + Sync + 'static,
    {
        let address = |index: u8| std::net::Ipv4Addr::new(127, 0, 0, 2 + index);
        let bind = || -> std::io::Result<Vec<TcpListener>> {
            let first = TcpListener::bind((address(0), 0))?;
            let port = first.local_addr()?.port();
            let others = (1..)
                .take(N - 1)
                .map(|index| TcpListener::bind((address(index), port)));
            std::iter::once(Ok(first)).chain(others).collect()
        };
        // The port of the first may be taken at another's address.
        let bound = (0..20).find_map(|_| bind().ok());
        let mut bound = bound.expect("a port free at all addresses").into_iter();
        on_call.map(|on_call| {
            let listener = bound.next().expect("one for each");
            Self::listening(listener, |_| Vec::new(), on_call)
        })
    }

    fn listening(
        listener: TcpListener,
        on_accept: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
        on_call: impl Fn(&Call<'_>) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            record: Mutex::default(),
            changed: Condvar::new(),
            sockets: Mutex::default(),
            stopped: AtomicBool::new(false),
            on_accept: Box::new(on_accept),
            on_call: Box::new(on_call),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &own));
        Self { address, shared }
    }

    /// An upstream that answers every request with 200 and this body.
    pub(crate) fn answering(body: &'static str) -> Self {
        Self::start(move |_| reply(200, body))
    }

    /// An upstream that answers every request with 200 once the gate is open.
    pub(crate) fn gated(gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::start(move |_| {
            vec![
                Step::ReadBody,
                Step::Await(gate.clone()),
                Step::Send(message(200, "through")),
            ]
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As an entry of `endpoints`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Record {
        self.shared.record().clone()
    }

    /// Waits until what was seen satisfies `condition`.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Record) -> bool) -> Record {
        let record = self.shared.record();
        let (record, timeout) = self
            .shared
            .changed
            .wait_timeout_while(record, PATIENCE, |record| !condition(record))
            .unwrap_or_else(PoisonError::into_inner);
        let record = record.clone();
        assert!(
            !timeout.timed_out(),
            "the upstream never saw {what}; it saw {record:#?}"
        );
        record
    }

    /// Waits until this many requests are between their head and their answer.
    pub(crate) fn wait_in_progress(&self, count: usize) -> Record {
        let what = format!("{count} requests in progress");
        self.wait_until(&what, |record| record.in_progress == count)
    }

    /// Waits until no connection is open.
    pub(crate) fn wait_closed(&self) -> Record {
        self.wait_until("the end of all its connections", |record| {
            record.open() == 0
        })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let sockets = self
            .shared
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            drop(socket.shutdown(std::net::Shutdown::Both));
        }
    }
}

/// A response with a content-length.
pub(crate) fn message(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// Reads the request and answers it with a response that has a content-length.
pub(crate) fn reply(status: u16, body: &str) -> Vec<Step> {
    send(message(status, body))
}

/// Reads the request and answers it with these bytes.
pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::ReadBody, Step::Send(bytes.as_ref().to_vec())]
}

/// `first`, then one more step.
pub(crate) fn then(mut first: Vec<Step>, last: Step) -> Vec<Step> {
    first.push(last);
    first
}

/// The first request gets the first of these, the second the next, all later ones the last. Its
/// clones count together, so that several upstreams answer as one.
pub(crate) fn in_turn<const N: usize>(
    scripts: [Vec<Step>; N],
) -> impl Fn(&Call<'_>) -> Vec<Step> + Clone + Send + Sync + 'static {
    let came = Arc::new(AtomicUsize::new(0));
    let scripts = Arc::new(scripts);
    move |_| scripts[came.fetch_add(1, Ordering::SeqCst).min(N - 1)].clone()
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        drop(stream.set_nodelay(true));
        let stream = Arc::new(stream);
        let sockets = &mut *shared
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sockets.push(Arc::downgrade(&stream));
        let index = shared.note(|record| {
            record.connections.push(None);
            record.max_open = record.max_open.max(record.open());
            record.connections.len() - 1
        });
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let connection = Connection {
                wire: Wire::new(stream),
                index,
                shared: Arc::clone(&shared),
                keep_for: None,
            };
            let end = connection.serve();
            shared.note(|record| record.connections[index] = Some(end));
        });
    }
}

struct Connection {
    wire: Wire,
    index: usize,
    shared: Arc<Shared>,
    keep_for: Option<Duration>,
}

/// The request that is being served: its place in the record.
struct Current {
    number: usize,
    framing: Framing,
    over: bool,
}

enum Framing {
    Done,
    Length(u64),
    Chunked,
}

impl Connection {
    fn serve(mut self) -> End {
        let steps = (self.shared.on_accept)(self.index);
        let mut nothing = Current {
            number: usize::MAX,
            framing: Framing::Done,
            over: true,
        };
        if let Err(end) = self.run(steps, &mut nothing) {
            return end;
        }
        for earlier in 0.. {
            self.wire.set_patience(self.keep_for);
            let head = match self.wire.head() {
                Ok(head) => head,
                Err(Stop::TimedOut) => return End::ByScript,
                Err(_) => return End::ByPeer,
            };
            self.wire.set_patience(None);
            let mut current = self.begin(&head);
            let call = Call {
                head: &head,
                earlier,
            };
            let steps = (self.shared.on_call)(&call);
            let end = self
                .run(steps, &mut current)
                .and_then(|()| self.read_body(&mut current, &mut |_, _| Ok(())));
            self.settle(&mut current);
            if let Err(end) = end {
                return end;
            }
        }
        End::ByScript
    }

    fn begin(&self, head: &Head) -> Current {
        let framing = match (head.chunked(), head.content_length()) {
            (true, _) => Framing::Chunked,
            (false, Ok(Some(length))) if length > 0 => Framing::Length(length),
            _ => Framing::Done,
        };
        let number = self.shared.note(|record| {
            record.requests.push(Seen {
                head: head.clone(),
                connection: self.index,
                complete: matches!(framing, Framing::Done),
                length: 0,
                body: Vec::new(),
                trailers: Vec::new(),
            });
            record.in_progress += 1;
            record.max_in_progress = record.max_in_progress.max(record.in_progress);
            record.requests.len() - 1
        });
        Current {
            number,
            framing,
            over: false,
        }
    }

    fn run(&mut self, steps: Vec<Step>, current: &mut Current) -> Result<(), End> {
        let last = steps.len().saturating_sub(1);
        for (index, step) in steps.into_iter().enumerate() {
            if index == last && matches!(step, Step::Send(_)) {
                // Whoever has the answer may ask again before this thread runs on.
                self.settle(current);
            }
            match step {
                Step::ReadBody => self.read_body(current, &mut |_, _| Ok(()))?,
                Step::Send(bytes) => self.write(&bytes)?,
                Step::Drip(bytes, pause) => {
                    for (index, byte) in bytes.iter().enumerate() {
                        if index > 0 {
                            thread::sleep(pause);
                        }
                        self.write(&[*byte])?;
                    }
                }
                Step::Endless(bytes) => loop {
                    self.write(&bytes)?;
                },
                Step::Echo => self.read_body(current, &mut |wire, bytes| {
                    let size = format!("{:x}\r\n", bytes.len()).into_bytes();
                    wire.write(&[&size, bytes, b"\r\n"].concat())
                })?,
                Step::Await(gate) => gate.pass(),
                Step::Delay(delay) => thread::sleep(delay),
                Step::Hang => {
                    drop(self.wire.rest(&mut |_| {}));
                    return Err(End::ByPeer);
                }
                Step::KeepFor(limit) => self.keep_for = Some(limit),
                Step::Close => return Err(End::ByScript),
                Step::Reset => {
                    let socket = socket2::SockRef::from(self.wire.stream());
                    socket
                        .set_linger(Some(Duration::ZERO))
                        .expect("the option is supported");
                    return Err(End::ByScript);
                }
            }
        }
        Ok(())
    }

    /// The request is no longer in progress.
    fn settle(&self, current: &mut Current) {
        if !std::mem::replace(&mut current.over, true) {
            self.shared.note(|record| record.in_progress -= 1);
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), End> {
        self.wire.write(bytes).map_err(|_| End::ByPeer)
    }

    fn read_body(&mut self, current: &mut Current, each: OnBytes<'_>) -> Result<(), End> {
        let number = current.number;
        let shared = Arc::clone(&self.shared);
        let answers = Wire::new(self.wire.share());
        let mut answered = Ok(());
        let mut sink = |bytes: &[u8]| {
            if bytes.is_empty() {
                return;
            }
            shared.note(|record| {
                let seen = &mut record.requests[number];
                seen.length += bytes.len() as u64;
                let room = KEPT.saturating_sub(seen.body.len()).min(bytes.len());
                seen.body.extend_from_slice(&bytes[..room]);
            });
            answered = answered.clone().and_then(|()| each(&answers, bytes));
        };
        let trailers = match std::mem::replace(&mut current.framing, Framing::Done) {
            Framing::Done => return Ok(()),
            Framing::Length(length) => self.wire.exactly(length, &mut sink).map(|()| Vec::new()),
            Framing::Chunked => self.wire.chunks(&mut sink),
        };
        let trailers = trailers.map_err(|_| End::ByPeer)?;
        answered.map_err(|_| End::ByPeer)?;
        self.shared.note(|record| {
            record.requests[number].complete = true;
            record.requests[number].trailers = trailers;
        });
        Ok(())
    }
}

//! A scripted upstream: every dialled connection is a pipe, every request is answered by a list of
//! steps, and everything that arrives is remembered.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use outrigger::lifecycle::tasks;
use outrigger::net::Address;
use outrigger::pool::{Dial, Dialed, Socket, Spoken, Way};
use outrigger::time;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::wire::{Head, Wire};

/// What a pipe holds in each direction: less than the bodies of the tests, so that they stall.
const PIPE: usize = 16 * 1024;

/// One thing that the upstream does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads the request body to its end.
    Body,
    /// Waits, and reads nothing meanwhile.
    Sleep(Duration),
    /// Lets everybody else run so many times.
    Yield(usize),
    /// Writes bytes.
    Send(Vec<u8>),
    /// The exchange is over for the upstream: what follows happens while the connection is idle.
    Done,
    /// Closes the connection.
    Close,
    /// Never does anything again, until the proxy closes the connection.
    Hang,
}

/// How a dial ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// Connected, after this.
    After(Duration),
    /// Refused, after this.
    Refused(Duration),
    /// Neither.
    Never,
}

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) at: Instant,
    pub(crate) head: Head,
    /// Which request of its connection, counted from 0.
    pub(crate) nth: usize,
    /// Whether its body came whole, as far as the script read it.
    pub(crate) whole: bool,
}

impl Arrived {
    pub(crate) fn method(&self) -> &str {
        self.head.word(0)
    }

    pub(crate) fn path(&self) -> &str {
        self.head.word(1)
    }
}

type Answer = Box<dyn FnMut(&Arrived) -> Vec<Step> + Send>;

/// The upstream; clones are the same one.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<Mutex<State>>);

struct State {
    answer: Answer,
    reach: Box<dyn FnMut() -> Reach + Send>,
    dialled: usize,
    arrived: Vec<Arrived>,
    /// Connections whose proxy's end lives, dialled ones included.
    open: BTreeSet<usize>,
    most_open: usize,
    /// Of them those with an exchange.
    exchanging: BTreeSet<usize>,
    most_exchanging: usize,
}

impl Upstream {
    /// An upstream that is reached at once and answers by `answer`.
    pub(crate) fn new(answer: impl FnMut(&Arrived) -> Vec<Step> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(State {
            answer: Box::new(answer),
            reach: Box::new(|| Reach::After(Duration::ZERO)),
            dialled: 0,
            arrived: Vec::new(),
            open: BTreeSet::new(),
            most_open: 0,
            exchanging: BTreeSet::new(),
            most_exchanging: 0,
        })))
    }

    /// The same, reached by `reach`.
    pub(crate) fn reached(self, reach: impl FnMut() -> Reach + Send + 'static) -> Self {
        self.lock().reach = Box::new(reach);
        self
    }

    /// What has arrived so far.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.lock().arrived.clone()
    }

    /// Pipes whose proxy's end lives.
    pub(crate) fn open(&self) -> usize {
        self.lock().open.len()
    }

    /// The most pipes that were ever open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.lock().most_open
    }

    /// Exchanges in progress on pipes that the proxy has not closed.
    pub(crate) fn exchanging(&self) -> usize {
        self.lock().exchanging.len()
    }

    /// The most of them that there ever were.
    pub(crate) fn most_exchanging(&self) -> usize {
        self.lock().most_exchanging
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> usize {
        let mut state = self.lock();
        let connection = state.dialled;
        state.dialled += 1;
        state.open.insert(connection);
        state.most_open = state.most_open.max(state.open.len());
        connection
    }

    fn closed(&self, connection: usize) {
        let mut state = self.lock();
        state.open.remove(&connection);
        state.exchanging.remove(&connection);
    }

    fn begun(&self, connection: usize, nth: usize, head: Head) -> (usize, Vec<Step>) {
        let mut state = self.lock();
        let state = &mut *state;
        let arrived = Arrived {
            at: time::now(),
            head,
            nth,
            whole: false,
        };
        let steps = (state.answer)(&arrived);
        state.arrived.push(arrived);
        if state.open.contains(&connection) {
            state.exchanging.insert(connection);
        }
        state.most_exchanging = state.most_exchanging.max(state.exchanging.len());
        (state.arrived.len() - 1, steps)
    }

    async fn serve(self, connection: usize, stream: DuplexStream) {
        let mut wire = Wire::new(stream);
        for nth in 0.. {
            let Ok(head) = wire.head().await else { return };
            let (index, steps) = self.begun(connection, nth, head.clone());
            for step in steps {
                let went_on = match step {
                    Step::Body => {
                        let read = wire.body(&head, false, &mut Vec::new()).await;
                        self.lock().arrived[index].whole = read.is_ok();
                        read.is_ok()
                    }
                    Step::Sleep(duration) => {
                        time::sleep(duration).await;
                        true
                    }
                    Step::Yield(times) => {
                        for _ in 0..times {
                            tokio::task::yield_now().await;
                        }
                        true
                    }
                    Step::Send(bytes) => wire.write(&bytes).await.is_ok(),
                    Step::Done => self.lock().exchanging.remove(&connection),
                    Step::Close => false,
                    Step::Hang => std::future::pending().await,
                };
                if !went_on {
                    return;
                }
            }
            self.lock().exchanging.remove(&connection);
        }
    }
}

impl Dial for Upstream {
    fn dial(&self, _: &Address, _: &Arc<Way>) -> Dialed {
        let upstream = self.clone();
        let reach = (self.lock().reach)();
        Box::pin(async move {
            let open = Open {
                connection: upstream.opened(),
                upstream: upstream.clone(),
            };
            match reach {
                Reach::After(Duration::ZERO) => {}
                Reach::After(duration) => time::sleep(duration).await,
                Reach::Refused(duration) => {
                    time::sleep(duration).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Reach::Never => std::future::pending().await,
            }
            let (near, far) = tokio::io::duplex(PIPE);
            tasks::spawn_local("upstream", upstream.serve(open.connection, far));
            Ok(Socket {
                stream: Box::new(Pipe { near, _open: open }),
                peek: None,
                protocol: Spoken::Http1,
            })
        })
    }
}

/// Counts a pipe as open while the proxy holds its end, or dials it.
struct Open {
    connection: usize,
    upstream: Upstream,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.upstream.closed(self.connection);
    }
}

/// The proxy's end.
struct Pipe {
    near: DuplexStream,
    _open: Open,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.near).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_shutdown(cx)
    }
}

/// Milliseconds.
pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Bytes to send.
pub(crate) fn send(text: impl Into<Vec<u8>>) -> Step {
    Step::Send(text.into())
}

/// A whole small answer, once the request has been read.
pub(crate) fn ok() -> Vec<Step> {
    vec![
        Step::Body,
        send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ]
}

/// The same, later.
pub(crate) fn ok_after(duration: Duration) -> Vec<Step> {
    let mut steps = ok();
    steps.insert(1, Step::Sleep(duration));
    steps
}

/// A chunked answer whose chunks of two bytes come `every` so often, the first one with the head.
pub(crate) fn dripping(chunks: usize, every: Duration) -> Vec<Step> {
    let mut steps = vec![
        Step::Body,
        send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"),
    ];
    for _ in 1..chunks {
        steps.extend([Step::Sleep(every), send("2\r\nhi\r\n")]);
    }
    steps.push(send("0\r\n\r\n"));
    steps
}

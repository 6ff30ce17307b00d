//! The connections and what happens on them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use outrigger_load::{Poller, Ready, closes, field, head_end, number};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use crate::hist::Histogram;
use crate::options::Options;

/// Source addresses that connections are spread over, so that none runs out of ports.
const SOURCES: u8 = 32;

/// How a chunked body ends.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[derive(Clone, Copy, PartialEq)]
enum State {
    Idle,
    Connecting,
    Busy,
    /// Answered; the server is about to close.
    Draining,
}

struct Conn {
    stream: Option<TcpStream>,
    state: State,
    /// When its request was due, nanoseconds.
    due: u64,
    written: usize,
    /// The head as it comes; of a chunked body, its last bytes.
    seen: Vec<u8>,
    in_body: bool,
    /// Bytes of the body still to come, unless it is chunked.
    left: usize,
    chunked: bool,
    last: bool,
    good: bool,
    wants_room: bool,
    answers: u64,
}

/// The generator.
pub(crate) struct Load {
    poller: Poller,
    began: Instant,
    pub(crate) options: Options,
    request: Vec<u8>,
    conns: Vec<Conn>,
    /// Open loop: connections without a request.
    free: Vec<usize>,
    /// Open loop: when requests that found no connection were due.
    queue: VecDeque<u64>,
    source: u8,
    /// Whether answers count.
    pub(crate) measuring: bool,
    pub(crate) latencies: Histogram,
    pub(crate) errors: u64,
    pub(crate) bad_status: u64,
    pub(crate) bytes: u64,
    events: Vec<Ready>,
    chunk: Vec<u8>,
}

impl Load {
    pub(crate) fn new(options: Options) -> io::Result<Self> {
        let conn = || Conn {
            stream: None,
            state: State::Idle,
            due: 0,
            written: 0,
            seen: Vec::new(),
            in_body: false,
            left: 0,
            chunked: false,
            last: false,
            good: false,
            wants_room: false,
            answers: 0,
        };
        Ok(Self {
            poller: Poller::new()?,
            began: Instant::now(),
            request: options.request(),
            conns: (0..options.conns).map(|_| conn()).collect(),
            free: Vec::new(),
            queue: VecDeque::new(),
            source: 0,
            measuring: false,
            latencies: Histogram::new(),
            errors: 0,
            bad_status: 0,
            bytes: 0,
            events: Vec::new(),
            chunk: vec![0; 256 * 1024],
            options,
        })
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Closed loop: begins on every connection. Open loop: all are free.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        if self.options.rate.is_some() {
            self.free = (0..self.conns.len()).collect();
            return Ok(());
        }
        (0..self.conns.len()).try_for_each(|conn| self.begin(conn, self.now()))
    }

    /// Open loop: a request is due.
    pub(crate) fn arrive(&mut self, due: u64) -> io::Result<()> {
        match self.free.pop() {
            Some(conn) => self.begin(conn, due),
            None => {
                self.queue.push_back(due);
                Ok(())
            }
        }
    }

    /// When those requests were due that are not answered.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = u64> {
        let busy = |conn: &&Conn| matches!(conn.state, State::Busy | State::Connecting);
        let sent = self.conns.iter().filter(busy).map(|conn| conn.due);
        self.queue.iter().copied().chain(sent)
    }

    /// Opens every connection, a few at a time so that no backlog overflows, and has each carry
    /// one request. Returns how many have.
    pub(crate) fn open_all(&mut self, give_up: u64) -> io::Result<usize> {
        const AT_ONCE: usize = 64;
        let mut begun = 0;
        loop {
            let answered = self.conns.iter().filter(|conn| conn.answers > 0).count();
            if answered == self.conns.len() || self.now() > give_up {
                let open = |conn: &&Conn| conn.answers > 0 && conn.stream.is_some();
                return Ok(self.conns.iter().filter(open).count());
            }
            while begun < self.conns.len() && begun < answered + AT_ONCE {
                self.begin(begun, self.now())?;
                begun += 1;
            }
            self.poll(self.now() + 5_000_000)?;
        }
    }

    /// Waits for events until then at the latest, and deals with them.
    pub(crate) fn poll(&mut self, until: u64) -> io::Result<()> {
        let wait = Duration::from_nanos(until.saturating_sub(self.now()));
        let mut events = std::mem::take(&mut self.events);
        self.poller.wait(Some(wait), &mut events)?;
        for event in &events {
            if event.writable {
                if self.conns[event.token].state == State::Connecting {
                    self.conns[event.token].state = State::Busy;
                }
                self.write(event.token)?;
            }
            if event.readable {
                self.read(event.token)?;
            }
        }
        self.events = events;
        Ok(())
    }

    fn begin(&mut self, token: usize, due: u64) -> io::Result<()> {
        let conn = &mut self.conns[token];
        conn.due = due;
        conn.written = 0;
        conn.seen.clear();
        conn.in_body = false;
        conn.last = false;
        if conn.stream.is_none() {
            return self.connect(token);
        }
        conn.state = State::Busy;
        self.write(token)
    }

    fn connect(&mut self, token: usize) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        self.source = (self.source + 1) % SOURCES;
        let source = Ipv4Addr::new(127, 0, 0, 2 + self.source);
        net::bind(&socket, &SocketAddrV4::new(source, 0))?;
        let target = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.options.port);
        match net::connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        self.poller.add(&stream, token, true)?;
        let conn = &mut self.conns[token];
        conn.stream = Some(stream);
        conn.state = State::Connecting;
        conn.wants_room = true;
        Ok(())
    }

    fn write(&mut self, token: usize) -> io::Result<()> {
        let conn = &mut self.conns[token];
        let Some(stream) = &mut conn.stream else {
            return Ok(());
        };
        while conn.written < self.request.len() {
            match stream.write(&self.request[conn.written..]) {
                Ok(written) => conn.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !conn.wants_room {
                        conn.wants_room = true;
                        self.poller.modify(&*stream, token, true)?;
                    }
                    return Ok(());
                }
                Err(_) => return self.fail(token),
            }
        }
        if conn.wants_room {
            conn.wants_room = false;
            self.poller.modify(&*stream, token, false)?;
        }
        Ok(())
    }

    fn read(&mut self, token: usize) -> io::Result<()> {
        let conn = &mut self.conns[token];
        let Some(stream) = &mut conn.stream else {
            return Ok(());
        };
        let read = match stream.read(&mut self.chunk) {
            Ok(0) => None,
            Ok(read) => Some(read),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => None,
        };
        let Some(read) = read else {
            return match conn.state {
                State::Idle => {
                    conn.stream = None;
                    Ok(())
                }
                State::Draining => self.drained(token),
                State::Connecting | State::Busy => self.fail(token),
            };
        };
        if conn.state == State::Draining {
            return Ok(());
        }
        if self.measuring {
            self.bytes += read as u64;
        }
        if conn.take(&self.chunk[..read]) {
            return self.answered(token);
        }
        Ok(())
    }

    fn answered(&mut self, token: usize) -> io::Result<()> {
        let now = self.now();
        let conn = &mut self.conns[token];
        conn.answers += 1;
        if self.measuring {
            self.latencies.add(now.saturating_sub(conn.due));
            self.bad_status += u64::from(!conn.good);
        }
        if self.options.close {
            conn.state = State::Draining;
            return Ok(());
        }
        if conn.last {
            conn.stream = None;
        }
        self.next(token)
    }

    fn fail(&mut self, token: usize) -> io::Result<()> {
        self.errors += u64::from(self.measuring);
        self.conns[token].stream = None;
        self.next(token)
    }

    /// The server has closed: answer with a reset, so that neither sockets in TIME_WAIT nor
    /// entries of connection tracking pile up, whose tables would be measured once they are full.
    fn drained(&mut self, token: usize) -> io::Result<()> {
        if let Some(stream) = self.conns[token].stream.take() {
            net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
        self.next(token)
    }

    fn next(&mut self, token: usize) -> io::Result<()> {
        self.conns[token].state = State::Idle;
        if self.options.hold {
            return Ok(());
        }
        if self.options.rate.is_none() {
            return self.begin(token, self.now());
        }
        match self.queue.pop_front() {
            Some(due) => self.begin(token, due),
            None => {
                self.free.push(token);
                Ok(())
            }
        }
    }
}

impl Conn {
    /// Takes a piece of the response; tells whether it is whole.
    fn take(&mut self, piece: &[u8]) -> bool {
        if self.in_body {
            return self.take_body(piece);
        }
        self.seen.extend_from_slice(piece);
        let Some(end) = head_end(&self.seen) else {
            return false;
        };
        let body = self.seen.split_off(end);
        let head = std::mem::take(&mut self.seen);
        self.good = head.get(9) == Some(&b'2');
        self.chunked = field(&head, "transfer-encoding").is_some();
        self.last = closes(&head);
        self.left = number(&head, "content-length");
        self.in_body = true;
        self.take_body(&body)
    }

    fn take_body(&mut self, piece: &[u8]) -> bool {
        if !self.chunked {
            self.left = self.left.saturating_sub(piece.len());
            return self.left == 0;
        }
        let old = self.seen.len().saturating_sub(LAST_CHUNK.len());
        self.seen.drain(..old);
        self.seen.extend_from_slice(piece);
        self.seen.ends_with(LAST_CHUNK)
    }
}

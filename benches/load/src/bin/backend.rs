//! A cheap responder behind the proxies: one thread, epoll, HTTP/1.1.
//!
//! `/b/N` answers N bytes, `/d/MS/N` does so after a delay, `/d/LO-HI/N` after a random one of so
//! many milliseconds, `/echo` sends the request body back, `/s/CODE` answers that status with an
//! empty body; all else is 404. It reads bodies of a given length and chunked ones. The argument is
//! the port on loopback; 0 takes a free one. The port is printed.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use outrigger_load::{Poller, closes, field, head_end, number};

/// Number of the listening socket; connections have those below.
const LISTENER: usize = usize::MAX;

/// Longest body that `/b` and `/d` answer.
const MAX_BODY: usize = 4 << 20;

struct Conn {
    stream: TcpStream,
    /// Tells it from an earlier one in the same slot.
    serial: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    wants_room: bool,
    /// An answer is due later: what comes meanwhile waits.
    delayed: bool,
    closing: bool,
}

/// An answer that is due later.
struct Delayed {
    due: Instant,
    slot: usize,
    serial: u64,
    size: usize,
    close: bool,
}

struct Backend {
    poller: Poller,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    serial: u64,
    /// By length of the delay, so that each queue is in order.
    delays: BTreeMap<u64, VecDeque<Delayed>>,
    body: Vec<u8>,
    /// State of the random delays.
    seed: u64,
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let listener = TcpListener::bind(("127.0.0.1", port.unwrap_or(0)))?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let mut backend = Backend {
        poller: Poller::new()?,
        conns: Vec::new(),
        free: Vec::new(),
        serial: 0,
        delays: BTreeMap::new(),
        body: vec![b'x'; MAX_BODY],
        seed: 0x9e37_79b9_7f4a_7c15,
    };
    backend.poller.add(&listener, LISTENER, false)?;
    let mut ready = Vec::new();
    let mut chunk = vec![0; 128 * 1024];
    loop {
        let due = backend.delays.values().filter_map(VecDeque::front);
        let due = due.map(|delayed| delayed.due).min();
        let longest = due.map(|due| due.saturating_duration_since(Instant::now()));
        backend.poller.wait(longest, &mut ready)?;
        if due.is_some() {
            backend.answer_due();
        }
        for event in &ready {
            if event.token == LISTENER {
                backend.accept(&listener)?;
                continue;
            }
            let Some(Some(conn)) = backend.conns.get_mut(event.token) else {
                continue;
            };
            let mut alive = true;
            if event.writable {
                alive = flush(&backend.poller, event.token, conn);
            }
            if alive && event.readable {
                alive = backend.read(event.token, &mut chunk);
            }
            if !alive {
                backend.close(event.token);
            }
        }
    }
}

impl Backend {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            self.poller.add(&stream, slot, false)?;
            self.serial += 1;
            self.conns[slot] = Some(Conn {
                stream,
                serial: self.serial,
                input: Vec::with_capacity(2048),
                output: Vec::new(),
                written: 0,
                wants_room: false,
                delayed: false,
                closing: false,
            });
        }
        Ok(())
    }

    fn close(&mut self, slot: usize) {
        if self.conns[slot].take().is_some() {
            self.free.push(slot);
        }
    }

    /// Reads once and answers what is whole; `false` ends the connection.
    fn read(&mut self, slot: usize, chunk: &mut [u8]) -> bool {
        let Some(conn) = &mut self.conns[slot] else {
            return false;
        };
        match conn.stream.read(chunk) {
            Ok(0) => return false,
            Ok(read) => conn.input.extend_from_slice(&chunk[..read]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        self.serve(slot)
    }

    fn serve(&mut self, slot: usize) -> bool {
        let Some(conn) = &mut self.conns[slot] else {
            return false;
        };
        let mut served = 0;
        while !conn.delayed {
            let message = &conn.input[served..];
            let Some(head) = head_end(message) else { break };
            let Some(body) = body_length(message, head) else {
                break;
            };
            if message.len() < head + body {
                break;
            }
            let close = closes(&message[..head]);
            conn.closing |= close;
            let (path, output) = (path(message), &mut conn.output);
            let mut parts = path.split('/').skip(1);
            let kind = parts.next().unwrap_or_default();
            let delay = match kind {
                "d" => delay(parts.next().unwrap_or_default(), &mut self.seed),
                _ => 0,
            };
            let mut argument = || parts.next().and_then(|text| text.parse::<usize>().ok());
            match kind {
                "b" => {
                    let size = argument().unwrap_or_default().min(MAX_BODY);
                    begin(output, "200 OK", size, close);
                    output.extend_from_slice(&self.body[..size]);
                }
                "echo" => {
                    begin(output, "200 OK", body, close);
                    output.extend_from_slice(&message[head..head + body]);
                }
                "d" => {
                    conn.delayed = true;
                    let delayed = Delayed {
                        due: Instant::now() + Duration::from_millis(delay),
                        slot,
                        serial: conn.serial,
                        size: argument().unwrap_or_default().min(MAX_BODY),
                        close,
                    };
                    self.delays.entry(delay).or_default().push_back(delayed);
                }
                "s" => {
                    let status = argument().unwrap_or(200);
                    begin(output, &format!("{status} Status"), 0, close);
                }
                _ => begin(output, "404 Not Found", 0, close),
            }
            served += head + body;
        }
        conn.input.drain(..served);
        conn.output.is_empty() || flush(&self.poller, slot, conn)
    }

    fn answer_due(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for queue in self.delays.values_mut() {
            while queue.front().is_some_and(|delayed| delayed.due <= now) {
                due.extend(queue.pop_front());
            }
        }
        for delayed in due {
            let Some(Some(conn)) = self.conns.get_mut(delayed.slot) else {
                continue;
            };
            if conn.serial != delayed.serial {
                continue;
            }
            conn.delayed = false;
            begin(&mut conn.output, "200 OK", delayed.size, delayed.close);
            conn.output.extend_from_slice(&self.body[..delayed.size]);
            // What came meanwhile may be answered now.
            if !self.serve(delayed.slot) {
                self.close(delayed.slot);
            }
        }
    }
}

/// Milliseconds that `MS` or `LO-HI` asks for.
fn delay(text: &str, seed: &mut u64) -> u64 {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let low = low.parse().unwrap_or(0);
    let high = high.parse().unwrap_or(low).max(low);
    // Marsaglia's xorshift64: the same delays in each run.
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    low + (*seed >> 11) % (high - low + 1)
}

/// Length of the body behind the head; `None` while a chunked one is not whole.
fn body_length(message: &[u8], head: usize) -> Option<usize> {
    if message.starts_with(b"GET ") {
        return Some(0);
    }
    if field(&message[..head], "transfer-encoding").is_none() {
        return Some(number(&message[..head], "content-length"));
    }
    // From the end of the head on, so that the last chunk is found where it is the only one.
    let last = memchr::memmem::find(&message[head - 2..], b"\r\n0\r\n\r\n")?;
    Some(last + 5)
}

fn path(message: &[u8]) -> &str {
    let mut words = message.split(|&byte| byte == b' ').skip(1);
    std::str::from_utf8(words.next().unwrap_or_default()).unwrap_or_default()
}

fn begin(output: &mut Vec<u8>, status: &str, length: usize, close: bool) {
    let connection = if close { "connection: close\r\n" } else { "" };
    // Writing to a vector cannot fail.
    let _ = write!(
        output,
        "HTTP/1.1 {status}\r\n\
         server: bench\r\n\
         date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\
         content-type: application/json\r\n\
         cache-control: no-store\r\n\
         x-request-id: 7b0ab1a2-5d7c-4a87-a0c8-b9a0c0a6a9b1\r\n\
         content-length: {length}\r\n{connection}\r\n"
    );
}

/// Writes what there is room for; `false` ends the connection.
fn flush(poller: &Poller, slot: usize, conn: &mut Conn) -> bool {
    while conn.written < conn.output.len() {
        match conn.stream.write(&conn.output[conn.written..]) {
            Ok(written) => conn.written += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !conn.wants_room {
                    conn.wants_room = true;
                    return poller.modify(&conn.stream, slot, true).is_ok();
                }
                return true;
            }
            Err(_) => return false,
        }
    }
    conn.output.clear();
    conn.written = 0;
    if conn.wants_room {
        conn.wants_room = false;
        if poller.modify(&conn.stream, slot, false).is_err() {
            return false;
        }
    }
    !conn.closing
}

//! HTTP/1.1 framing on a raw socket, as both the client and the upstream of the tests read it.
//!
//! Strict where it reads: what is not framed exactly is [`Stop::Garbled`], so that a proxy that
//! repairs or invents framing is noticed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// Why nothing more can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The peer ended its side in order.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// Nothing came within the socket's read timeout.
    TimedOut,
    /// What came is not HTTP/1.1.
    Garbled(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Reset,
        }
    }
}

/// A request or response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The start line.
    pub(crate) start: String,
    /// Names as sent, values trimmed.
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    fn parse(raw: &[u8]) -> Result<Self, Stop> {
        let text = String::from_utf8_lossy(raw);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        if !start.contains("HTTP/1.") {
            return Err(Stop::Garbled(start));
        }
        let fields = lines.filter(|line| !line.is_empty()).map(field);
        Ok(Self {
            fields: fields.collect::<Result<_, _>>()?,
            start,
        })
    }

    /// The value of the first field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// The values of all fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields
            .iter()
            .filter(same)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The word of the start line at `index`: of a request the method and the target, of a
    /// response the version and the status.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    /// Whether the body is chunked.
    pub(crate) fn chunked(&self) -> bool {
        self.all("transfer-encoding")
            .iter()
            .any(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    /// The declared length of the body.
    pub(crate) fn content_length(&self) -> Result<Option<u64>, Stop> {
        match self.all("content-length").as_slice() {
            [] => Ok(None),
            [one] => match one.parse() {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(Stop::Garbled(format!("content-length: {one}"))),
            },
            many => Err(Stop::Garbled(format!("content-length: {many:?}"))),
        }
    }
}

fn field(line: &str) -> Result<(String, String), Stop> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| Stop::Garbled(line.to_owned()))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

/// A socket with what was read from it but not used yet.
pub(crate) struct Wire {
    stream: Arc<TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The socket, to write to while this reads.
    pub(crate) fn share(&self) -> Arc<TcpStream> {
        Arc::clone(&self.stream)
    }

    /// Bounds each later read; `None` waits for ever.
    pub(crate) fn set_patience(&self, limit: Option<Duration>) {
        drop(self.stream.set_read_timeout(limit));
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Stop> {
        (&*self.stream).write_all(bytes).map_err(Stop::from)
    }

    /// Whether bytes are left over that nobody asked for.
    pub(crate) fn leftover(&self) -> &[u8] {
        &self.buffer
    }

    fn fill(&mut self) -> Result<(), Stop> {
        let mut chunk = [0; 64 * 1024];
        loop {
            match (&*self.stream).read(&mut chunk) {
                Ok(0) => return Err(Stop::Closed),
                Ok(count) => {
                    self.buffer.extend_from_slice(&chunk[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads until `bytes` are in the buffer, and leaves them there.
    pub(crate) fn buffer_until(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        while !self
            .buffer
            .windows(bytes.len())
            .any(|window| window == bytes)
        {
            self.fill()?;
        }
        Ok(())
    }

    /// Reads up to and with `end`, and returns what came before it.
    fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, Stop> {
        let mut seen = 0;
        loop {
            let found = self.buffer[seen..]
                .windows(end.len())
                .position(|window| window == end);
            if let Some(position) = found {
                let rest = self.buffer.split_off(seen + position + end.len());
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(seen + position);
                return Ok(line);
            }
            seen = self.buffer.len().saturating_sub(end.len());
            self.fill()?;
        }
    }

    /// Reads one head.
    pub(crate) fn head(&mut self) -> Result<Head, Stop> {
        Head::parse(&self.until(b"\r\n\r\n")?)
    }

    /// Reads `length` bytes into `sink`.
    pub(crate) fn exactly(&mut self, length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Stop> {
        let mut left = length;
        loop {
            let here = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.buffer.len());
            sink(&self.buffer[..here]);
            self.buffer.drain(..here);
            left -= here as u64;
            if left == 0 {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Reads a chunked body into `sink` and returns its trailers.
    pub(crate) fn chunks(
        &mut self,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Vec<(String, String)>, Stop> {
        loop {
            let line = self.until(b"\r\n")?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| Stop::Garbled(line.clone()))?;
            if size == 0 {
                break;
            }
            self.exactly(size, sink)?;
            if !self.until(b"\r\n")?.is_empty() {
                return Err(Stop::Garbled("a chunk is longer than it says".to_owned()));
            }
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.until(b"\r\n")?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.push(field(&String::from_utf8_lossy(&line))?);
        }
    }

    /// Reads so many bytes.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        let came = self.exactly(length as u64, &mut |bytes| taken.extend_from_slice(bytes));
        came.unwrap_or_else(|stop| panic!("{stop:?} after {:?}", taken.escape_ascii().to_string()));
        taken
    }

    /// Reads until the peer ends its side; how, and what came before.
    pub(crate) fn drain(&mut self) -> (Vec<u8>, Result<(), Stop>) {
        let mut taken = Vec::new();
        let end = self.rest(&mut |bytes| taken.extend_from_slice(bytes));
        (taken, end)
    }

    /// Ends the sending side, and still reads.
    pub(crate) fn finish(&self) {
        let end = self.stream.shutdown(std::net::Shutdown::Write);
        end.expect("an open connection");
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&*self.stream);
        let reset = socket.set_linger(Some(Duration::ZERO));
        reset.expect("the option is supported");
    }

    /// Reads into `sink` until the peer ends its side.
    pub(crate) fn rest(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), Stop> {
        loop {
            sink(&self.buffer);
            self.buffer.clear();
            match self.fill() {
                Ok(()) => {}
                Err(Stop::Closed) => return Ok(()),
                Err(stop) => return Err(stop),
            }
        }
    }
}

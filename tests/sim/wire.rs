//! HTTP/1.1 framing on an asynchronous pipe, as both ends of a simulation read it.
//!
//! Strict where it reads, and nothing of hyper: a mistake in the proxy's codec cannot hide behind
//! the same mistake here.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why nothing more can be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The peer is gone.
    Closed,
    /// What came is not HTTP/1.1.
    Garbled(String),
}

/// A request or response head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) start: String,
    /// Names in lower case, values trimmed.
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    fn parse(raw: &[u8]) -> Result<Self, Stop> {
        let text = String::from_utf8_lossy(raw).into_owned();
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        if !start.contains("HTTP/1.") {
            return Err(Stop::Garbled(start));
        }
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let fields: Option<Vec<_>> = lines.map(field).collect();
        match fields {
            Some(fields) => Ok(Self { start, fields }),
            None => Err(Stop::Garbled(text)),
        }
    }

    /// The value of the field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The word of the start line at `index`.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    fn chunked(&self) -> bool {
        self.field("transfer-encoding") == Some("chunked")
    }

    fn content_length(&self) -> Option<usize> {
        self.field("content-length")?.parse().ok()
    }
}

/// One end of a pipe with what was read from it but not used yet.
pub(crate) struct Wire<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let written = self.stream.write_all(bytes).await;
        written.map_err(|_| Stop::Closed)
    }

    async fn fill(&mut self) -> Result<(), Stop> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(Stop::Closed),
        }
    }

    /// Reads up to and with `end`, and returns what came before it.
    async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, Stop> {
        loop {
            let found = self.buffer.windows(end.len()).position(|at| at == end);
            if let Some(position) = found {
                let rest = self.buffer.split_off(position + end.len());
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(position);
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// Reads one head.
    pub(crate) async fn head(&mut self) -> Result<Head, Stop> {
        Head::parse(&self.until(b"\r\n\r\n").await?)
    }

    /// Reads the body that `head` announces into `body`; with neither a length nor chunks it lasts
    /// to the end of the stream if `to_end`, and is empty otherwise.
    pub(crate) async fn body(
        &mut self,
        head: &Head,
        to_end: bool,
        body: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        if head.chunked() {
            return self.chunks(body).await;
        }
        match head.content_length() {
            Some(length) => self.exactly(length, body).await,
            None if to_end => loop {
                body.append(&mut self.buffer);
                if self.fill().await.is_err() {
                    return Ok(());
                }
            },
            None => Ok(()),
        }
    }

    async fn exactly(&mut self, mut left: usize, body: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            let here = left.min(self.buffer.len());
            body.extend(self.buffer.drain(..here));
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            let line = self.until(b"\r\n").await?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let size = usize::from_str_radix(&line, 16);
            let size = size.map_err(|_| Stop::Garbled(line))?;
            self.exactly(size, body).await?;
            let end = self.until(b"\r\n").await?;
            if !end.is_empty() {
                return Err(Stop::Garbled("a chunk without its end".to_owned()));
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Waits until the peer is gone; what it still sends is dropped.
    pub(crate) async fn gone(&mut self) {
        while self.fill().await.is_ok() {
            self.buffer.clear();
        }
    }
}

//! HTTP/2 frame by frame on a raw socket, as a client and as an upstream of the tests.
//!
//! It sends whatever it is told, lawful or not, and takes only what RFC 9113 lets a peer send. It
//! knows nothing of the proxy's library: a mistake there cannot hide behind the same mistake here.

use std::cell::RefCell;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) mod hpack;

pub(crate) use hpack::Field;

/// What a client says first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
/// A HEADERS frame begins with a priority.
pub(crate) const PRIORITIZED: u8 = 0x20;

/// The largest payload that is always allowed (§4.2).
pub(crate) const MAX_PAYLOAD: usize = 16_384;

/// One frame, its payload as it is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.to_vec(),
        }
    }

    /// HEADERS with all of these fields.
    pub(crate) fn headers(stream: u32, fields: &[(&[u8], &[u8])], ends: bool) -> Self {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        let block = hpack::encode(fields.iter().copied());
        Self::new(HEADERS, flags, stream, &block)
    }

    pub(crate) fn data(stream: u32, data: &[u8], ends: bool) -> Self {
        Self::new(DATA, if ends { END_STREAM } else { 0 }, stream, data)
    }

    pub(crate) fn reset(stream: u32, code: u32) -> Self {
        Self::new(RST_STREAM, 0, stream, &code.to_be_bytes())
    }

    /// Whether this flag is set.
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("24 bits");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The 32 bits at this place of the payload.
    pub(crate) fn number(&self, at: usize) -> u32 {
        let bytes = self
            .payload
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        u32::from_be_bytes(bytes.unwrap_or_default())
    }

    /// The payload without padding and priority (§6.1, §6.2).
    fn content(&self) -> Result<&[u8], Gone> {
        let mut content = &self.payload[..];
        let mut padding = 0;
        if self.has(PADDED) {
            let (length, rest) = content
                .split_first()
                .ok_or_else(|| bad("no padding length"))?;
            (padding, content) = (usize::from(*length), rest);
        }
        if self.kind == HEADERS && self.has(PRIORITIZED) {
            content = content.get(5..).ok_or_else(|| bad("no priority"))?;
        }
        let end = content.len().checked_sub(padding);
        Ok(&content[..end.ok_or_else(|| bad("more padding than frame"))?])
    }
}

/// Why no frame comes any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The peer ended the connection in order.
    Closed,
    /// It broke it off: what it said before may have been lost on the way.
    Broken,
    /// Nothing came within the patience.
    Silent,
    /// What came is not what the RFC lets a peer send.
    Bad(String),
}

fn bad(what: impl Into<String>) -> Gone {
    Gone::Bad(what.into())
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With `END_STREAM`.
    Whole,
    /// By RST_STREAM with this code.
    Reset(u32),
    /// By GOAWAY with this code: with a last stream before this one, or with the end behind it.
    GoAway(u32),
    /// With the connection.
    Lost(Gone),
}

/// Everything that came on one stream.
#[derive(Clone)]
pub(crate) struct Message {
    /// Fields of the interim responses before it.
    pub(crate) interim: Vec<Vec<Field>>,
    pub(crate) fields: Vec<Field>,
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: Vec<Field>,
    /// It ended with its fields.
    pub(crate) is_bare: bool,
    pub(crate) end: End,
}

impl Message {
    /// One of which nothing came but its end.
    pub(crate) const fn ended(end: End) -> Self {
        Self {
            interim: Vec::new(),
            fields: Vec::new(),
            data: Vec::new(),
            trailers: Vec::new(),
            is_bare: false,
            end,
        }
    }

    /// The values of all fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let fields = self
            .fields
            .iter()
            .filter(|field| field.0 == name.as_bytes());
        fields.map(|field| text(&field.1)).collect()
    }

    /// The status of a response; 0 where none came.
    pub(crate) fn status(&self) -> u16 {
        let status = self.all(":status");
        status
            .first()
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = |fields: &[Field]| -> Vec<String> {
            let line = |(name, value): &Field| format!("{}: {}", text(name), text(value));
            fields.iter().map(line).collect()
        };
        for fields in self.interim.iter().chain([&self.fields]) {
            write!(f, "{:?} ", block(fields))?;
        }
        let data = self.data.escape_ascii();
        write!(f, "\"{data}\" {:?} {:?}", block(&self.trailers), self.end)
    }
}

/// What a frame brings to the message of its stream.
struct Piece {
    stream: u32,
    part: Part,
    ends: bool,
}

enum Part {
    Fields(Vec<Field>),
    Data(Vec<u8>),
    Reset(u32),
}

/// Bytes as characters of the same number.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// What carries the frames: a socket, or TLS on one.
pub(crate) trait Transport: Read + Write + Send {}

impl<T: Read + Write + Send> Transport for T {}

/// A new connection without any delay; reading fails where nothing comes for so long.
pub(crate) fn socket(address: SocketAddr, patience: Duration) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the peer accepts");
    prepare(&stream, patience);
    stream
}

fn prepare(stream: &TcpStream, patience: Duration) {
    drop(stream.set_nodelay(true));
    let patience = stream.set_read_timeout(Some(patience));
    patience.expect("the option is supported");
}

/// One connection, from either side.
pub(crate) struct Link {
    stream: RefCell<Box<dyn Transport>>,
    buffer: Vec<u8>,
    /// Reads the peer's field blocks.
    pub(crate) decoder: hpack::Decoder,
    /// The code and the last stream of a GOAWAY that came.
    gone: Option<(u32, u32)>,
    /// What came on streams that nobody waited for yet.
    kept: Vec<Piece>,
}

impl Link {
    /// A client's, with its preface and settings of no demands sent.
    pub(crate) fn connect(address: SocketAddr, patience: Duration) -> Self {
        let link = Self::over(socket(address, patience));
        link.write(PREFACE);
        link.send(&Frame::new(SETTINGS, 0, 0, &[]));
        link
    }

    /// A server's, once the client's preface was read, with settings of no demands sent. Of the
    /// preface this much has come.
    pub(crate) fn accept(
        stream: TcpStream,
        begun: &[u8],
        patience: Duration,
    ) -> Result<Self, Gone> {
        prepare(&stream, patience);
        let mut link = Self::over(stream);
        link.buffer.extend_from_slice(begun);
        let preface = link.take(PREFACE.len())?;
        if preface != PREFACE {
            return Err(bad(format!("preface {:?}", text(&preface))));
        }
        link.send(&Frame::new(SETTINGS, 0, 0, &[]));
        Ok(link)
    }

    /// One on which nothing was said yet.
    pub(crate) fn over(stream: impl Transport + 'static) -> Self {
        Self {
            stream: RefCell::new(Box::new(stream)),
            buffer: Vec::new(),
            decoder: hpack::Decoder::new(),
            gone: None,
            kept: Vec::new(),
        }
    }

    /// Writes raw bytes; that the peer reads no more is no error here.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut stream = self.stream.borrow_mut();
        drop(stream.write_all(bytes).and_then(|()| stream.flush()));
    }

    pub(crate) fn send(&self, frame: &Frame) {
        self.write(&frame.encode());
    }

    /// Sends a request or a response whole: its fields, its body if there is one, its trailers.
    pub(crate) fn send_whole(&self, stream: u32, fields: &[(&[u8], &[u8])], body: &[u8]) {
        self.send(&Frame::headers(stream, fields, body.is_empty()));
        let count = body.len().div_ceil(MAX_PAYLOAD);
        for (at, piece) in body.chunks(MAX_PAYLOAD).enumerate() {
            self.send(&Frame::data(stream, piece, at + 1 == count));
        }
    }

    /// The next frame, as it comes.
    pub(crate) fn read(&mut self) -> Result<Frame, Gone> {
        let head = self.take(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let length = usize::try_from(length).expect("24 bits");
        if length > MAX_PAYLOAD {
            return Err(bad(format!("a frame of {length} bytes")));
        }
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.take(length)?;
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }

    /// The next frame that is about a message. What concerns the connection is answered on the way:
    /// settings and pings are acknowledged, and what is read is given back to the windows.
    pub(crate) fn next(&mut self) -> Result<Frame, Gone> {
        loop {
            let frame = self.read()?;
            match frame.kind {
                SETTINGS if !frame.has(ACK) => self.send(&Frame::new(SETTINGS, ACK, 0, &[])),
                PING if !frame.has(ACK) => self.send(&Frame::new(PING, ACK, 0, &frame.payload)),
                SETTINGS | PING | WINDOW_UPDATE => {}
                GOAWAY => {
                    self.gone = Some((frame.number(4), frame.number(0) & 0x7fff_ffff));
                    return Ok(frame);
                }
                DATA if !frame.payload.is_empty() => {
                    let length = u32::try_from(frame.payload.len()).expect("24 bits");
                    self.send(&Frame::new(WINDOW_UPDATE, 0, 0, &length.to_be_bytes()));
                    if !frame.has(END_STREAM) {
                        let stream = frame.stream;
                        self.send(&Frame::new(WINDOW_UPDATE, 0, stream, &length.to_be_bytes()));
                    }
                    return Ok(frame);
                }
                _ => return Ok(frame),
            }
        }
    }

    /// Everything that comes on this stream, up to its end. What comes on others is kept for them.
    pub(crate) fn message(&mut self, stream: u32) -> Message {
        let mut message = Message::ended(End::Whole);
        message.end = loop {
            match self.step(stream, &mut message) {
                Ok(None) => {}
                Ok(Some(end)) => break end,
                Err(gone) => match self.gone {
                    Some((code, _)) => break End::GoAway(code),
                    None => break End::Lost(gone),
                },
            }
        };
        message
    }

    /// The stream of the next request; what comes of it is kept for [`Self::message`].
    pub(crate) fn request(&mut self) -> Result<u32, Gone> {
        loop {
            if let Some(piece) = self.piece()? {
                let opens = matches!(piece.part, Part::Fields(_));
                let stream = piece.stream;
                self.kept.push(piece);
                if opens {
                    return Ok(stream);
                }
            }
        }
    }

    /// Takes the next part of this stream's message, if that is what comes.
    fn step(&mut self, stream: u32, message: &mut Message) -> Result<Option<End>, Gone> {
        let kept = self.kept.iter().position(|piece| piece.stream == stream);
        let piece = match kept {
            Some(at) => Some(self.kept.remove(at)),
            None => self.piece()?,
        };
        let Some(piece) = piece else {
            let (code, last) = self.gone.unwrap_or_default();
            return Ok((last < stream).then_some(End::GoAway(code)));
        };
        if piece.stream != stream {
            self.kept.push(piece);
            return Ok(None);
        }
        let is_first = message.fields.is_empty();
        match piece.part {
            Part::Reset(code) => return Ok(Some(End::Reset(code))),
            Part::Data(_) if is_first => return Err(bad("DATA before HEADERS")),
            Part::Data(data) => message.data.extend_from_slice(&data),
            Part::Fields(fields) if is_first => {
                let of_status = |field: &&Field| field.0 == b":status";
                let status = fields.iter().find(of_status).map(|field| &field.1[..]);
                if matches!(status, Some([b'1', ..])) {
                    message.interim.push(fields);
                } else {
                    message.fields = fields;
                    message.is_bare = piece.ends;
                }
            }
            Part::Fields(_) if !piece.ends => {
                return Err(bad("trailers that do not end the stream"));
            }
            Part::Fields(fields) => message.trailers = fields,
        }
        Ok(piece.ends.then_some(End::Whole))
    }

    /// The next frame as a part of a message; `None` for GOAWAY.
    fn piece(&mut self) -> Result<Option<Piece>, Gone> {
        let frame = self.next()?;
        let part = match frame.kind {
            GOAWAY => return Ok(None),
            DATA => Part::Data(frame.content()?.to_vec()),
            HEADERS => Part::Fields(self.block(&frame)?),
            RST_STREAM => Part::Reset(frame.number(0)),
            kind => return Err(bad(format!("a frame of kind {kind}"))),
        };
        Ok(Some(Piece {
            stream: frame.stream,
            ends: frame.kind != RST_STREAM && frame.has(END_STREAM),
            part,
        }))
    }

    /// The fields of a HEADERS frame and the CONTINUATIONs behind it.
    pub(crate) fn block(&mut self, first: &Frame) -> Result<Vec<Field>, Gone> {
        let mut block = first.content()?.to_vec();
        let mut ends = first.has(END_HEADERS);
        while !ends {
            let more = self.read()?;
            if more.kind != CONTINUATION || more.stream != first.stream {
                return Err(bad("something within a field block"));
            }
            block.extend_from_slice(&more.payload);
            ends = more.has(END_HEADERS);
        }
        self.decoder.decode(&block).map_err(Gone::Bad)
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, Gone> {
        let mut chunk = [0; 16 * 1024];
        while self.buffer.len() < length {
            match self.stream.get_mut().read(&mut chunk) {
                Ok(0) => return Err(Gone::Closed),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(Gone::Silent),
                    _ => return Err(Gone::Broken),
                },
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }
}

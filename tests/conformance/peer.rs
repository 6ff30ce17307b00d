//! A caller that may do anything: frames as they are asked for, and a record of what came back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::case;
use crate::h2raw::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Field, Frame, Gone, HEADERS, Link,
    Message, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, hpack,
};
use crate::support::PATIENCE;
use crate::support::tls::{TlsCaller, Trust};

/// Where a listener is, and what a caller trusts if that speaks TLS.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) trust: Option<Arc<Trust>>,
}

impl Site {
    /// A new connection on which HTTP/2 is agreed, or known before.
    fn connect(&self) -> Link {
        let socket = h2raw::socket(self.address, PATIENCE);
        let Some(trust) = &self.trust else {
            return Link::over(socket);
        };
        let caller = TlsCaller::over(socket, trust).expect("a handshake");
        assert_eq!(caller.alpn(), Some(&b"h2"[..]));
        Link::over(caller.stream)
    }
}

/// One connection to the proxy.
pub(crate) struct Peer {
    site: Site,
    link: Link,
    /// The fields of the latest block that was read.
    latest: Vec<Field>,
    /// The final status on each stream.
    statuses: HashMap<u32, u16>,
    /// The greatest stream that a HEADERS frame named.
    highest: u32,
    /// Frames that were read, for whoever looks for a mistake.
    told: Vec<String>,
}

/// Fields of a request of this method for this path, over which nobody could stumble.
pub(crate) fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a.test"),
    ]
}

/// A field block of literals that no table remembers.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = fields.iter();
    hpack::encode(fields.map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

impl Peer {
    /// A client that has said what clients say first.
    pub(crate) fn new(site: &Site) -> Self {
        let peer = Self::silent(site);
        peer.link.write(PREFACE);
        peer.link.send(&Frame::new(SETTINGS, 0, 0, &[]));
        peer
    }

    /// One that has said nothing.
    fn silent(site: &Site) -> Self {
        Self {
            site: site.clone(),
            link: site.connect(),
            latest: Vec::new(),
            statuses: HashMap::new(),
            highest: 0,
            told: Vec::new(),
        }
    }

    /// Starts over without saying anything first.
    pub(crate) fn start_over(&mut self) {
        *self = Self::silent(&self.site);
    }

    pub(crate) fn highest(&self) -> u32 {
        self.highest
    }

    pub(crate) fn told(&self) -> String {
        format!("read {:?}", self.told)
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        self.link.write(bytes);
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        if kind == HEADERS {
            self.highest = self.highest.max(stream & 0x7fff_ffff);
        }
        self.link.send(&Frame::new(kind, flags, stream, payload));
    }

    /// HEADERS with the whole of this block.
    pub(crate) fn block(&mut self, stream: u32, block: &[u8], ends: bool) {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, block);
    }

    /// HEADERS with all of these fields.
    pub(crate) fn headers(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) {
        self.block(stream, &block(fields), ends);
    }

    /// A GET, whole.
    pub(crate) fn get(&mut self, stream: u32, path: &str) {
        self.headers(stream, &request("GET", path), true);
    }

    /// A POST whose body is still to come.
    pub(crate) fn post(&mut self, stream: u32, path: &str) {
        self.headers(stream, &request("POST", path), false);
    }

    /// A GET for this path with these fields beside.
    pub(crate) fn get_with(&mut self, stream: u32, path: &str, more: &[(&str, &str)]) {
        let fields = [&request("GET", path), more].concat();
        self.headers(stream, &fields, true);
    }

    /// A POST with these fields beside, whose body is still to come.
    pub(crate) fn post_with(&mut self, stream: u32, path: &str, more: &[(&str, &str)]) {
        let fields = [&request("POST", path), more].concat();
        self.headers(stream, &fields, false);
    }

    pub(crate) fn data(&mut self, stream: u32, data: &[u8], ends: bool) {
        self.frame(DATA, if ends { END_STREAM } else { 0 }, stream, data);
    }

    pub(crate) fn reset(&mut self, stream: u32, code: u32) {
        self.frame(RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    pub(crate) fn window(&mut self, stream: u32, increment: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
    }

    /// A priority of this weight; with what it depends on.
    pub(crate) fn priority(&mut self, stream: u32, on: u32) {
        self.frame(
            PRIORITY,
            0,
            stream,
            &[&on.to_be_bytes()[..], &[15]].concat(),
        );
    }

    pub(crate) fn continuation(&mut self, stream: u32, block: &[u8], ends: bool) {
        let flags = if ends { END_HEADERS } else { 0 };
        self.frame(CONTINUATION, flags, stream, block);
    }

    /// SETTINGS, in this order.
    pub(crate) fn settings(&mut self, settings: &[(u16, u32)]) {
        let each = settings.iter();
        let each = each.map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        self.frame(SETTINGS, 0, 0, &each.collect::<Vec<_>>().concat());
    }

    /// The same, and waits until they are acknowledged; what came before belongs to the old ones.
    #[track_caller]
    pub(crate) fn settle(&mut self, settings: &[(u16, u32)]) {
        self.acknowledged(1);
        self.settings(settings);
        self.acknowledged(1);
    }

    /// Waits for so many acknowledgements of SETTINGS.
    #[track_caller]
    pub(crate) fn acknowledged(&mut self, count: usize) {
        for _ in 0..count {
            self.find(SETTINGS, |frame| frame.has(ACK));
        }
    }

    /// A stream that either side may go on with: the upstream does not answer it.
    pub(crate) fn open(&mut self, stream: u32) {
        self.post(stream, "/held");
    }

    /// A stream that the caller has ended: the upstream does not answer it.
    pub(crate) fn half_closed(&mut self, stream: u32) {
        self.get(stream, "/held");
    }

    /// A stream that both have ended.
    #[track_caller]
    pub(crate) fn closed(&mut self, stream: u32) {
        self.get(stream, "/closed");
        self.answered(stream, b"ok");
    }

    /// The response on this stream, however it ends. Windows are given back on the way.
    pub(crate) fn message(&mut self, stream: u32) -> Message {
        self.link.message(stream)
    }

    /// Waits for a response of 200 on this stream, and that it has this body.
    #[track_caller]
    pub(crate) fn answered(&mut self, stream: u32, body: &[u8]) {
        let message = self.message(stream);
        let whole = message.end == h2raw::End::Whole;
        assert!(whole && message.status() == 200, "answered by {message:?}");
        assert!(message.data == body, "{} bytes came", message.data.len());
    }

    /// The next frame, as it comes: nothing is acknowledged or given back.
    pub(crate) fn next(&mut self) -> Result<Frame, Gone> {
        let frame = self.link.read()?;
        let Frame {
            kind,
            flags,
            stream,
            payload,
        } = &frame;
        let shown = &payload[..payload.len().min(16)];
        let told = format!("{kind}/{flags:#x} on {stream}: {}", shown.escape_ascii());
        self.told.push(told);
        if frame.kind == HEADERS {
            // At once: the blocks after it may refer to it.
            self.latest = self.link.block(&frame)?;
            let status = case::status(&self.latest);
            self.statuses
                .extend(status.map(|status| (frame.stream, status)));
        }
        Ok(frame)
    }

    /// The next frame of this kind of which this is true; others are passed over.
    #[track_caller]
    pub(crate) fn find(&mut self, kind: u8, pick: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().expect("a frame");
            if frame.kind == kind && pick(&frame) {
                return frame;
            }
        }
    }

    /// The fields of the HEADERS that came last.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.latest
    }

    /// The final status that came on this stream; 0 where none did.
    pub(crate) fn status(&self, stream: u32) -> u16 {
        self.statuses.get(&stream).copied().unwrap_or(0)
    }

    /// What reads the proxy's field blocks.
    pub(crate) fn decoder(&mut self) -> &mut hpack::Decoder {
        &mut self.link.decoder
    }

    /// The fields of the next HEADERS on this stream.
    #[track_caller]
    pub(crate) fn head(&mut self, stream: u32) -> Vec<Field> {
        self.find(HEADERS, |frame| frame.stream == stream);
        self.latest.clone()
    }

    /// Waits for DATA on this stream, and says how much content it has and whether it is the last.
    #[track_caller]
    pub(crate) fn taken(&mut self, stream: u32) -> (usize, bool) {
        let frame = self.find(DATA, |frame| frame.stream == stream);
        (frame.payload.len(), frame.has(END_STREAM))
    }

    /// That nothing but the answer to a PING comes: whatever was allowed to come has come.
    #[track_caller]
    pub(crate) fn quiet(&mut self) {
        const QUIET: &[u8; 8] = b"is quiet";
        // The second is answered after whatever the first has woken.
        for _ in 0..2 {
            self.frame(PING, 0, 0, QUIET);
            loop {
                let frame = self.next().expect("an answer to a PING");
                match frame.kind {
                    PING if frame.payload == QUIET => break,
                    SETTINGS | WINDOW_UPDATE => {}
                    _ => panic!("{frame:?} came"),
                }
            }
        }
    }

    /// The value that the proxy's first SETTINGS give this, and what it is without.
    #[track_caller]
    pub(crate) fn setting(&mut self, id: u16, default: u32) -> u32 {
        let frame = self.find(SETTINGS, |frame| !frame.has(ACK));
        let of_id = |setting: &&[u8]| setting[..2] == id.to_be_bytes();
        let last = frame.payload.chunks_exact(6).rfind(of_id);
        last.map_or(default, |setting| {
            u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]])
        })
    }
}

/// DATA or HEADERS with this much padding in its payload.
pub(crate) fn padded(padding: u8, content: &[u8]) -> Vec<u8> {
    let zeros = vec![0; usize::from(padding)];
    [&[padding][..], content, &zeros].concat()
}

//! Bodies on their way through: those of hyper and h2 go no further than `inbound` and the listener.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Gate;
use super::inbound::Inbound;
use super::replay::{Replay, Unread};

/// Told how a request body moves, from whichever task drives the connection.
pub trait UploadObserver: Send + Sync {
    /// We have nothing to send: the caller has not sent it yet.
    fn waiting(&self);
    /// So many bytes of the caller go on; with them the body is `whole`, or it is not yet.
    fn passed(&self, bytes: usize, whole: bool);
    /// The caller broke its body off, or framed it wrongly (`malformed`).
    fn broken(&self, malformed: bool);
}

/// A request body from the caller to the upstream.
pub struct Upload {
    source: Source,
    observer: Option<Arc<dyn UploadObserver>>,
    /// What it waits for before it is read.
    gate: Option<Gate>,
}

enum Source {
    Empty,
    /// Read once.
    Caller(Inbound),
    /// Kept, and how many pieces of it this reading has had.
    Kept(Replay, usize),
}

impl Upload {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self {
            source: Source::Empty,
            observer: None,
            gate: None,
        }
    }

    /// Wraps what the listener received.
    pub fn new(body: Inbound) -> Self {
        let source = if body.is_end_stream() {
            Source::Empty
        } else {
            Source::Caller(body)
        };
        Self {
            source,
            observer: None,
            gate: None,
        }
    }

    /// Keeps it from being read until the gate opens. The same gate where it has one already;
    /// `None` where there is nothing to read.
    pub fn hold_back(&mut self) -> Option<Gate> {
        if self.is_empty() {
            return None;
        }
        Some(self.gate.get_or_insert_default().clone())
    }

    /// What it waits for, if it still does.
    pub fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref().filter(|gate| !gate.is_open())
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        matches!(self.source, Source::Empty)
    }

    /// Remembers what passes from now on, up to `limit` bytes, for [`Self::again`]. A body that is
    /// declared to be longer is left as it is.
    pub fn keep(&mut self, limit: usize) {
        if let Source::Caller(body) = &self.source
            && body.size_hint().lower() <= limit as u64
            && let Source::Caller(body) = std::mem::replace(&mut self.source, Source::Empty)
        {
            self.source = Source::Kept(Replay::new(body, limit), 0);
        }
    }

    /// The body from its beginning once more, without an observer; `None` where that is not known
    /// any more.
    pub fn again(&self) -> Option<Self> {
        let source = match &self.source {
            Source::Empty => Source::Empty,
            Source::Kept(replay, _) if replay.is_kept() => Source::Kept(replay.clone(), 0),
            Source::Kept(..) | Source::Caller(_) => return None,
        };
        Some(Self {
            source,
            observer: None,
            gate: self.gate.clone(),
        })
    }

    /// Whether it can be sent from its beginning, once more at least.
    pub fn is_intact(&self) -> bool {
        match &self.source {
            Source::Empty | Source::Caller(_) => true,
            Source::Kept(replay, _) => replay.is_kept(),
        }
    }

    /// Whether it is here to its end, so that two readings of it do not come into each other's way.
    pub fn is_whole(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Caller(_) => false,
            Source::Kept(replay, _) => replay.is_whole(),
        }
    }

    /// Drops what has come so far, without waiting; says whether that was all of it.
    pub fn is_all_here(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match Pin::new(&mut *self).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(None) => return true,
                Poll::Ready(Some(Err(_))) | Poll::Pending => return false,
            }
        }
    }

    /// Has `observer` told from now on.
    pub fn observe(&mut self, observer: Arc<dyn UploadObserver>) {
        self.observer = Some(observer);
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("empty", &self.is_empty())
            .finish_non_exhaustive()
    }
}

impl Default for Upload {
    fn default() -> Self {
        Self::empty()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Unread;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unread>>> {
        let Self {
            source,
            observer,
            gate,
        } = self.get_mut();
        if let Some(closed) = gate {
            if closed.poll_open(cx).is_pending() {
                // A caller that does not wait is not made to.
                ready!(source.poll_arrived(cx));
                closed.open();
            }
            *gate = None;
        }
        let frame = match source {
            Source::Empty => return Poll::Ready(None),
            Source::Caller(body) => Pin::new(body).poll_frame(cx).map_err(Unread::Caller),
            Source::Kept(replay, position) => replay.poll_frame(position, cx),
        };
        if let Some(observer) = observer {
            match &frame {
                Poll::Pending => observer.waiting(),
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    // Nothing follows trailers, and nobody asks whether something does. Who reads by
                    // the length does not ask either, once it is read.
                    let whole = source.is_end() || frame.is_trailers() || source.is_read();
                    observer.passed(bytes, whole);
                }
                Poll::Ready(Some(Err(Unread::Caller(error)))) => {
                    observer.broken(error.is_malformed());
                }
                Poll::Ready(Some(Err(Unread::Gone))) => {}
                Poll::Ready(None) => observer.passed(0, true),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Caller(body) => body.size_hint(),
            Source::Kept(replay, _) => replay.size_hint(),
        }
    }
}

impl Source {
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Empty => Poll::Ready(()),
            Self::Caller(body) => body.poll_arrived(cx),
            Self::Kept(replay, position) => replay.poll_arrived(*position, cx),
        }
    }

    /// Whether as much was read as was declared.
    fn is_read(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Caller(body) => body.size_hint().exact() == Some(0),
            Self::Kept(replay, _) => replay.is_read(),
        }
    }

    fn is_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Caller(body) => body.is_end_stream(),
            Self::Kept(replay, position) => replay.is_end(*position),
        }
    }
}

/// A response body from the upstream.
pub struct Download(Option<Inbound>);

impl Download {
    pub(super) fn new(body: Inbound) -> Self {
        Self(Some(body))
    }

    /// No body.
    pub const fn none() -> Self {
        Self(None)
    }
}

/// The upstream broke its response body off, or framed it wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// By which code of HTTP/2, if by one (RFC 9113 §7).
    pub code: Option<u32>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream broke its response body off")
    }
}

impl std::error::Error for Broken {}

impl Body for Download {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.0 {
            Some(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map_err(|error| Broken { code: error.code() })
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

//! A request body that is kept while it passes, so that it can be sent once more.
//!
//! The first reading pulls the caller's body and remembers what passed, up to a limit; a later one
//! gives that again and then pulls on where the first was broken off. Beyond the limit what was
//! remembered is let go: the body goes on, but it is committed. Invariant: a reading goes on only
//! from the very piece that it stopped before; one that finds it gone fails.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::inbound::{BrokenOff, Inbound};
use crate::sync::{Mutex, lock};

/// A body with what is remembered of it. Clones share it.
#[derive(Clone)]
pub(super) struct Replay(Arc<Mutex<Kept>>);

/// So many pieces are remembered however small they are,
const MANY: usize = 64;

/// and further ones as far as the limit allows pieces of this size.
const TINY: usize = 256;

struct Kept {
    body: Inbound,
    passed: Vec<Piece>,
    /// Pieces that the caller has sent, remembered or not.
    pulled: usize,
    /// Bytes that are remembered.
    bytes: usize,
    limit: usize,
    state: State,
    /// Of the whole body, where its length was declared.
    size: SizeHint,
}

/// Why a body cannot be read on.
#[derive(Debug)]
pub enum Unread {
    /// The caller broke it off, or framed it wrongly.
    Caller(BrokenOff),
    /// Where this reading stopped is not remembered any more.
    Gone,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller(error) => error.fmt(f),
            Self::Gone => f.write_str("the beginning of the body is not kept any more"),
        }
    }
}

impl Error for Unread {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More may come, and all of what came is remembered.
    Flowing,
    /// All of it is remembered.
    Whole,
    /// It can only be read on.
    Committed,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl Piece {
    fn frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(*trailers),
        }
    }
}

impl Replay {
    pub(super) fn new(body: Inbound, limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            size: body.size_hint(),
            body,
            passed: Vec::new(),
            pulled: 0,
            bytes: 0,
            limit,
            state: State::Flowing,
        })))
    }

    /// Whether as much has come as was declared.
    pub(super) fn is_read(&self) -> bool {
        lock(&self.0).body.size_hint().exact() == Some(0)
    }

    /// Whether it can be read from its beginning.
    pub(super) fn is_kept(&self) -> bool {
        lock(&self.0).state != State::Committed
    }

    /// Whether it can be read from its beginning to its end without the caller.
    pub(super) fn is_whole(&self) -> bool {
        lock(&self.0).state == State::Whole
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        lock(&self.0).size
    }

    /// Whether `position` is past the end. Not of an empty body, which was framed as one that may
    /// have bytes, and is to be framed so again.
    pub(super) fn is_end(&self, position: usize) -> bool {
        let kept = lock(&self.0);
        kept.state == State::Whole && position > 0 && position >= kept.passed.len()
    }

    /// Waits until the piece at `position` has come, and leaves it there.
    pub(super) fn poll_arrived(&self, position: usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut kept = lock(&self.0);
        if kept.state == State::Flowing && position == kept.pulled {
            return kept.body.poll_arrived(cx);
        }
        Poll::Ready(())
    }

    /// Reads the piece at `position`, which moves on.
    pub(super) fn poll_frame(
        &self,
        position: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unread>>> {
        let mut kept = lock(&self.0);
        if let Some(piece) = kept.passed.get(*position) {
            *position += 1;
            return Poll::Ready(Some(Ok(piece.clone().frame())));
        }
        if kept.state == State::Whole {
            return Poll::Ready(None);
        }
        if *position != kept.pulled {
            return Poll::Ready(Some(Err(Unread::Gone)));
        }
        if kept.state == State::Flowing && Arc::strong_count(&self.0) == 1 {
            // Nobody is left to read it once more: a stream that goes on keeps nothing.
            kept.commit();
        }
        let polled = Pin::new(&mut kept.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let piece = match (frame.data_ref(), frame.trailers_ref()) {
                    (Some(data), _) => Some(Piece::Data(data.clone())),
                    (None, trailers) => trailers.cloned().map(Box::new).map(Piece::Trailers),
                };
                kept.remember(piece);
                kept.pulled += 1;
                *position += 1;
            }
            Poll::Ready(None) if kept.state == State::Flowing => kept.state = State::Whole,
            // What broke off cannot be sent whole any more.
            Poll::Ready(Some(Err(_))) => kept.commit(),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled.map_err(Unread::Caller)
    }
}

impl Kept {
    fn remember(&mut self, piece: Option<Piece>) {
        let Some(piece) = piece.filter(|_| self.state == State::Flowing) else {
            return;
        };
        let size = match &piece {
            Piece::Data(data) => data.len(),
            Piece::Trailers(trailers) => trailers
                .iter()
                .map(|(n, v)| n.as_str().len() + v.len())
                .sum(),
        };
        self.bytes = self.bytes.saturating_add(size);
        // A body of tiny chunks costs more to remember than it is long.
        let most = MANY + self.limit / TINY;
        if self.bytes > self.limit || self.passed.len() >= most {
            return self.commit();
        }
        let last = matches!(piece, Piece::Trailers(_));
        self.passed.push(piece);
        if last || self.body.is_end_stream() {
            self.state = State::Whole;
        }
    }

    fn commit(&mut self) {
        self.state = State::Committed;
        self.passed = Vec::new();
    }
}

//! A request body that is kept while it passes, so that it can be sent once more.
//!
//! The first reading pulls the caller's body and remembers what passed, up to a limit; a later one
//! gives that again and then pulls on where the first was broken off. Beyond the limit what was
//! remembered is let go: the body goes on, but it is committed. Invariant: only one reading at a
//! time is at the front, where the caller's bytes come in.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::sync::{Mutex, lock};

/// A body with what is remembered of it. Clones share it.
#[derive(Clone)]
pub(super) struct Replay(Arc<Mutex<Kept>>);

struct Kept {
    body: Incoming,
    passed: Vec<Piece>,
    bytes: usize,
    limit: usize,
    state: State,
    /// Of the whole body, where its length was declared.
    size: SizeHint,
}

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
    Trailers(HeaderMap),
}

impl Piece {
    fn frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}

impl Replay {
    pub(super) fn new(body: Incoming, limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            size: body.size_hint(),
            body,
            passed: Vec::new(),
            bytes: 0,
            limit,
            state: State::Flowing,
        })))
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

    pub(super) fn is_end(&self, position: usize) -> bool {
        let kept = lock(&self.0);
        kept.state == State::Whole && position >= kept.passed.len()
    }

    /// Reads the piece at `position`, which moves on.
    pub(super) fn poll_frame(
        &self,
        position: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut kept = lock(&self.0);
        if let Some(piece) = kept.passed.get(*position) {
            *position += 1;
            return Poll::Ready(Some(Ok(piece.clone().frame())));
        }
        if kept.state == State::Whole {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut kept.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let piece = match (frame.data_ref(), frame.trailers_ref()) {
                    (Some(data), _) => Some(Piece::Data(data.clone())),
                    (None, trailers) => trailers.cloned().map(Piece::Trailers),
                };
                kept.remember(piece);
                if kept.state != State::Committed {
                    *position += 1;
                }
            }
            Poll::Ready(None) if kept.state == State::Flowing => kept.state = State::Whole,
            // What broke off cannot be sent whole any more.
            Poll::Ready(Some(Err(_))) => kept.commit(),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }
}

impl Kept {
    fn remember(&mut self, piece: Option<Piece>) {
        let Some(piece) = piece.filter(|_| self.state == State::Flowing) else {
            return;
        };
        if let Piece::Data(data) = &piece {
            self.bytes = self.bytes.saturating_add(data.len());
        }
        if self.bytes > self.limit {
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

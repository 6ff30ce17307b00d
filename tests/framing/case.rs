//! What a case is: bytes, and what is to become of each message among them.

/// One exchange with a caller that writes raw bytes.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What the caller writes, in one piece.
    pub(crate) bytes: &'static [u8],
    /// One entry for each message of `bytes`, in their order.
    pub(crate) expect: &'static [Expect],
    pub(crate) after: After,
    pub(crate) failure: Option<Failure<Expect>>,
}

/// What the caller does once it has written its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// One more request ([`NEXT`]), in the same piece.
    Next,
    /// It ends its side.
    Finish,
}

/// What is right cannot be had yet.
#[derive(Clone, Copy)]
pub(crate) struct Failure<E: 'static> {
    pub(crate) why: &'static str,
    /// What happens instead, which must be safe even so.
    pub(crate) instead: &'static [E],
}

/// Cases that go wrong, by name, where they are run once more in another setting, and why.
pub(crate) type Unfit = &'static [(&'static str, &'static str)];

/// What is to become of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// Refused with this status, nothing of it goes on, and the connection ends.
    Reject(u16),
    /// Goes on as this, and the connection serves the next one.
    Forward(Message),
    /// As [`Self::Forward`]; the caller may be told first to send its body.
    Continue(Message),
    /// Goes on as this, and the connection ends.
    Last(Message),
    /// Breaks off in its body: the upstream gets no whole message, the caller this status or, as
    /// it may be gone, nothing; the connection ends.
    Broken(u16),
    /// Nothing of it goes on, and the connection ends without a word.
    Close,
}

/// A request as it was understood, which is how it has to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    pub(crate) body: Body,
    /// Fields that it has to have, once, with this value.
    pub(crate) has: &'static [(&'static str, &'static str)],
    /// Fields that must not be there.
    pub(crate) lacks: &'static [&'static str],
}

/// A body and what says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing: no field says anything about a body.
    None,
    /// `Content-Length`, exactly one.
    Length(&'static [u8]),
    /// `Transfer-Encoding: chunked`, exactly one.
    Chunked(&'static [u8]),
}

/// The request that follows a case's own on the same connection.
pub(crate) const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nhost: next\r\nconnection: close\r\n\r\n";

pub(crate) const fn case(
    name: &'static str,
    bytes: &'static [u8],
    expect: &'static [Expect],
) -> Case {
    Case {
        name,
        bytes,
        expect,
        after: After::Next,
        failure: None,
    }
}

impl Case {
    /// The caller ends its side after these bytes.
    pub(crate) const fn finished(mut self) -> Self {
        self.after = After::Finish;
        self
    }

    /// What is right cannot be had yet, and this happens instead. The case fails once it passes.
    pub(crate) const fn fails(mut self, why: &'static str, instead: &'static [Expect]) -> Self {
        self.failure = Some(Failure { why, instead });
        self
    }
}

/// A message without a body.
pub(crate) const fn plain(method: &'static str, target: &'static str) -> Message {
    Message {
        method,
        target,
        body: Body::None,
        has: &[],
        lacks: &[],
    }
}

/// A message with a body of this length.
pub(crate) const fn counted(
    method: &'static str,
    target: &'static str,
    body: &'static [u8],
) -> Message {
    Message {
        body: Body::Length(body),
        ..plain(method, target)
    }
}

/// A message with a chunked body.
pub(crate) const fn chunked(
    method: &'static str,
    target: &'static str,
    body: &'static [u8],
) -> Message {
    Message {
        body: Body::Chunked(body),
        ..plain(method, target)
    }
}

impl Message {
    /// With these fields.
    pub(crate) const fn has(mut self, has: &'static [(&'static str, &'static str)]) -> Self {
        self.has = has;
        self
    }

    /// Without these fields.
    pub(crate) const fn lacks(mut self, lacks: &'static [&'static str]) -> Self {
        self.lacks = lacks;
        self
    }
}

/// One answer of an upstream that writes raw bytes.
#[derive(Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) name: &'static str,
    /// The method that is answered.
    pub(crate) method: &'static str,
    /// What the upstream writes, in one piece.
    pub(crate) bytes: &'static [u8],
    /// Whether it ends the connection then.
    pub(crate) closes: bool,
    pub(crate) expect: Outcome,
    pub(crate) failure: Option<Failure<Outcome>>,
}

/// What the caller is to get for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// A local reply of this status, and the connection serves the next request.
    Refuse(u16),
    /// This answer, and the connection serves the next request.
    Pass(Answer),
    /// A head of this status, then an end that cannot be taken for that of the body.
    Abort(u16),
}

/// A response as it was understood, which is how it has to leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Body,
    pub(crate) has: &'static [(&'static str, &'static str)],
    pub(crate) lacks: &'static [&'static str],
    pub(crate) trailers: &'static [(&'static str, &'static str)],
}

pub(crate) const fn reply(name: &'static str, bytes: &'static [u8], expect: Outcome) -> Reply {
    Reply {
        name,
        method: "GET",
        bytes,
        closes: false,
        expect,
        failure: None,
    }
}

impl Reply {
    /// In answer to this method.
    pub(crate) const fn to(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// The upstream ends the connection after these bytes.
    pub(crate) const fn closed(mut self) -> Self {
        self.closes = true;
        self
    }

    /// As [`Case::fails`].
    pub(crate) const fn fails(mut self, why: &'static str, instead: &'static [Outcome]) -> Self {
        self.failure = Some(Failure { why, instead });
        self
    }
}

/// An answer without fields that matter.
pub(crate) const fn answer(status: u16, body: Body) -> Answer {
    Answer {
        status,
        body,
        has: &[],
        lacks: &[],
        trailers: &[],
    }
}

impl Answer {
    pub(crate) const fn has(mut self, has: &'static [(&'static str, &'static str)]) -> Self {
        self.has = has;
        self
    }

    pub(crate) const fn lacks(mut self, lacks: &'static [&'static str]) -> Self {
        self.lacks = lacks;
        self
    }

    pub(crate) const fn trailed(
        mut self,
        trailers: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.trailers = trailers;
        self
    }
}

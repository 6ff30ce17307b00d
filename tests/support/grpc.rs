//! gRPC without a code generator: a caller and an upstream, message by message, over plain HTTP/2.
//!
//! Both run on one thread beside the tests, which may block.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::PATIENCE;

pub(crate) type Fields<'a> = &'a [(&'static str, &'a str)];

/// Where both ends run.
fn handle() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

/// Runs what a test does to its end, unless it hangs.
#[track_caller]
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let done = handle().block_on(async { tokio::time::timeout(PATIENCE, test).await });
    done.expect("nothing hangs")
}

fn set(headers: &mut HeaderMap, fields: Fields<'_>) {
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        headers.append(HeaderName::from_static(name), value);
    }
}

/// Messages that are received.
pub(crate) struct Messages {
    body: RecvStream,
    read: Vec<u8>,
}

impl Messages {
    fn new(body: RecvStream) -> Self {
        let read = Vec::new();
        Self { body, read }
    }

    /// The next message; `None` at the end of the stream's data.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, h2::Error> {
        loop {
            if let Some((prefix, rest)) = self.read.split_first_chunk::<5>() {
                let [flag, length @ ..] = *prefix;
                assert_eq!(flag, 0, "nothing is compressed here");
                let length = u32::from_be_bytes(length) as usize;
                if let Some((message, rest)) = rest.split_at_checked(length) {
                    let message = String::from_utf8(message.to_vec()).expect("text");
                    self.read = rest.to_vec();
                    return Ok(Some(message));
                }
            }
            match self.body.data().await {
                Some(data) => {
                    let data = data?;
                    self.body.flow_control().release_capacity(data.len())?;
                    self.read.extend_from_slice(&data);
                }
                None => {
                    assert_eq!(self.read, b"", "half a message");
                    return Ok(None);
                }
            }
        }
    }

    /// The rest of them.
    pub(crate) async fn all(&mut self) -> Result<Vec<String>, h2::Error> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await? {
            all.push(message);
        }
        Ok(all)
    }

    /// What follows the last message.
    pub(crate) async fn trailers(&mut self) -> Result<Option<HeaderMap>, h2::Error> {
        self.body.trailers().await
    }

    fn is_end(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Messages that are sent. Dropped before its end, it resets the stream.
pub(crate) struct Sending(SendStream<Bytes>);

impl Sending {
    pub(crate) fn message(&mut self, text: &str) {
        let length = u32::try_from(text.len()).expect("a short message");
        let framed = [&[0], &length.to_be_bytes()[..], text.as_bytes()].concat();
        let _ = self.0.send_data(framed.into(), false);
    }

    /// Ends it without trailers, as callers do.
    pub(crate) fn end(&mut self) {
        let _ = self.0.send_data(Bytes::new(), true);
    }

    /// Ends it with these trailers, as servers do.
    pub(crate) fn trailers(&mut self, fields: Fields<'_>) {
        let mut trailers = HeaderMap::new();
        set(&mut trailers, fields);
        let _ = self.0.send_trailers(trailers);
    }

    pub(crate) fn reset(&mut self, reason: Reason) {
        self.0.send_reset(reason);
    }

    /// Waits until the peer resets it.
    pub(crate) async fn given_up(&mut self) -> Result<Reason, h2::Error> {
        poll_fn(|cx| self.0.poll_reset(cx)).await
    }
}

/// A caller's connection.
#[derive(Clone)]
pub(crate) struct Caller(SendRequest<Bytes>);

/// A call on its way.
pub(crate) struct Calling {
    pub(crate) sending: Sending,
    response: ResponseFuture,
}

/// What became of a call.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) head: HeaderMap,
    pub(crate) messages: Vec<String>,
    /// Where there were any: then they are not in the head.
    pub(crate) trailers: Option<HeaderMap>,
    /// The head was all of it.
    pub(crate) is_trailers_only: bool,
}

impl Outcome {
    /// A field of wherever the status stands.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.trailers.as_ref().unwrap_or(&self.head);
        fields.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(crate) fn status(&self) -> u32 {
        let status = self.field("grpc-status");
        let status = status.unwrap_or_else(|| panic!("{self:?}"));
        status.parse().expect("a number")
    }
}

impl Caller {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let connected = run(async {
            let socket = TcpStream::connect(address).await.expect("a listener");
            socket.set_nodelay(true).expect("a socket");
            let mut builder = h2::client::Builder::new();
            builder.max_header_list_size(1 << 20);
            builder.handshake(socket).await
        });
        let (sender, connection) = connected.expect("HTTP/2");
        handle().spawn(async move {
            let _ = connection.await;
        });
        Self(sender)
    }

    /// Begins a call.
    pub(crate) async fn call(&self, path: &str, fields: Fields<'_>) -> Calling {
        let mut request = Request::post(format!("http://shop{path}")).body(());
        let request = request.as_mut().expect("a request");
        set(
            request.headers_mut(),
            &[("content-type", "application/grpc"), ("te", "trailers")],
        );
        set(request.headers_mut(), fields);
        let request = std::mem::take(request);
        let sender = self.0.clone().ready().await;
        let sent = sender.expect("a connection").send_request(request, false);
        let (response, stream) = sent.expect("a stream");
        Calling {
            sending: Sending(stream),
            response,
        }
    }

    /// A call of one message, to its end.
    pub(crate) async fn unary(&self, path: &str, fields: Fields<'_>) -> Result<Outcome, h2::Error> {
        let mut calling = self.call(path, fields).await;
        calling.sending.message("question");
        calling.sending.end();
        calling.outcome().await
    }
}

impl Calling {
    /// Waits for the response head.
    pub(crate) async fn head(&mut self) -> Result<(response::Parts, Messages), h2::Error> {
        let (head, body) = (&mut self.response).await?.into_parts();
        assert_eq!(head.status, 200, "{head:?}");
        Ok((head, Messages::new(body)))
    }

    /// Waits for everything.
    pub(crate) async fn outcome(mut self) -> Result<Outcome, h2::Error> {
        let (head, mut messages) = self.head().await?;
        let is_trailers_only = messages.is_end();
        Ok(Outcome {
            head: head.headers,
            messages: messages.all().await?,
            trailers: messages.trailers().await?,
            is_trailers_only,
        })
    }
}

/// A call as the upstream has it.
pub(crate) struct Served {
    /// How many calls came before it.
    pub(crate) nth: usize,
    pub(crate) head: Parts,
    pub(crate) messages: Messages,
    respond: SendResponse<Bytes>,
    farewell: Arc<Notify>,
}

impl Served {
    /// Answers with a head, to be followed by messages.
    pub(crate) fn begin(&mut self, fields: Fields<'_>) -> Sending {
        let sent = self.respond.send_response(reply(fields), false);
        Sending(sent.expect("an open stream"))
    }

    /// Answers with a head alone.
    pub(crate) fn trailers_only(&mut self, fields: Fields<'_>) {
        let _ = self.respond.send_response(reply(fields), true);
    }

    pub(crate) fn reset(&mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    /// Tells the proxy that the connection takes no more calls.
    pub(crate) fn farewell(&self) {
        self.farewell.notify_one();
    }

    /// Waits until the proxy gives it up.
    pub(crate) async fn given_up(&mut self) -> Result<Reason, h2::Error> {
        poll_fn(|cx| self.respond.poll_reset(cx)).await
    }

    /// Sends back every message as it comes, and at the end that all went well.
    pub(crate) async fn echo(mut self) {
        let mut sending = self.begin(&[]);
        while let Ok(Some(message)) = self.messages.next().await {
            sending.message(&message);
        }
        sending.trailers(&[("grpc-status", "0")]);
    }
}

fn reply(fields: Fields<'_>) -> Response<()> {
    let mut head = Response::new(());
    set(head.headers_mut(), &[("content-type", "application/grpc")]);
    set(head.headers_mut(), fields);
    head
}

/// What the upstream has seen so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) calls: Vec<Parts>,
}

/// The upstream; ends with its drop.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    accepting: AbortHandle,
}

impl Server {
    /// Starts one that does this for each call.
    pub(crate) fn start<F>(serve: impl Fn(Served) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let seen = Arc::<Mutex<Seen>>::default();
        let listener = run(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (own, serve) = (Arc::clone(&seen), Arc::new(serve));
        let accepting = handle().spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                lock(&own).connections += 1;
                let (seen, serve) = (Arc::clone(&own), Arc::clone(&serve));
                handle().spawn(serve_connection(socket, seen, serve));
            }
        });
        Self {
            address,
            seen,
            accepting: accepting.abort_handle(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve_connection<F: Future<Output = ()> + Send + 'static>(
    socket: TcpStream,
    seen: Arc<Mutex<Seen>>,
    serve: Arc<impl Fn(Served) -> F>,
) {
    let _ = socket.set_nodelay(true);
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(1 << 20);
    let Ok(mut wire) = builder.handshake::<_, Bytes>(socket).await else {
        return;
    };
    let farewell = Arc::new(Notify::new());
    loop {
        tokio::select! {
            accepted = wire.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let (head, body) = request.into_parts();
                let nth = {
                    let mut seen = lock(&seen);
                    seen.calls.push(head.clone());
                    seen.calls.len() - 1
                };
                let served = Served {
                    nth,
                    head,
                    messages: Messages::new(body),
                    respond,
                    farewell: Arc::clone(&farewell),
                };
                handle().spawn(serve(served));
            }
            () = farewell.notified() => wire.graceful_shutdown(),
        }
    }
}

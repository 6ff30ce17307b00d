//! The upstream, the pool in front of it, and a caller's body.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::config::model::{Http2, Protocol};
use crate::lifecycle::tasks;
use crate::net::Address;
use crate::net::frames::Flood;
use crate::pool::{
    Checkout, Closed, Connection, Dial, Dialed, Download, Granted, Inbound, Limits, Observer, Pool,
    SendError, Settings, Socket, Spoken, Upload, Want, Way,
};
use crate::{time, tls};

/// Less than the bodies of the tests, so that they stall.
const PIPE: usize = 16 * 1024;

/// Runs a test on one worker with paused time.
pub(super) fn simulate(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let bound = tokio::time::timeout(Duration::from_secs(3600), test);
        bound.await.expect("the test hangs");
    });
}

/// Lets everybody do what can be done without time passing.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

type Answering = Pin<Box<dyn Future<Output = ()>>>;
type Answer = Box<dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> Answering + Send + Sync>;

/// What an upstream does.
pub(super) struct Script {
    pub(super) answer: Answer,
    /// How long a dial takes, and whether it fails then.
    pub(super) reach: (Duration, bool),
    pub(super) max_streams: Option<u32>,
    pub(super) window: u32,
    /// What the dial says is spoken.
    pub(super) spoken: Spoken,
    /// Reads nothing for ever, after so many requests.
    pub(super) deaf_after: Option<usize>,
    /// Takes extended CONNECT.
    pub(super) extended: bool,
    /// Says this in place of HTTP/2; over HTTP/1 once it was asked something.
    pub(super) says: Option<&'static str>,
    /// Says this after it when told to say farewell.
    pub(super) then_says: Option<&'static str>,
}

impl Script {
    pub(super) fn new<F>(
        answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self {
            answer: Box::new(move |request, respond| Box::pin(answer(request, respond))),
            reach: (Duration::ZERO, false),
            max_streams: None,
            window: 65_535,
            spoken: Spoken::Http2,
            deaf_after: None,
            extended: false,
            says: None,
            then_says: None,
        }
    }

    /// Answers 200 without a body after `delay`, having read the request.
    pub(super) fn ok_after(delay: Duration) -> Self {
        Self::new(move |request, mut respond| async move {
            let _ = read(request.into_body()).await;
            time::sleep(delay).await;
            let _ = respond.send_response(Response::new(()), true);
        })
    }
}

/// The whole body and its trailers.
pub(super) async fn read(
    mut body: RecvStream,
) -> Result<(Vec<u8>, Option<http::HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, body.trailers().await?))
}

/// The upstream; clones are the same one.
#[derive(Clone)]
pub(super) struct Upstream(Arc<State>);

pub(super) struct State {
    script: Script,
    pub(super) dialled: AtomicUsize,
    pub(super) open: AtomicUsize,
    pub(super) requests: AtomicUsize,
    pub(super) goaway: Notify,
}

impl std::ops::Deref for Upstream {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl Upstream {
    pub(super) fn new(script: Script) -> Self {
        Self(Arc::new(State {
            script,
            dialled: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            goaway: Notify::new(),
        }))
    }

    pub(super) fn dialled(&self) -> usize {
        self.dialled.load(Relaxed)
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }

    async fn serve(self, mut stream: DuplexStream) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        if let Some(says) = self.script.says {
            if self.script.spoken == Spoken::Http1 && !says.is_empty() {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(says.as_bytes()).await;
                // It ends the connection.
                return self.goaway.notified().await;
            }
            let _ = stream.write_all(says.as_bytes()).await;
            if let Some(then) = self.script.then_says {
                self.goaway.notified().await;
                let _ = stream.write_all(then.as_bytes()).await;
            }
            let _ = stream.read_to_end(&mut Vec::new()).await;
            return;
        }
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(self.script.window);
        if let Some(max) = self.script.max_streams {
            builder.max_concurrent_streams(max);
        }
        if self.script.extended {
            builder.enable_connect_protocol();
        }
        let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
            return;
        };
        loop {
            if self
                .script
                .deaf_after
                .is_some_and(|after| self.requests() >= after)
            {
                std::future::pending::<()>().await;
            }
            tokio::select! {
                accepted = connection.accept() => {
                    let Some(Ok((request, respond))) = accepted else { return };
                    self.requests.fetch_add(1, Relaxed);
                    tasks::spawn_local("answer", (self.script.answer)(request, respond));
                }
                () = self.goaway.notified() => connection.graceful_shutdown(),
            }
        }
    }
}

impl Dial for Upstream {
    fn dial(&self, _: &Address, _: &Arc<Way>) -> Dialed {
        let upstream = self.clone();
        upstream.dialled.fetch_add(1, Relaxed);
        upstream.open.fetch_add(1, Relaxed);
        let open = Open(upstream.clone());
        Box::pin(async move {
            let (takes, fails) = upstream.script.reach;
            time::sleep(takes).await;
            if fails {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = tokio::io::duplex(PIPE);
            let protocol = upstream.script.spoken;
            tasks::spawn_local("upstream", upstream.serve(far));
            Ok(Socket {
                stream: Box::new(Pipe { near, _open: open }),
                peek: None,
                protocol,
            })
        })
    }
}

/// Counts a pipe as open while the pool holds its end, or dials it.
struct Open(Upstream);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

struct Pipe {
    near: DuplexStream,
    _open: Open,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.near).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.near).poll_shutdown(cx)
    }
}

/// What the pool told its observer.
#[derive(Default)]
pub(super) struct Told {
    pub(super) opened: AtomicUsize,
    pub(super) reused: AtomicUsize,
    pub(super) closed: Mutex<Vec<Closed>>,
    pub(super) floods: Mutex<Vec<Flood>>,
}

impl Told {
    pub(super) fn closed(&self) -> Vec<Closed> {
        self.closed.lock().unwrap().clone()
    }

    /// Opened and reused.
    pub(super) fn uses(&self) -> (usize, usize) {
        (self.opened.load(Relaxed), self.reused.load(Relaxed))
    }
}

struct Teller(Arc<Told>);

impl Observer for Teller {
    fn opened(&self, _: Duration) {
        self.0.opened.fetch_add(1, Relaxed);
    }

    fn reused(&self) {
        self.0.reused.fetch_add(1, Relaxed);
    }

    fn closed(&self, why: Closed) {
        self.0.closed.lock().unwrap().push(why);
    }

    fn flooded(&self, flood: Flood) {
        self.0.floods.lock().unwrap().push(flood);
    }

    fn tls_failed(&self, reason: tls::Reason) {
        unreachable!("nothing is encrypted: {reason:?}");
    }
}

/// A pool in front of an upstream.
pub(super) struct Bench {
    pub(super) pool: Arc<Pool>,
    pub(super) upstream: Upstream,
    pub(super) told: Arc<Told>,
}

pub(super) fn settings(max_connections: usize) -> Settings {
    Settings {
        limits: Limits {
            max_connections,
            max_idle: 8,
            idle_timeout: Duration::from_secs(60),
            max_age: None,
        },
        protocol: Protocol::Http2,
        http2: Http2 {
            max_streams: 100,
            stream_window: 65_535,
            connection_window: 1 << 20,
            ping_interval: None,
            ping_timeout: Duration::from_secs(20),
        },
        tls: false,
        keeps_header_case: false,
    }
}

pub(super) fn endpoint(port: u16) -> Address {
    Address::from(([192, 0, 2, 1], port))
}

impl Bench {
    pub(super) fn new(settings: Settings, script: Script) -> Self {
        let upstream = Upstream::new(script);
        let told = Arc::new(Told::default());
        let observer = Box::new(Teller(Arc::clone(&told)));
        let pool = Pool::new(settings, 2, Arc::new(upstream.clone()), observer);
        Self {
            pool,
            upstream,
            told,
        }
    }

    pub(super) fn checkout(&self, worker: usize, port: u16) -> Checkout {
        self.pool
            .checkout(worker, &endpoint(port), Want::Any, time::now())
    }

    /// A connection of worker 0, however long it takes.
    pub(super) async fn get(&self) -> io::Result<Connection> {
        get(Arc::clone(&self.pool), 0, 1).await
    }

    /// The same in a task of its own.
    pub(super) fn start_get(&self) -> tokio::task::JoinHandle<io::Result<Connection>> {
        spawn(get(Arc::clone(&self.pool), 0, 1))
    }

    /// All that was taken was given back, but for `idle` connections.
    #[track_caller]
    pub(super) fn check(&self, idle: usize) {
        assert_eq!(self.pool.counts(), (0, idle));
        assert_eq!(self.upstream.open(), idle);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test wants the outcome")]
pub(super) fn spawn<T: 'static>(
    work: impl Future<Output = T> + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_local(work)
}

/// As an attempt does it, with a limit of one second on dials.
pub(super) async fn get(pool: Arc<Pool>, worker: usize, port: u16) -> io::Result<Connection> {
    loop {
        let granted = match pool.checkout(worker, &endpoint(port), Want::Any, time::now()) {
            Checkout::Idle(idle) => Granted::Idle(idle),
            Checkout::Dial(dialing) => Granted::Dial(dialing),
            Checkout::Join(joining) => match joining.joined().await? {
                Some(connection) => return Ok(connection),
                None => continue,
            },
            Checkout::Wait(waiting) => waiting.granted().await,
        };
        let connection = match granted {
            Granted::Dial(dialing) => {
                let way = Arc::default();
                dialing.open(&way, Some(Duration::from_secs(1))).await?
            }
            Granted::Idle(idle) => idle.revive().await,
        };
        if let Some(connection) = connection {
            return Ok(connection);
        }
    }
}

pub(super) fn request(body: Upload) -> Request<Upload> {
    let mut request = Request::new(body);
    let headers = request.headers_mut();
    headers.insert("host", "u.test".parse().unwrap());
    headers.insert("transfer-encoding", "chunked".parse().unwrap());
    request
}

/// Sends a request without a body; has the status.
pub(super) async fn exchange(connection: &mut Connection) -> Result<u16, SendError> {
    let response = connection.send(request(Upload::empty())).await?;
    let status = response.status().as_u16();
    download(response.into_body()).await.unwrap();
    Ok(status)
}

/// The whole body and its trailers.
pub(super) async fn download(
    mut body: Download,
) -> Result<(Vec<u8>, Option<http::HeaderMap>), crate::pool::Broken> {
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((bytes, trailers))
}

/// A body that a caller sends over HTTP/2, at its own pace.
pub(super) async fn upload(window: u32) -> (SendStream<Bytes>, Upload) {
    let (near, far) = tokio::io::duplex(PIPE);
    let caller = async {
        let (mut sender, connection) = h2::client::handshake(near).await.unwrap();
        tasks::spawn_local("caller", async {
            let _ = connection.await;
        });
        let request = Request::post("http://u.test/").body(()).unwrap();
        let (response, body) = sender.send_request(request, false).unwrap();
        // The exchange goes on for as long as the body is held.
        tasks::spawn_local("response", async {
            let _ = response.await;
        });
        body
    };
    let listener = async {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(window);
        let mut connection = builder.handshake::<_, Bytes>(far).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        tasks::spawn_local("listener", async move {
            let _respond = respond;
            while connection.accept().await.is_some() {}
        });
        let (head, body) = request.into_parts();
        Upload::new(Inbound::http2(body, &head.headers, None))
    };
    tokio::join!(caller, listener)
}

//! Callers: open loop, over kept and over new connections, of HTTP/1.1 and HTTP/2.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Failure;
use crate::record::Record;

/// How long a call may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(5);

/// One call of ten is over a new connection, of either version in turn.
const ONE_NEW_OF: u64 = 10;

/// Connections of HTTP/2 that are kept.
const SHARED: usize = 2;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

type Stream = TlsStream<TcpStream>;

/// Who calls the edge.
pub(crate) struct Callers {
    /// Ends the calls.
    pub(crate) stop: Rc<Cell<bool>>,
    edge: Rc<Edge>,
    rate: f64,
}

struct Edge {
    port: u16,
    name: ServerName<'static>,
    http1: Version,
    http2: Version,
    idle: RefCell<VecDeque<Stream>>,
    shared: RefCell<Vec<SendRequest<Bytes>>>,
    record: Rc<RefCell<Record>>,
}

/// How a version of HTTP is asked for, with and without the offer of an earlier session.
struct Version {
    full: Arc<ClientConfig>,
    again: Arc<ClientConfig>,
}

impl Version {
    fn new(roots: &Arc<RootCertStore>, alpn: &[u8]) -> Self {
        let roots = Arc::clone(roots);
        let mut again = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        again.alpn_protocols = vec![alpn.to_vec()];
        let mut full = again.clone();
        full.resumption = Resumption::disabled();
        Self {
            full: Arc::new(full),
            again: Arc::new(again),
        }
    }
}

impl Callers {
    pub(crate) fn new(
        port: u16,
        roots: Arc<RootCertStore>,
        rate: f64,
        record: &Rc<RefCell<Record>>,
    ) -> Result<Self, Failure> {
        let edge = Edge {
            port,
            name: ServerName::try_from("localhost")?,
            http1: Version::new(&roots, b"http/1.1"),
            http2: Version::new(&roots, b"h2"),
            idle: RefCell::default(),
            shared: RefCell::default(),
            record: Rc::clone(record),
        };
        Ok(Self {
            stop: Rc::default(),
            edge: Rc::new(edge),
            rate,
        })
    }

    /// Calls until it is stopped, then waits for what is left.
    pub(crate) async fn run(self) {
        let Self { stop, edge, rate } = self;
        for _ in 0..SHARED {
            match edge.open_http2(&edge.http2.full).await {
                Ok((shared, _)) => edge.shared.borrow_mut().push(shared),
                Err(problem) => edge
                    .record
                    .borrow_mut()
                    .failed("h2 kept", &problem.to_string()),
            }
        }
        let begin = Instant::now();
        let mut calls = JoinSet::new();
        let mut number = 0;
        while !stop.get() {
            let due = begin + Duration::from_secs_f64(number as f64 / rate);
            if due > Instant::now() {
                sleep_until(due.into()).await;
                continue;
            }
            edge.record.borrow_mut().took("late", due.elapsed());
            calls.spawn_local(Rc::clone(&edge).call(number, due));
            number += 1;
            while calls.try_join_next().is_some() {}
            // Calls that are under way go on even where many are due.
            tokio::task::yield_now().await;
        }
        while calls.join_next().await.is_some() {}
        edge.record.borrow_mut().made = number;
    }
}

impl Edge {
    async fn call(self: Rc<Self>, number: u64, due: Instant) {
        let phase = self.record.borrow().phase.clone();
        let is_new = number.is_multiple_of(ONE_NEW_OF);
        let turn = number / ONE_NEW_OF;
        let (is_http2, resumes) = if is_new {
            (turn % 2 == 1, turn / 2 % 2 == 1)
        } else {
            (number % 2 == 1, false)
        };
        let kind = match (is_http2, is_new, resumes) {
            (false, false, _) => "h1 kept",
            (true, false, _) => "h2 kept",
            (false, true, false) => "h1 new",
            (true, true, false) => "h2 new",
            (false, true, true) => "h1 new, offers its session",
            (true, true, true) => "h2 new, offers its session",
        };
        let call = async {
            match (is_http2, is_new) {
                (false, false) => self.kept_http1().await,
                (true, false) => self.kept_http2(number).await,
                (false, true) => self.new_http1(resumes).await,
                (true, true) => self.new_http2(resumes).await,
            }
        };
        let problem = match timeout(PATIENCE, call).await {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        let mut record = self.record.borrow_mut();
        if let Some(problem) = problem {
            record.failed(kind, &problem);
            return;
        }
        record.took(kind, due.elapsed());
        record.took(&phase, due.elapsed());
    }

    async fn kept_http1(&self) -> Result<(), Failure> {
        let idle = self.idle.borrow_mut().pop_front();
        let mut stream = match idle {
            Some(stream) => stream,
            None => {
                self.record.borrow_mut().kept += 1;
                self.open(&self.http1.full).await?.0
            }
        };
        if exchange(&mut stream).await? {
            self.idle.borrow_mut().push_back(stream);
        } else {
            self.record.borrow_mut().closed += 1;
        }
        Ok(())
    }

    async fn kept_http2(&self, number: u64) -> Result<(), Failure> {
        let turn = usize::try_from(number / 2)? % SHARED;
        let shared = self.shared.borrow().get(turn).cloned();
        ask(shared.ok_or("there is no connection")?).await
    }

    async fn new_http1(&self, resumes: bool) -> Result<(), Failure> {
        let config = if resumes {
            &self.http1.again
        } else {
            &self.http1.full
        };
        let (mut stream, resumed) = self.open(config).await?;
        exchange(&mut stream).await?;
        self.count(resumes, resumed);
        stream.shutdown().await?;
        Ok(())
    }

    async fn new_http2(&self, resumes: bool) -> Result<(), Failure> {
        let config = if resumes {
            &self.http2.again
        } else {
            &self.http2.full
        };
        let (connection, resumed) = self.open_http2(config).await?;
        ask(connection).await?;
        self.count(resumes, resumed);
        Ok(())
    }

    fn count(&self, resumes: bool, resumed: bool) {
        let mut record = self.record.borrow_mut();
        record.offered += u64::from(resumes);
        record.resumed += u64::from(resumed);
    }

    async fn open_http2(
        &self,
        config: &Arc<ClientConfig>,
    ) -> Result<(SendRequest<Bytes>, bool), Failure> {
        let (stream, resumed) = self.open(config).await?;
        let (calls, connection) = h2::client::handshake(stream).await?;
        tokio::task::spawn_local(async move {
            // What ends it fails the calls on it, which are counted.
            let _ = connection.await;
        });
        Ok((calls, resumed))
    }

    /// Opens a connection; tells as well whether its session was an earlier one.
    async fn open(&self, config: &Arc<ClientConfig>) -> Result<(Stream, bool), Failure> {
        let began = Instant::now();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(self.name.clone(), stream).await?;
        let session = stream.get_ref().1;
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.ok_or("no certificate was shown")?;
        self.record.borrow_mut().listener.saw(began, certificate);
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok((stream, resumed))
    }
}

/// One call over HTTP/1.1; returns whether the connection can be kept.
async fn exchange(stream: &mut Stream) -> Result<bool, Failure> {
    stream.write_all(REQUEST).await?;
    stream.flush().await?;
    let mut input = Vec::with_capacity(512);
    let head = loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Err("the connection ended before the answer".into());
        }
        if let Some(end) = outrigger_load::head_end(&input) {
            break end;
        }
    };
    let length = outrigger_load::number(&input[..head], "content-length");
    while input.len() < head + length {
        if stream.read_buf(&mut input).await? == 0 {
            return Err("the connection ended within the answer".into());
        }
    }
    if !input.starts_with(b"HTTP/1.1 200 ") || &input[head..] != b"ok" {
        return Err(String::from_utf8_lossy(&input).into());
    }
    Ok(!outrigger_load::closes(&input[..head]))
}

/// One call over HTTP/2.
async fn ask(connection: SendRequest<Bytes>) -> Result<(), Failure> {
    let request = http::Request::get("https://localhost/").body(())?;
    let (response, _) = connection.ready().await?.send_request(request, true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut content = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        content.extend_from_slice(&data);
    }
    if head.status != 200 || content != b"ok" {
        let content = String::from_utf8_lossy(&content);
        return Err(format!("{}: {content}", head.status).into());
    }
    Ok(())
}

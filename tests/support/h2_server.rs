//! An upstream that speaks HTTP/2, by prior knowledge or TLS, in a thread of its own.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{Request, Response};
use outrigger::tls::server as tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;

use super::PATIENCE;

/// What a request gets.
pub(crate) enum Act {
    /// Its own body and trailers.
    Echo,
    /// This body.
    Reply(u16, &'static str),
    /// A reset of its stream.
    Reset(Reason),
    /// Nothing, until the proxy gives it up.
    Hang,
    /// A farewell to the connection, and then this body.
    Farewell(&'static str),
}

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) requests: Vec<Parts>,
    /// Resets of streams that were left hanging.
    pub(crate) given_up: Vec<Reason>,
}

/// The upstream; ends with its drop.
pub(crate) struct H2Server {
    address: SocketAddr,
    state: Arc<State>,
    _end: oneshot::Sender<()>,
}

impl H2Server {
    /// Starts one whose `n`th request, counted from 0, gets `answer(n, head)`.
    pub(crate) fn start(answer: impl Fn(usize, &Parts) -> Act + Send + 'static) -> Self {
        Self::begin(None, answer)
    }

    /// The same behind TLS.
    pub(crate) fn start_tls(
        tls: tls::Server,
        answer: impl Fn(usize, &Parts) -> Act + Send + 'static,
    ) -> Self {
        Self::begin(Some(tls), answer)
    }

    fn begin(
        tls: Option<tls::Server>,
        answer: impl Fn(usize, &Parts) -> Act + Send + 'static,
    ) -> Self {
        let (end, ended) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let state = Arc::<State>::default();
        let server = Server {
            state: Arc::clone(&state),
            answer: Box::new(answer),
            tls,
        };
        thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().expect("a runtime");
            LocalSet::new().block_on(&runtime, async move {
                let listener = TcpListener::bind("127.0.0.1:0").await;
                let listener = listener.expect("a free port");
                tell.send(listener.local_addr().expect("a bound socket"))
                    .expect("somebody waits");
                tokio::select! {
                    () = server.accept(listener) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            address: told.recv().expect("the thread has begun"),
            state,
            _end: end,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.state.lock()
    }

    /// Waits until `count` hanging streams were given up, and says why they were.
    pub(crate) fn await_given_up(&self, count: usize) -> Vec<Reason> {
        let few = |seen: &mut Seen| seen.given_up.len() < count;
        let State { seen, changed } = &*self.state;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(seen, PATIENCE, few);
        let (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        seen.given_up.clone()
    }
}

#[derive(Default)]
struct State {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answer = Box<dyn Fn(usize, &Parts) -> Act + Send>;

struct Server {
    state: Arc<State>,
    answer: Answer,
    tls: Option<tls::Server>,
}

#[expect(clippy::disallowed_methods, reason = "nobody waits for an upstream")]
fn spawn(task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(task);
}

impl Server {
    async fn accept(self, listener: TcpListener) {
        let server = Rc::new(self);
        while let Ok((stream, _)) = listener.accept().await {
            server.state.lock().connections += 1;
            let server = Rc::clone(&server);
            spawn(async move {
                match &server.tls {
                    None => connection(&server, stream).await,
                    Some(tls) => {
                        if let Ok((stream, _)) = tls.accept(stream).await {
                            connection(&server, stream).await;
                        }
                    }
                }
            });
        }
    }

    async fn serve(
        &self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        farewell: &Notify,
    ) {
        let (head, body) = request.into_parts();
        let act = {
            let mut seen = self.state.lock();
            seen.requests.push(head.clone());
            (self.answer)(seen.requests.len() - 1, &head)
        };
        match act {
            Act::Echo => drop(echo(body, respond).await),
            Act::Reply(status, text) => reply(respond, status, text),
            Act::Reset(reason) => respond.send_reset(reason),
            Act::Hang => {
                let reason = poll_fn(|cx| respond.poll_reset(cx)).await;
                self.state.lock().given_up.extend(reason);
                self.state.changed.notify_all();
            }
            Act::Farewell(text) => {
                farewell.notify_one();
                // So that the farewell is on its way first.
                tokio::task::yield_now().await;
                reply(respond, 200, text);
            }
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(server: &Rc<Server>, stream: S) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let farewell = Rc::new(Notify::new());
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let (server, farewell) = (Rc::clone(server), Rc::clone(&farewell));
                spawn(async move { server.serve(request, respond, &farewell).await });
            }
            () = farewell.notified() => connection.graceful_shutdown(),
        }
    }
}

fn reply(mut respond: SendResponse<Bytes>, status: u16, text: &'static str) {
    let head = Response::builder().status(status).body(());
    let stream = respond.send_response(head.expect("a valid head"), text.is_empty());
    if let (Ok(mut stream), false) = (stream, text.is_empty()) {
        let _ = stream.send_data(Bytes::from_static(text.as_bytes()), true);
    }
}

/// Sends each piece back as it comes.
async fn echo(mut body: RecvStream, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(Response::new(()), false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        stream.send_data(data, false)?;
    }
    match body.trailers().await? {
        Some(trailers) => stream.send_trailers(trailers),
        None => stream.send_data(Bytes::new(), true),
    }
}

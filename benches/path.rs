//! What one request costs on the whole path, over in-memory pipes: time and allocations.
//!
//! Caller, proxy and upstream share one thread, as a worker's tasks do. Caller and upstream are
//! scripted byte for byte and cost little; what they cost is measured too, by connecting them
//! directly, and taken off to give the proxy's own share. No kernel is in these figures: that is
//! what `benches/load` is for.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has nothing better to do than to say so; its output \
              is its purpose"
)]

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use criterion::Criterion;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use outrigger::lifecycle::tasks;
use outrigger::net::Address;
use outrigger::net::Ends;
use outrigger::pool::{Dial, Dialed, Socket, Spoken, Way};
use outrigger::proxy::{Activity, Proxy};
use outrigger::telemetry::access_log::AccessLog;
use outrigger::telemetry::metrics::Metrics;
use outrigger::upstream::resolve::Resolution;
use outrigger::{app, config, listener, time};

/// Room in a pipe, as in a socket: no exchange here fills it.
const PIPE: usize = 64 * 1024;

/// Requests before anything is counted: connections are open and buffers grown by then.
const WARM_UP: u64 = 1_000;

/// Requests over which allocations are counted.
const COUNTED: u64 = 10_000;

/// Every policy at its default, enforcing; no access log, as in `benches/load`.
const CONFIG: &str = "
[access_log]
mode = \"off\"
[upstreams.api]
listen = \"127.0.0.1:0\"
endpoints = [\"http://127.0.0.1:1\"]
";

/// The fields that an ordinary caller sends.
const FIELDS: &str = "host: bench.local\r\n\
    user-agent: bench/1\r\n\
    accept: application/json\r\n\
    accept-encoding: gzip\r\n\
    x-request-id: 4c1f0f0e-52f1-4a55-9f57-0a6a55d1e0ad\r\n\
    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
    authorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef\r\n";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let get = Exchange::new("GET", 0, 128);
    let post = Exchange::new("POST", 1024, 1024);
    let cases = [("GET, 128 B back", get), ("POST of 1 KiB, echoed", post)];

    println!("allocations per request (calls, bytes), over {COUNTED} requests on one connection:");
    for (name, exchange) in &cases {
        let harness = Rig::direct(exchange).allocations();
        let through = Rig::proxied(exchange).allocations();
        println!(
            "  {name}: outrigger {} (harness {harness}, together {through})",
            through.less(&harness)
        );
    }
    println!();

    let mut group = criterion.benchmark_group("path");
    for (name, exchange) in &cases {
        for (way, mut rig) in [
            ("harness alone", Rig::direct(exchange)),
            ("through outrigger", Rig::proxied(exchange)),
        ] {
            group.bench_function(format!("{name}, {way}"), |bencher| {
                bencher.iter_custom(|requests| {
                    let began = time::now();
                    rig.run(requests);
                    time::now().saturating_duration_since(began)
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

/// One request and its response, as bytes.
#[derive(Clone)]
struct Exchange {
    request: Arc<[u8]>,
    request_body: usize,
    response: Arc<[u8]>,
    response_body: usize,
}

impl Exchange {
    fn new(method: &str, request_body: usize, response_body: usize) -> Self {
        let mut request = format!("{method} /items/7 HTTP/1.1\r\n{FIELDS}").into_bytes();
        if request_body > 0 {
            let fields =
                format!("content-type: application/json\r\ncontent-length: {request_body}\r\n");
            request.extend_from_slice(fields.as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.resize(request.len() + request_body, b'y');
        let mut response = format!(
            "HTTP/1.1 200 OK\r\n\
             server: bench\r\n\
             date: Sun, 22 Nov 2026 12:00:00 GMT\r\n\
             content-type: application/json\r\n\
             cache-control: no-store\r\n\
             x-request-id: 7b0ab1a2-5d7c-4a87-a0c8-b9a0c0a6a9b1\r\n\
             content-length: {response_body}\r\n\r\n"
        )
        .into_bytes();
        response.resize(response.len() + response_body, b'x');
        Self {
            request: request.into(),
            request_body,
            response: response.into(),
            response_body,
        }
    }
}

/// Reads messages of a known body length into one buffer.
struct Messages {
    buffer: Vec<u8>,
    filled: usize,
}

impl Messages {
    fn new() -> Self {
        Self {
            buffer: vec![0; PIPE],
            filled: 0,
        }
    }

    /// Reads one message; `Ok(false)` where the other side closed before it.
    async fn next(&mut self, stream: &mut DuplexStream, body: usize) -> io::Result<bool> {
        loop {
            let seen = self.buffer.get(..self.filled).unwrap_or_default();
            let head = seen.windows(4).position(|end| end == b"\r\n\r\n");
            if head.is_some_and(|head| self.filled >= head + 4 + body) {
                // One exchange at a time: there is nothing behind it.
                self.filled = 0;
                return Ok(true);
            }
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match stream.read(room).await? {
                0 => return Ok(false),
                read => self.filled += read,
            }
        }
    }
}

/// Answers every request on one connection.
async fn answer(mut stream: DuplexStream, exchange: Exchange) {
    let mut messages = Messages::new();
    while let Ok(true) = messages.next(&mut stream, exchange.request_body).await {
        if stream.write_all(&exchange.response).await.is_err() {
            return;
        }
    }
}

/// Opens pipes to the scripted upstream, on whatever address.
struct Pipes(Exchange);

impl Dial for Pipes {
    fn dial(&self, _: &Address, _: &Arc<Way>) -> Dialed {
        let (ours, theirs) = duplex(PIPE);
        let exchange = self.0.clone();
        Box::pin(async move {
            tasks::spawn_local("upstream", answer(theirs, exchange));
            Ok(Socket {
                stream: Box::new(ours),
                peek: None,
                protocol: Spoken::Http1,
            })
        })
    }
}

/// One connection of a caller, and what serves it.
struct Rig {
    runtime: LocalRuntime,
    exchange: Exchange,
    stream: DuplexStream,
    messages: Messages,
}

impl Rig {
    /// Caller and upstream, with nothing between.
    fn direct(exchange: &Exchange) -> Self {
        Self::new(exchange, |exchange, theirs| {
            tasks::spawn_local("upstream", answer(theirs, exchange));
        })
    }

    /// The proxy between them, put together as the daemon does it.
    fn proxied(exchange: &Exchange) -> Self {
        Self::new(exchange, |exchange, theirs| {
            let config = config::parse("bench.toml", CONFIG).expect("the configuration is valid");
            let metrics = Metrics::new(1).expect("metrics can be registered");
            let dial: Arc<dyn Dial> = Arc::new(Pipes(exchange));
            let built = app::build_with(&config, 1, &metrics, &dial);
            let built = built.expect("there is nothing to load");
            for (upstream, settings) in built.upstreams.iter().zip(&config.upstreams) {
                Resolution::begin(upstream, &settings.endpoints);
            }
            let log = AccessLog::new(&config.access_log, io::sink(), metrics.access_log());
            let proxy = Rc::new(Proxy {
                worker: 0,
                access_log: Arc::new(log.expect("a log that is off needs nothing")),
                activity: Arc::new(Activity::new(time::now())),
            });
            let listener = built.listeners.first().map(Arc::clone);
            let listener = listener.expect("the upstream listens");
            tasks::spawn_local(
                "connection",
                listener::serve(proxy, listener, theirs, Ends::default()),
            );
        })
    }

    fn new(exchange: &Exchange, serve: impl FnOnce(Exchange, DuplexStream)) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .expect("a runtime can be built");
        let (stream, theirs) = duplex(PIPE);
        let exchange = exchange.clone();
        runtime.block_on(async { serve(exchange.clone(), theirs) });
        let mut rig = Self {
            runtime,
            exchange,
            stream,
            messages: Messages::new(),
        };
        rig.run(WARM_UP);
        rig
    }

    /// Sends so many requests, each after the response to the one before it.
    fn run(&mut self, requests: u64) {
        let Self {
            runtime,
            exchange,
            stream,
            messages,
        } = self;
        runtime.block_on(async {
            for _ in 0..requests {
                stream
                    .write_all(&exchange.request)
                    .await
                    .expect("the connection is kept");
                let answered = messages.next(stream, exchange.response_body).await;
                assert!(answered.is_ok_and(|whole| whole), "no whole response came");
                assert!(
                    messages.buffer.starts_with(b"HTTP/1.1 200 "),
                    "a local reply came"
                );
            }
        });
    }

    fn allocations(mut self) -> Allocations {
        let counted = allocation_counter::measure(|| self.run(COUNTED));
        Allocations {
            calls: counted.count_total,
            bytes: counted.bytes_total,
        }
    }
}

/// Allocations of [`COUNTED`] requests; a reallocation counts as one.
struct Allocations {
    calls: u64,
    bytes: u64,
}

impl Allocations {
    fn less(&self, other: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(other.calls),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl std::fmt::Display for Allocations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of one run are far below 2^52"
        )]
        let each = |total: u64| total as f64 / COUNTED as f64;
        write!(f, "{:.2}, {:.0} B", each(self.calls), each(self.bytes))
    }
}

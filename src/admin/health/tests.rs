use std::sync::Mutex;

use h2::client::SendRequest;

use super::*;
use crate::admin::{Admin, FaultError, FaultOperation, OperateError};
use crate::lifecycle::tasks;
use crate::net::Address;
use crate::resilience::breaker::Operation;
use crate::telemetry::metrics::Metrics;
use crate::upstream::view::sample;

/// A process with an upstream `search`.
struct Process {
    ready: Mutex<Result<(), &'static str>>,
    search: Mutex<UpstreamView>,
}

impl Admin for Process {
    fn views(&self) -> Vec<UpstreamView> {
        vec![self.search.lock().unwrap().clone()]
    }

    fn view(&self, upstream: &str) -> Option<UpstreamView> {
        let mut views = self.views().into_iter();
        views.find(|view| &*view.name == upstream)
    }

    fn ready(&self) -> Result<(), &'static str> {
        *self.ready.lock().unwrap()
    }

    fn operate(&self, _: &str, _: Option<&str>, _: Operation) -> Result<(), OperateError> {
        unreachable!("nobody operates")
    }

    fn fault(&self, _: &str, _: FaultOperation) -> Result<Option<u64>, FaultError> {
        unreachable!("nobody operates")
    }

    fn restore(&self, _: &str, _: &Address) -> Option<bool> {
        unreachable!("nobody operates")
    }
}

/// A server, the process behind it and a client in front of it.
struct Bench {
    process: Arc<Process>,
    client: SendRequest<Bytes>,
}

impl Bench {
    async fn start(watches: usize) -> Self {
        let process = Arc::new(Process {
            ready: Mutex::new(Ok(())),
            search: Mutex::new(sample::plain()),
        });
        let site = Site {
            admin: Arc::clone(&process) as Arc<dyn Admin>,
            metrics: Metrics::new(1).unwrap(),
        };
        let (near, far) = tokio::io::duplex(1 << 16);
        tasks::spawn("server under test", async move {
            let watches = Semaphore::new(watches);
            let _ = serve(far, &site, &watches).await;
        });
        let (client, connection) = h2::client::handshake(near).await.unwrap();
        tasks::spawn("client under test", async move {
            let _ = connection.await;
        });
        Self { process, client }
    }

    /// Sends a request with this body, ended.
    async fn send(&self, request: http::request::Builder, body: Vec<u8>) -> Answer {
        let mut client = self.client.clone().ready().await.expect("a connection");
        let request = request.body(()).unwrap();
        let (response, mut stream) = client.send_request(request, false).unwrap();
        stream.send_data(body.into(), true).unwrap();
        match response.await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Answer::Response(head, body)
            }
            Err(error) => Answer::Reset(error.reason()),
        }
    }

    async fn call(&self, method: &str, service: &str) -> Answer {
        let path = format!("http://a/grpc.health.v1.Health/{method}");
        let request = Request::post(path).header("content-type", "application/grpc");
        self.send(request, asking(service)).await
    }

    async fn check(&self, service: &str) -> Result<ServingStatus, u8> {
        let mut answer = self.call("Check", service).await;
        match answer.status() {
            Some(status) => Err(status),
            None => {
                let status = answer.next().await.expect("a message");
                assert_eq!(answer.trailers().await, 0);
                Ok(status)
            }
        }
    }
}

#[derive(Debug)]
enum Answer {
    Response(http::response::Parts, RecvStream),
    Reset(Option<Reason>),
}

impl Answer {
    fn status(&self) -> Option<u8> {
        let Self::Response(head, body) = self else {
            panic!("{self:?}");
        };
        assert_eq!(head.status, 200);
        assert_eq!(head.headers["content-type"], "application/grpc");
        let status = head.headers.get("grpc-status")?;
        assert!(body.is_end_stream());
        Some(status.to_str().unwrap().parse().unwrap())
    }

    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<ServingStatus> {
        let Self::Response(_, body) = self else {
            panic!("{self:?}");
        };
        let data = body.data().await?.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        let statuses = [
            ServingStatus::Serving,
            ServingStatus::NotServing,
            ServingStatus::ServiceUnknown,
        ];
        statuses.into_iter().find(|status| encode(*status) == data)
    }

    async fn trailers(&mut self) -> u8 {
        let Self::Response(_, body) = self else {
            panic!("{self:?}");
        };
        let trailers = body.trailers().await.unwrap().expect("trailers");
        trailers["grpc-status"].to_str().unwrap().parse().unwrap()
    }
}

fn asking(service: &str) -> Vec<u8> {
    let name = u8::try_from(service.len()).unwrap();
    let message = [&[10, name], service.as_bytes()].concat();
    [&[0, 0, 0, 0, name + 2], &message[..]].concat()
}

#[tokio::test(start_paused = true)]
async fn a_check_says_how_we_are_and_how_an_upstream_is() {
    use ServingStatus::{NotServing, Serving};
    let bench = Bench::start(1).await;
    for name in ["", "outrigger", "search"] {
        assert_eq!(bench.check(name).await, Ok(Serving), "{name}");
    }
    assert_eq!(bench.check("nothing").await, Err(5));

    let breaker = |mode, state| {
        let mut view = sample::plain();
        view.breakers = vec![sample::breaker(None, state)];
        view.breakers[0].mode = mode;
        view
    };
    let mut lonely = sample::plain();
    lonely.endpoints.clear();
    let mut forwards = lonely.clone();
    forwards.targets = Some(Vec::new());
    let mut of_a_route = sample::plain();
    of_a_route.breakers = vec![sample::breaker(Some("edge/v2"), State::Open)];
    for (view, expected) in [
        (breaker(Mode::Enforce, State::Open), NotServing),
        (breaker(Mode::Observe, State::Open), Serving),
        (breaker(Mode::Enforce, State::ForcedOpen), NotServing),
        (breaker(Mode::Enforce, State::HalfOpen), Serving),
        (of_a_route, Serving),
        (lonely, NotServing),
        (forwards, Serving),
    ] {
        let text = format!("{view:?}");
        *bench.process.search.lock().unwrap() = view;
        assert_eq!(bench.check("search").await, Ok(expected), "{text}");
        assert_eq!(bench.check("").await, Ok(Serving));
    }

    *bench.process.ready.lock().unwrap() = Err("starting");
    *bench.process.search.lock().unwrap() = sample::plain();
    for name in ["", "outrigger", "search"] {
        assert_eq!(bench.check(name).await, Ok(NotServing), "{name}");
    }
    assert_eq!(bench.check("nothing").await, Err(5));
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_changes_and_ends_with_the_drain() {
    let bench = Bench::start(3).await;
    let mut ours = bench.call("Watch", "").await;
    let mut search = bench.call("Watch", "search").await;
    let mut nothing = bench.call("Watch", "nothing").await;
    assert_eq!(ours.next().await, Some(ServingStatus::Serving));
    assert_eq!(search.next().await, Some(ServingStatus::Serving));
    assert_eq!(nothing.next().await, Some(ServingStatus::ServiceUnknown));
    // There are as many as may be.
    assert_eq!(bench.call("Watch", "").await.status(), Some(8));

    bench.process.search.lock().unwrap().breakers[0].view.state = State::Open;
    assert_eq!(search.next().await, Some(ServingStatus::NotServing));
    bench.process.search.lock().unwrap().breakers[0].view.state = State::Closed;
    assert_eq!(search.next().await, Some(ServingStatus::Serving));

    *bench.process.ready.lock().unwrap() = Err("draining");
    for watch in [&mut ours, &mut search] {
        assert_eq!(watch.next().await, Some(ServingStatus::NotServing));
        assert_eq!(watch.next().await, None);
        assert_eq!(watch.trailers().await, 14);
    }
    assert_eq!(nothing.next().await, None);
    // Who comes now is told, and not sent away.
    let mut late = bench.call("Watch", "").await;
    assert_eq!(late.next().await, Some(ServingStatus::NotServing));
    let more = timeout(Duration::from_secs(60), late.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_given_up_makes_room() {
    let bench = Bench::start(1).await;
    for _ in 0..3 {
        let mut watch = bench.call("Watch", "").await;
        assert_eq!(watch.next().await, Some(ServingStatus::Serving));
        drop(watch);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_health_check_is_refused_by_name() {
    let bench = Bench::start(1).await;
    let post = |path: &str, kind: &str| {
        let request = Request::post(format!("http://a{path}"));
        request.header("content-type", kind)
    };
    let check = "/grpc.health.v1.Health/Check";
    let (plain, proto) = ("application/grpc", "application/grpc+proto");
    let mut compressed = asking("");
    compressed[0] = 1;
    for (path, kind, body, expected) in [
        (check, proto, asking("nothing"), 5),
        (check, "application/grpc+json", asking(""), 12),
        ("/grpc.health.v1.Health/List", plain, asking(""), 12),
        ("/shop.Cart/Get", plain, asking(""), 12),
        (check, plain, compressed, 12),
        (check, plain, vec![0, 0, 0, 0, 9, 8], 3),
        (check, plain, vec![], 3),
        (check, plain, vec![0; MAX_BODY + 1], 3),
        (
            check,
            plain,
            [&[0, 0, 0, 0xff, 0xff][..], &[0; 9]].concat(),
            8,
        ),
    ] {
        let answer = bench.send(post(path, kind), body).await;
        assert_eq!(answer.status(), Some(expected), "{path} {kind}");
    }
    for kind in ["application/json", "application/grpc-web"] {
        let answer = bench.send(post(check, kind), asking("")).await;
        let Answer::Response(head, _) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(head.status, 415);
    }
    let page = bench.send(Request::get("http://a/metrics"), vec![]).await;
    let Answer::Reset(Some(Reason::HTTP_1_1_REQUIRED)) = page else {
        panic!("{page:?}");
    };
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_is_not_waited_for() {
    let bench = Bench::start(1).await;
    let mut client = bench.client.clone().ready().await.unwrap();
    let request = Request::post("http://a/grpc.health.v1.Health/Check");
    let request = request.header("content-type", "application/grpc");
    let (response, _stream) = client
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    let (head, body) = response.await.unwrap().into_parts();
    assert_eq!(Answer::Response(head, body).status(), Some(4));
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_nobody_ends() {
    let bench = Bench::start(1).await;
    assert_eq!(bench.check("").await, Ok(ServingStatus::Serving));
    crate::time::sleep(CONNECTION_TIMEOUT + HEADER_TIMEOUT).await;
    let ready = bench.client.clone().ready().await;
    assert!(ready.is_err(), "it is still open");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_floods_is_let_go_of() {
    let bench = Bench::start(1).await;
    for nth in 0.. {
        let Ok(mut client) = bench.client.clone().ready().await else {
            assert!(nth > 100, "{nth}");
            return;
        };
        let request = Request::post("http://a/grpc.health.v1.Health/Check");
        let sent = client.send_request(request.body(()).unwrap(), false);
        // Given up at once, over and over.
        drop(sent);
        tokio::task::yield_now().await;
        assert!(nth < 100_000, "it is still open");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_does_not_last_for_ever_whatever_it_asks() {
    let bench = Bench::start(1).await;
    let mut watch = bench.call("Watch", "").await;
    assert_eq!(watch.next().await, Some(ServingStatus::Serving));
    let pause = LOOK * 10;
    for _ in 1..MAX_AGE.as_secs() / pause.as_secs() {
        assert_eq!(bench.check("").await, Ok(ServingStatus::Serving));
        crate::time::sleep(pause).await;
    }
    crate::time::sleep(pause * 2).await;
    assert!(bench.client.clone().ready().await.is_err());
    // It was told why, and may come back.
    assert_eq!(watch.next().await, None);
    assert_eq!(watch.trailers().await, 14);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_watches_stays() {
    let bench = Bench::start(1).await;
    let mut watch = bench.call("Watch", "").await;
    assert_eq!(watch.next().await, Some(ServingStatus::Serving));
    crate::time::sleep(CONNECTION_TIMEOUT * 10).await;
    *bench.process.ready.lock().unwrap() = Err("starting");
    assert_eq!(watch.next().await, Some(ServingStatus::NotServing));
}

use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::lifecycle::tasks;
use crate::net::Bound;
use crate::resilience::breaker::State;
use crate::telemetry::capture;
use crate::upstream::view::sample;

type Operated = (String, Option<String>, Operation);

/// A process with one upstream, whose operations are kept.
struct Process {
    ready: Result<(), &'static str>,
    answer: Result<(), OperateError>,
    operated: Mutex<Vec<Operated>>,
}

impl Admin for Process {
    fn views(&self) -> Vec<UpstreamView> {
        vec![sample::full()]
    }

    fn view(&self, upstream: &str) -> Option<UpstreamView> {
        let mut views = self.views().into_iter();
        views.find(|view| &*view.name == upstream)
    }

    fn ready(&self) -> Result<(), &'static str> {
        self.ready
    }

    fn operate(
        &self,
        upstream: &str,
        route: Option<&str>,
        operation: Operation,
    ) -> Result<(), OperateError> {
        let route = route.map(str::to_owned);
        self.operated
            .lock()
            .unwrap()
            .push((upstream.to_owned(), route, operation));
        self.answer
    }

    /// Of its upstream, one address is ejected.
    fn restore(&self, upstream: &str, endpoint: &crate::net::Address) -> Option<bool> {
        (upstream == "search").then(|| endpoint.to_string() == "127.0.0.1:8080")
    }

    fn fault(&self, _: &str, _: FaultOperation) -> Result<Option<u64>, FaultError> {
        panic!("asked for a fault")
    }
}

/// A server on a port of its own, and the process behind it.
struct Server {
    address: SocketAddr,
    process: Arc<Process>,
}

impl Server {
    fn start(
        surface: Surface,
        ready: Result<(), &'static str>,
        answer: Result<(), OperateError>,
    ) -> Self {
        let process = Arc::new(Process {
            ready,
            answer,
            operated: Mutex::default(),
        });
        let site = Arc::new(Site {
            admin: Arc::clone(&process) as Arc<dyn Admin>,
            metrics: Metrics::new(2).unwrap(),
        });
        let listener = Bound::bind(&([127, 0, 0, 1], 0).into(), 0).unwrap();
        let address = listener.address().unwrap().ip().unwrap();
        tasks::spawn("server under test", async move {
            serve(listener, surface, site).await.unwrap();
        });
        Self { address, process }
    }

    fn metrics() -> Self {
        Self::start(Surface::Metrics, Ok(()), Ok(()))
    }

    fn admin() -> Self {
        Self::start(Surface::Admin, Ok(()), Ok(()))
    }

    /// Sends a head as it is, and reads the answer to its end.
    async fn raw(&self, head: &str) -> Answer {
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    async fn ask(&self, method: &str, target: &str) -> Answer {
        self.ask_as(method, target, "Host: localhost:9901\r\n")
            .await
    }

    async fn ask_as(&self, method: &str, target: &str, fields: &str) -> Answer {
        self.raw(&format!("{method} {target} HTTP/1.1\r\n{fields}\r\n"))
            .await
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

#[tokio::test]
async fn both_listeners_tell_health_and_metrics() {
    for server in [Server::metrics(), Server::admin()] {
        let alive = server.ask("GET", "/livez").await;
        assert_eq!((alive.status, alive.body.as_str()), (200, "ok\n"));
        let ready = server.ask("GET", "/readyz?verbose").await;
        assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
        let metrics = server.ask("GET", "/metrics").await;
        assert_eq!(metrics.status, 200);
        assert!(
            metrics
                .head
                .contains("content-type: text/plain; version=0.0.4"),
            "{metrics:?}"
        );
        assert!(
            metrics.body.contains("\noutrigger_ready 1\n"),
            "{metrics:?}"
        );
        let state = "outrigger_breaker_state{route=\"\",state=\"closed\",upstream=\"search\"} 1\n";
        assert!(metrics.body.contains(state), "{metrics:?}");
    }
}

#[tokio::test]
async fn not_ready_says_why_and_is_alive() {
    for reason in ["starting", "draining"] {
        let server = Server::start(Surface::Metrics, Err(reason), Ok(()));
        let ready = server.ask("GET", "/readyz").await;
        assert_eq!((ready.status, ready.body), (503, format!("{reason}\n")));
        assert_eq!(server.ask("GET", "/livez").await.status, 200);
        let metrics = server.ask("GET", "/metrics").await;
        assert!(metrics.body.contains("\noutrigger_ready 0\n"));
    }
}

#[tokio::test]
async fn head_has_no_body_and_other_methods_are_refused() {
    let server = Server::metrics();
    let head = server.ask("HEAD", "/metrics").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let refused = server.ask(method, "/metrics").await;
        assert_eq!(refused.status, 405, "{method}");
        assert!(refused.head.contains("allow: get, head"), "{refused:?}");
    }
}

#[tokio::test]
async fn the_metrics_listener_serves_nothing_of_the_admin_listener() {
    let server = Server::metrics();
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/status"),
        ("POST", "/upstreams/search/breaker/open"),
        ("GET", "/nothing"),
    ] {
        assert_eq!(
            server.ask(method, target).await.status,
            404,
            "{method} {target}"
        );
    }
    assert!(server.process.operated.lock().unwrap().is_empty());
    // It may face the network under any name.
    let foreign = server
        .ask_as("GET", "/metrics", "Host: pod-7.example:9902\r\n")
        .await;
    assert_eq!(foreign.status, 200);
}

#[tokio::test]
async fn the_page_is_whole_in_itself() {
    let server = Server::admin();
    let page = server.ask("GET", "/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.head.contains("content-type: text/html"),
        "{}",
        page.head
    );
    assert!(
        page.head
            .contains("content-security-policy: default-src 'none'"),
        "{}",
        page.head
    );
    assert!(page.body.contains("fetch(\"/status\""), "polls");
    // No asset and no address but a namespace, which is never fetched.
    let elsewhere = page.body.replace("http://www.w3.org/2000/svg", "");
    for foreign in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!elsewhere.contains(foreign), "{foreign}");
    }
    assert!(!page.body.contains("innerHTML"), "names are shown as text");
}

#[tokio::test]
async fn the_status_is_that_of_the_process() {
    let server = Server::start(Surface::Admin, Err("draining"), Ok(()));
    let answer = server.ask("GET", "/status").await;
    assert_eq!(answer.status, 200);
    let status: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(status["upstreams"][0]["name"], "search");
    assert_eq!(status["reason"], "draining");
    assert!(status["time"].is_string());
}

#[tokio::test]
async fn operations_reach_the_process() {
    let server = Server::admin();
    let target = "/upstreams/search/breaker/trip?reason=drill&route=edge/v2";
    let done = server.ask("POST", target).await;
    assert_eq!((done.status, done.body.as_str()), (200, "done\n"));
    let done = server.ask("POST", "/upstreams/search/breaker/auto").await;
    assert_eq!(done.status, 200);
    let operated = server.process.operated.lock().unwrap().clone();
    assert_eq!(
        operated,
        [
            (
                "search".to_owned(),
                Some("edge/v2".to_owned()),
                Operation::Trip
            ),
            ("search".to_owned(), None, Operation::Reset),
        ]
    );
}

#[tokio::test]
async fn every_operation_leaves_a_line() {
    capture::start();
    let server = Server::start(Surface::Admin, Ok(()), Err(OperateError::NoUpstream));
    let target = "/upstreams/search/breaker/open?for=30s&reason=drill&route=edge/v2";
    assert_eq!(server.ask("POST", target).await.status, 404);
    assert_eq!(
        server
            .ask("POST", "/upstreams/search/breaker/shut")
            .await
            .status,
        400
    );

    let lines = capture::lines("breaker operation");
    let [line] = lines.as_slice() else {
        panic!("one line, not {lines:?}")
    };
    for (field, value) in [
        ("upstream", json!("search")),
        ("route", json!("edge/v2")),
        ("operation", json!("open")),
        ("for_ms", json!(30_000)),
        ("reason", json!("drill")),
        ("outcome", json!("no upstream is named `search`")),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn what_is_not_done_is_explained() {
    let trip = "/upstreams/search/breaker/trip";
    let refused = Refused::State(State::ForcedOpen);
    for (answer, status, problem) in [
        (
            OperateError::NoUpstream,
            404,
            "no upstream is named `search`",
        ),
        (
            OperateError::NoRoute,
            404,
            "`search` has no breaker of a route",
        ),
        (
            OperateError::Refused(refused),
            409,
            "`trip` makes no sense while the breaker is forced_open",
        ),
        (
            OperateError::Refused(Refused::Off),
            409,
            "the breaker is off",
        ),
    ] {
        let server = Server::start(Surface::Admin, Ok(()), Err(answer));
        let refused = server.ask("POST", trip).await;
        assert_eq!(refused.status, status, "{answer:?}");
        assert!(refused.body.contains(problem), "{refused:?}");
    }
    let server = Server::admin();
    let bad = server
        .ask("POST", "/upstreams/search/breaker/open?for=2d")
        .await;
    assert_eq!(bad.status, 400);
    assert!(bad.body.starts_with("`for=2d`: "), "{bad:?}");
    let wrong = server.ask("GET", trip).await;
    assert_eq!(wrong.status, 405);
    assert!(wrong.head.contains("allow: post"), "{wrong:?}");
    assert!(server.process.operated.lock().unwrap().is_empty());
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let server = Server::admin();
    for fields in [
        "Host: localhost\r\n",
        "Host: LOCALHOST:9901\r\n",
        "Host: 127.0.0.1:9901\r\n",
        "Host: 127.1.2.3\r\n",
        "Host: [::1]:9901\r\n",
        "Host: [::1]\r\n",
        "Host: localhost:9901\r\nOrigin: http://localhost:9901\r\n",
    ] {
        let answer = server
            .ask_as("POST", "/upstreams/search/breaker/auto", fields)
            .await;
        assert_eq!(answer.status, 200, "{fields}");
    }
    let allowed = server.process.operated.lock().unwrap().len();
    for fields in [
        "",
        "Host:\r\n",
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: 127.0.0.1.evil.example:9901\r\n",
        "Host: 192.0.2.7:9901\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: localhost:9901\r\nOrigin: http://evil.example\r\n",
        "Host: localhost:9901\r\nOrigin: http://localhost:3000\r\n",
        "Host: localhost:9901\r\nOrigin: https://localhost:9901\r\n",
        "Host: localhost:9901\r\nOrigin: null\r\n",
        "Host: localhost:9901\r\nOrigin: http://localhost:9901\r\nOrigin: http://evil.example\r\n",
    ] {
        for (method, target) in [
            ("POST", "/upstreams/search/breaker/auto"),
            ("GET", "/status"),
        ] {
            let answer = server.ask_as(method, target, fields).await;
            assert_eq!(answer.status, 403, "{method} with {fields}");
        }
    }
    assert_eq!(server.process.operated.lock().unwrap().len(), allowed);
}

#[tokio::test]
async fn a_connection_serves_one_request() {
    let server = Server::metrics();
    let head = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = server.raw(&head.repeat(2)).await;
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    assert_eq!(answer.body, "ok\n", "and no second answer");
}

#[tokio::test]
async fn an_ejection_is_ended_by_a_post_to_the_admin_listener() {
    let server = Server::admin();
    let restore = |upstream: &str, address: &str| {
        format!("/upstreams/{upstream}/endpoints/{address}/restore?reason=replaced")
    };
    for (upstream, address, status, said) in [
        ("search", "127.0.0.1:8080", 200, "done"),
        ("search", "[::1]:8080", 409, "is not ejected"),
        (
            "surch",
            "127.0.0.1:8080",
            404,
            "no upstream is named `surch`",
        ),
        (
            "search",
            "search-a:80",
            400,
            "is not an address with a port",
        ),
    ] {
        let answer = server.ask("POST", &restore(upstream, address)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(said), "{answer:?}");
    }
    let target = restore("search", "127.0.0.1:8080");
    let read = server.ask("GET", &target).await;
    assert_eq!(read.status, 405);
    assert!(read.head.contains("allow: post"), "{read:?}");
    let elsewhere = Server::metrics().ask("POST", &target).await;
    assert_eq!(elsewhere.status, 404);
}

use std::sync::{Arc, Mutex};

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::*;
use crate::admin::operation::target;
use crate::admin::routes::respond;
use crate::admin::{Admin, FaultError, OperateError, Site, Surface, fault};
use crate::resilience::breaker::Operation;
use crate::telemetry::capture;
use crate::telemetry::metrics::Metrics;
use crate::upstream::view::UpstreamView;

const MINUTE: Duration = Duration::from_secs(60);

fn settings(action: Action) -> Settings {
    Settings {
        action,
        share: WHOLE,
        methods: Vec::new(),
        path_prefix: None,
        header: None,
        counted: false,
    }
}

fn parse(action: &str, query: &str) -> Result<Command, String> {
    let path = format!("/upstreams/s%C3%A9arch/fault/{action}");
    Command::parse(
        target(&path, "fault").expect("the path of an operation"),
        query,
    )
}

#[test]
fn every_action_has_its_parameter() {
    for (name, query, action) in [
        ("delay", "&delay=200ms", Action::Delay(MINUTE / 300)),
        ("abort", "&status=200", Action::Abort(200)),
        ("abort", "&status=599", Action::Abort(599)),
        ("reset", "", Action::Reset),
        ("truncate", "&after=1KiB", Action::Truncate(1024)),
        ("truncate", "&after=0B", Action::Truncate(0)),
        ("slow-body", "&rate=1B", Action::SlowBody(1)),
    ] {
        let command = parse(name, &format!("for=60s{query}")).unwrap();
        assert_eq!(command.upstream, "séarch");
        assert_eq!((command.action, command.reason), (name, None));
        let settings = settings(action);
        let lasts = MINUTE;
        assert_eq!(
            command.operation,
            FaultOperation::Inject { settings, lasts }
        );
    }
    for (query, id) in [("", None), ("id=7", Some(7))] {
        let command = parse("clear", query).unwrap();
        assert_eq!(command.action, "clear");
        assert_eq!(command.operation, FaultOperation::Clear(id));
    }
    assert_eq!(
        parse("clear", "reason=over").unwrap().reason.unwrap(),
        "over"
    );
}

#[test]
fn conditions_are_read() {
    let query = "for=24h&share=0.00001&method=GET&method=PURGE&path_prefix=/v2/&counted=true\
        &header=X-Game-Day:+a:b&reason=game%0Aday";
    let command = parse("reset", query).unwrap();
    let expected = Settings {
        share: 1,
        methods: vec!["GET".into(), "PURGE".into()],
        path_prefix: Some("/v2".into()),
        header: Some(("x-game-day".into(), "a:b".into())),
        counted: true,
        ..settings(Action::Reset)
    };
    let lasts = 24 * 60 * MINUTE;
    assert_eq!(
        command.operation,
        FaultOperation::Inject {
            settings: expected,
            lasts
        }
    );
    assert_eq!(command.reason.as_deref(), Some("game day"));
    for (text, share) in [
        ("1", WHOLE),
        ("1.0", WHOLE),
        ("0.1", 10_000),
        ("0.333333", 33_333),
    ] {
        let command = parse("reset", &format!("for=1s&share={text}&path_prefix=/")).unwrap();
        let FaultOperation::Inject { settings, .. } = command.operation else {
            panic!("{text}")
        };
        assert_eq!(
            (settings.share, settings.path_prefix),
            (share, None),
            "{text}"
        );
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (action, query, problem) in [
        ("break", "for=1s", "unknown operation `break`: use delay, "),
        ("reset", "", "a fault always ends"),
        ("reset", "for=0s", "`for=0s`: a fault lasts for some time"),
        ("reset", "for=1441m", "at most 24h"),
        ("reset", "for=30", "`for=30`: "),
        (
            "delay",
            "for=1s",
            "`delay` needs `delay`, such as `delay=200ms`",
        ),
        (
            "abort",
            "for=1s",
            "`abort` needs `status`, such as `status=503`",
        ),
        ("truncate", "for=1s", "`truncate` needs `after`"),
        ("slow-body", "for=1s", "`slow-body` needs `rate`"),
        ("delay", "for=1s&delay=0s", "`delay=0s`: "),
        ("delay", "for=1s&delay=1.5s", "`delay=1.5s`: "),
        ("abort", "for=1s&status=199", "`status=199`: "),
        ("abort", "for=1s&status=600", "`status=600`: "),
        ("abort", "for=1s&status=-1", "`status=-1`: "),
        ("truncate", "for=1s&after=1k", "`after=1k`: "),
        ("slow-body", "for=1s&rate=0B", "`rate=0B`: "),
        (
            "reset",
            "for=1s&delay=1s",
            "unknown parameter `delay`: use for, ",
        ),
        (
            "delay",
            "for=1s&status=503",
            "unknown parameter `status`: use delay, for, ",
        ),
        ("reset", "for=1s&share=0", "`share=0`: "),
        ("reset", "for=1s&share=1.1", "`share=1.1`: "),
        ("reset", "for=1s&share=-0.5", "`share=-0.5`: "),
        ("reset", "for=1s&share=NaN", "`share=NaN`: "),
        ("reset", "for=1s&share=10%25", "`share=10%`: "),
        ("reset", "for=1s&method=get", "`method=get`: "),
        ("reset", "for=1s&method=", "`method=`: "),
        ("reset", "for=1s&path_prefix=v2", "`path_prefix=v2`: "),
        ("reset", "for=1s&path_prefix=/a?b", "`path_prefix=/a?b`: "),
        ("reset", "for=1s&header=x-a", "`header`: "),
        ("reset", "for=1s&header=x+a:1", "`header`: "),
        ("reset", "for=1s&header=x-a:%00", "`header`: "),
        ("reset", "for=1s&counted=yes", "`counted=yes`: "),
        ("clear", "id=x", "`id=x`: "),
        (
            "clear",
            "for=1s",
            "unknown parameter `for`: use id or reason",
        ),
    ] {
        let answer = parse(action, query).unwrap_err();
        assert!(answer.contains(problem), "{action}?{query}: {answer}");
    }
}

/// A process that keeps what it is asked for.
struct Process {
    answer: Result<Option<u64>, FaultError>,
    asked: Mutex<Vec<(String, FaultOperation)>>,
}

impl Admin for Process {
    fn views(&self) -> Vec<UpstreamView> {
        Vec::new()
    }

    fn view(&self, upstream: &str) -> Option<UpstreamView> {
        let mut views = self.views().into_iter();
        views.find(|view| &*view.name == upstream)
    }

    fn ready(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn operate(&self, _: &str, _: Option<&str>, _: Operation) -> Result<(), OperateError> {
        panic!("asked for a breaker operation")
    }

    fn fault(&self, name: &str, operation: FaultOperation) -> Result<Option<u64>, FaultError> {
        self.asked.lock().unwrap().push((name.into(), operation));
        self.answer
    }

    fn restore(&self, _: &str, _: &crate::net::Address) -> Option<bool> {
        panic!("asked to restore an endpoint")
    }
}

/// Sends one request; returns status, body, and how often the process was asked.
async fn send(
    answer: Result<Option<u64>, FaultError>,
    surface: Surface,
    method: &str,
    target: &str,
) -> (StatusCode, String, Vec<(String, FaultOperation)>) {
    let process = Arc::new(Process {
        answer,
        asked: Mutex::default(),
    });
    let site = Site {
        admin: Arc::clone(&process) as Arc<dyn Admin>,
        metrics: Metrics::new(1).unwrap(),
    };
    let peer = "127.0.0.1:7";
    let request = Request::builder().method(method).uri(target);
    let request = request.header("host", "localhost:9901").body(()).unwrap();
    let response = respond(surface, &site, peer, &request);
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let asked = process.asked.lock().unwrap().clone();
    (status, body, asked)
}

const ABORT: &str = "/upstreams/search/fault/abort?for=60s&status=503&share=0.5&reason=drill\
    &header=authorization:secret";

#[tokio::test]
async fn commands_reach_the_process_and_are_answered() {
    let (status, body, asked) = send(Ok(Some(7)), Surface::Admin, "POST", ABORT).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "done: fault 7\n"));
    let expected = FaultOperation::Inject {
        settings: Settings {
            share: WHOLE / 2,
            header: Some(("authorization".into(), "secret".into())),
            ..settings(Action::Abort(503))
        },
        lasts: MINUTE,
    };
    assert_eq!(asked, [("search".to_owned(), expected)]);
    let clear = "/upstreams/search/fault/clear";
    let (status, body, asked) = send(Ok(None), Surface::Admin, "POST", clear).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "done\n"));
    assert_eq!(asked, [("search".to_owned(), FaultOperation::Clear(None))]);
}

#[tokio::test]
async fn what_is_not_done_is_explained() {
    let clear = "/upstreams/search/fault/clear?id=9";
    for (answer, target, status, problem) in [
        (
            FaultError::NoUpstream,
            ABORT,
            StatusCode::NOT_FOUND,
            "no upstream is named `search`",
        ),
        (
            FaultError::NoFault,
            clear,
            StatusCode::NOT_FOUND,
            "has no fault 9",
        ),
        (
            FaultError::Full,
            ABORT,
            StatusCode::CONFLICT,
            "has 16 faults already",
        ),
    ] {
        let (found, body, _) = send(Err(answer), Surface::Admin, "POST", target).await;
        assert_eq!(found, status, "{answer:?}");
        assert!(body.contains(problem), "{body}");
    }
    for (surface, method, target, status) in [
        (Surface::Admin, "GET", ABORT, StatusCode::METHOD_NOT_ALLOWED),
        (
            Surface::Admin,
            "POST",
            "/upstreams/s/fault/abort",
            StatusCode::BAD_REQUEST,
        ),
        (
            Surface::Admin,
            "POST",
            "/upstreams/s/fault",
            StatusCode::NOT_FOUND,
        ),
        (Surface::Metrics, "POST", ABORT, StatusCode::NOT_FOUND),
    ] {
        let (found, _, asked) = send(Ok(None), surface, method, target).await;
        assert_eq!((found, asked), (status, Vec::new()), "{method} {target}");
    }
}

#[tokio::test]
async fn every_command_leaves_a_line_without_the_value_of_a_field() {
    capture::start();
    send(Ok(Some(7)), Surface::Admin, "POST", ABORT).await;
    let lines = capture::lines("fault operation");
    let [line] = lines.as_slice() else {
        panic!("one line, not {lines:?}")
    };
    for (field, value) in [
        ("upstream", json!("search")),
        ("operation", json!("abort")),
        ("fault", json!(7)),
        ("share", json!(0.5)),
        ("counted", json!(false)),
        ("for_ms", json!(60_000)),
        ("reason", json!("drill")),
        ("peer", json!("127.0.0.1:7")),
        ("outcome", json!("done: fault 7")),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
    assert!(!line.to_string().contains("secret"));

    let clear = "/upstreams/search/fault/clear?id=9";
    send(Err(FaultError::NoFault), Surface::Admin, "POST", clear).await;
    let lines = capture::lines("fault operation");
    assert_eq!(
        (&lines[0]["fault"], &lines[0]["share"]),
        (&json!(9), &Value::Null)
    );
}

#[test]
fn the_faults_of_an_upstream_begin_and_end() {
    let text = "[upstreams.search]\nlisten = '127.0.0.1:9001'\nendpoints = ['http://127.0.0.1:1']";
    let config = config::parse("test", text).unwrap();
    let upstreams = crate::app::build(&config, 1, &Metrics::new(1).unwrap())
        .unwrap()
        .upstreams;
    let faults = || upstreams[0].faults.view(crate::time::now());
    let inject = || FaultOperation::Inject {
        settings: settings(Action::Reset),
        lasts: MINUTE,
    };
    let operate = |name, operation| fault(&upstreams, name, operation);

    assert_eq!(operate("other", inject()), Err(FaultError::NoUpstream));
    let first = operate("search", inject()).unwrap().unwrap();
    let second = operate("search", inject()).unwrap().unwrap();
    assert!(faults().iter().map(|fault| fault.id).eq([first, second]));
    assert!(faults()[0].remaining <= MINUTE);

    let clear = FaultOperation::Clear;
    assert_eq!(operate("search", clear(Some(first))), Ok(None));
    assert_eq!(
        operate("search", clear(Some(first))),
        Err(FaultError::NoFault)
    );
    assert!(faults().iter().map(|fault| fault.id).eq([second]));
    assert_eq!(operate("search", clear(None)), Ok(None));
    assert_eq!(
        operate("search", clear(None)),
        Ok(None),
        "as often as one likes"
    );
    assert!(faults().is_empty());

    for _ in 0..16 {
        operate("search", inject()).unwrap();
    }
    assert_eq!(operate("search", inject()), Err(FaultError::Full));
}

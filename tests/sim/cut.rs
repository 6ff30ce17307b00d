//! A request is cut off at every step of its way, and nothing of it remains.
//!
//! Each scenario runs once per poll of the future under test: it is cut after its `n`th poll, or
//! when it is woken for one more, for n = 0, 1, 2, … until it completes.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outrigger::lifecycle::tasks;
use outrigger::pool::{Inbound, Upload};
use outrigger::resilience::breaker::{Operation, State};
use outrigger::time;
use tokio::io::DuplexStream;
use tokio::sync::{Notify, oneshot};

use crate::caller::{Caller, get, post};
use crate::upstream::{Reach, Step, Upstream, dripping, ms, ok, ok_after, send};
use crate::world::{World, simulate};

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The future of the request path and its body, without a listener.
    Handle,
    /// The future that serves the connection.
    Connection,
    /// The caller's end of the pipe.
    Caller,
}

/// When, counted in polls.
#[derive(Clone, Copy, Debug)]
struct Moment {
    polls: usize,
    /// Not at once after the last poll, but when the next one is due: what was granted in between
    /// has not been taken.
    woken: bool,
}

/// A situation in which a request is cut.
pub(crate) struct Scenario {
    pub(crate) settings: &'static str,
    /// The upstream of each run.
    pub(crate) script: fn() -> Upstream,
    /// What happens before; the flag counts other requests in flight.
    pub(crate) before: fn(&World, &Rc<Cell<usize>>),
    /// How long after that the request comes.
    pub(crate) after: Duration,
    /// Written by the caller, with pauses.
    pub(crate) request: Vec<(Duration, String)>,
    /// The status where nothing is cut.
    pub(crate) status: u16,
    /// How long after the cut nothing may be left of it.
    pub(crate) within: Duration,
    /// What must hold beside the rest when it is over.
    pub(crate) afterwards: fn(&World),
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            settings: "",
            script: || Upstream::new(|_| ok()),
            before: |_, _| {},
            after: ms(1),
            request: vec![(Duration::ZERO, get("/subject"))],
            status: 200,
            within: ms(1),
            afterwards: |_| {},
        }
    }
}

impl Scenario {
    pub(crate) fn check(self) {
        for way in [Way::Handle, Way::Connection, Way::Caller] {
            for woken in [false, true] {
                let mut polls = 0;
                // `None` where the cut came in time.
                let whole = loop {
                    let moment = Moment { polls, woken };
                    println!("{way:?} {moment:?}");
                    if let Some(status) = simulate(7, self.run(way, moment)) {
                        break status;
                    }
                    polls += 1;
                    assert!(polls < 500, "it never ends");
                };
                assert_eq!(whole, self.status, "{way:?}");
                assert!(polls >= 2, "{way:?}: only {polls} polls");
            }
        }
    }

    /// The status that the caller got, if the request was not cut.
    async fn run(&self, way: Way, moment: Moment) -> Option<u16> {
        let world = World::new(self.settings, &(self.script)());
        let others = Rc::new(Cell::new(0));
        (self.before)(&world, &others);
        time::sleep(self.after).await;
        let status = match way {
            Way::Handle => self.cut_handle(&world, moment).await,
            Way::Connection => self.cut_connection(&world, moment, false).await,
            Way::Caller => self.cut_connection(&world, moment, true).await,
        };
        time::sleep(self.within).await;
        world.check(others.get());
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(others.get(), 0);
        world.check_nothing_held();
        (self.afterwards)(&world);
        world.end().await;
        status
    }

    /// Writes the request.
    async fn write(&self, caller: &mut Caller) {
        for (pause, text) in &self.request {
            time::sleep(*pause).await;
            caller.write(text).await;
        }
    }

    async fn cut_handle(&self, world: &World, moment: Moment) -> Option<u16> {
        let (near, far) = tokio::io::duplex(1024);
        let parsed = parsed(far);
        let mut writer = Caller::new(near);
        let request = self.request.clone();
        tasks::spawn_local("caller", async move {
            for (pause, text) in request {
                time::sleep(pause).await;
                writer.write(text).await;
            }
            writer.closed().await;
        });
        let request = parsed.await.expect("the request is whole");
        let caller = world.direct();
        let watch = Rc::clone(&caller.watch);
        let work = async {
            let Ok(response) = caller
                .handle(request.map(|body| Upload::new(Inbound::Http1(body))))
                .await;
            let status = response.status().as_u16();
            let mut body = response.into_body();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                assert!(frame.is_ok());
            }
            status
        };
        let driven = async {
            let work = pin!(work);
            time::drive(&watch.alarm, work, |now| watch.overdue(now)).await
        };
        let cut = Cut::new(driven, moment);
        cut.await
            .map(|status| status.expect("no timer of the connection ends it"))
    }

    async fn cut_connection(&self, world: &World, moment: Moment, caller: bool) -> Option<u16> {
        let (near, served) = world.pipe();
        let cut = Rc::new(Notify::new());
        let cut_served = Rc::clone(&cut);
        tasks::spawn_local("connection", async move {
            let mut served = pin!(served);
            let whole = Cut::new(served.as_mut(), moment).await.is_some();
            // Otherwise it is dropped here, with the task.
            if caller && !whole {
                cut_served.notify_one();
                served.await;
            }
        });
        let mut near = Caller::new(near);
        let exchange = async {
            self.write(&mut near).await;
            near.response().await
        };
        let got = tokio::select! {
            biased;
            () = cut.notified() => return None,
            got = exchange => got,
        };
        got.whole.then_some(got.status)
    }
}

/// Parses the one request that comes over `stream`.
fn parsed(stream: DuplexStream) -> oneshot::Receiver<Request<Incoming>> {
    let (sender, receiver) = oneshot::channel();
    tasks::spawn_local("parser", async move {
        let sender = Cell::new(Some(sender));
        let service = service_fn(|request: Request<Incoming>| {
            if let Some(sender) = sender.take() {
                drop(sender.send(request));
            }
            // The response goes to the test and not to the wire.
            std::future::pending::<Result<http::Response<String>, std::io::Error>>()
        });
        let parser = hyper::server::conn::http1::Builder::new();
        drop(parser.serve_connection(TokioIo::new(stream), service).await);
    });
    receiver
}

/// Polls a future so many times and then drops it: gives `None`, or what it completed with before.
struct Cut<F> {
    work: Option<Pin<Box<F>>>,
    moment: Moment,
}

impl<F: Future> Cut<F> {
    fn new(work: F, moment: Moment) -> Self {
        Self {
            work: Some(Box::pin(work)),
            moment,
        }
    }
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.moment.polls > 0 {
            self.moment.polls -= 1;
            let work = self.work.as_mut().expect("it has not ended");
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if self.moment.polls > 0 || self.moment.woken {
                return Poll::Pending;
            }
        }
        self.work = None;
        Poll::Ready(None)
    }
}

/// A request of somebody else.
pub(crate) fn other(world: &World, others: &Rc<Cell<usize>>) {
    let mut caller = world.caller();
    let others = Rc::clone(others);
    others.set(others.get() + 1);
    tasks::spawn_local("other", async move {
        assert!(caller.get("/other").await.whole);
        others.set(others.get() - 1);
    });
}

/// Answers others after 50 ms and the subject at once.
pub(crate) fn others_are_slow() -> Upstream {
    Upstream::new(|arrived| match arrived.path() {
        "/other" => ok_after(ms(50)),
        _ => ok(),
    })
}

#[test]
fn in_the_queue_of_the_bulkhead() {
    let scenario = Scenario {
        settings: "[upstreams.u.bulkhead]\nmax_requests = 1",
        script: others_are_slow,
        before: other,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn in_the_queue_of_the_bulkhead_until_the_time_is_over() {
    let scenario = Scenario {
        settings: "[upstreams.u.bulkhead]\nmax_requests = 1\nqueue_timeout = \"30ms\"",
        script: others_are_slow,
        before: other,
        status: 503,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn in_the_queue_of_the_pool() {
    let scenario = Scenario {
        settings: "[upstreams.u.bulkhead]\nmax_connections = 1",
        script: others_are_slow,
        before: other,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn among_others_in_both_queues() {
    let scenario = Scenario {
        settings: "[upstreams.u.bulkhead]\nmax_requests = 2\nmax_connections = 1\n\
                   queue_timeout = \"500ms\"",
        script: others_are_slow,
        before: |world, others| (0..4).for_each(|_| other(world, others)),
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn while_dialling() {
    let scenario = Scenario {
        script: || Upstream::new(|_| ok()).reached(|| Reach::Never),
        status: 504,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn while_dialling_slowly() {
    let scenario = Scenario {
        script: || Upstream::new(|_| ok()).reached(|| Reach::After(ms(20))),
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn while_being_refused() {
    let scenario = Scenario {
        script: || Upstream::new(|_| ok()).reached(|| Reach::Refused(ms(20))),
        status: 502,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn before_the_response_head() {
    let scenario = Scenario {
        script: || Upstream::new(|_| ok_after(ms(500))),
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn before_a_response_head_that_comes_too_late() {
    let scenario = Scenario {
        settings: "[upstreams.u.timeouts]\nfirst_byte = \"300ms\"",
        script: || Upstream::new(|_| ok_after(ms(500))),
        status: 504,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn during_an_upload() {
    let scenario = Scenario {
        request: vec![
            (Duration::ZERO, post("/subject", 10)),
            (ms(50), "01234".to_owned()),
            (ms(200), "56789".to_owned()),
        ],
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn during_an_upload_that_was_answered_early() {
    let scenario = Scenario {
        script: || {
            Upstream::new(|_| {
                vec![
                    send("HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nlo"),
                    Step::Sleep(ms(20)),
                    send("ng"),
                    Step::Hang,
                ]
            })
        },
        request: vec![
            (Duration::ZERO, post("/subject", 10)),
            (ms(5), "01234".to_owned()),
        ],
        status: 413,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn during_the_response_body() {
    let scenario = Scenario {
        script: || Upstream::new(|_| dripping(5, ms(100))),
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn around_a_dead_connection() {
    let scenario = Scenario {
        script: || {
            Upstream::new(|arrived| match (arrived.path(), arrived.nth) {
                ("/subject", 1) => vec![Step::Sleep(ms(10)), Step::Close],
                ("/subject", _) => ok_after(ms(10)),
                _ => ok(),
            })
        },
        before: other,
        ..Scenario::default()
    };
    scenario.check();
}

#[test]
fn as_a_probe() {
    let scenario = Scenario {
        settings: "[upstreams.u.breaker]\nopen_jitter = 0.0",
        script: || {
            Upstream::new(|_| {
                let mut steps = dripping(3, ms(100));
                steps.insert(1, Step::Sleep(ms(100)));
                steps
            })
        },
        before: |world, _| {
            let tripped = world.upstream.breaker.operate(Operation::Trip, time::now());
            assert_eq!(tripped, Ok(()));
            assert_eq!(world.breaker().state, State::Open);
        },
        after: Duration::from_secs(5),
        ..Scenario::default()
    };
    scenario.check();
}

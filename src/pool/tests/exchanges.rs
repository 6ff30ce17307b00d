//! What goes over a stream, and how that can fail.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response, Version};

use super::support::{
    Bench, Script, download, exchange, read, request, settings, settle, simulate, upload,
};
use crate::pool::{Interim, SendError, Upload, UploadObserver};
use crate::time;

const SOON: Duration = Duration::from_millis(10);

/// Resets every stream for this reason.
fn resets(reason: Reason) -> Script {
    Script::new(move |_, mut respond| async move { respond.send_reset(reason) })
}

#[test]
fn a_head_is_put_as_http2_has_it() {
    simulate(async {
        let seen = Arc::new(Mutex::new(None));
        let see = Arc::clone(&seen);
        let bench = Bench::new(
            settings(1),
            Script::new(move |request, mut respond| {
                *see.lock().unwrap() = Some(request.into_parts().0);
                async move {
                    let _ = respond.send_response(Response::new(()), true);
                }
            }),
        );
        let mut connection = bench.get().await.unwrap();
        let mut request = request(Upload::empty());
        *request.uri_mut() = "/a?b=c".parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("te", "gzip, Trailers".parse().unwrap());
        headers.insert("connection", "te".parse().unwrap());
        headers.insert("x-mine", "1".parse().unwrap());
        connection.send(request).await.unwrap();
        let head = seen.lock().unwrap().take().unwrap();
        assert_eq!(head.uri, "http://u.test/a?b=c");
        assert_eq!(head.version, Version::HTTP_2);
        let mut names: Vec<_> = head.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["te", "x-mine"]);
        assert_eq!(head.headers["te"], "trailers");
    });
}

#[test]
fn a_refused_request_comes_back() {
    simulate(async {
        let bench = Bench::new(settings(1), resets(Reason::REFUSED_STREAM));
        let mut one = bench.get().await.unwrap();
        let sent = one.send(request(Upload::empty())).await;
        let Err(SendError::Refused(Some(back))) = sent else {
            panic!("{sent:?}", sent = sent.map(|_| ()))
        };
        assert!(back.headers().contains_key("host"));
        drop(one);
        // So does one with a body of which nothing was sent.
        let (_body, upload) = upload(65_535).await;
        let mut two = bench.get().await.unwrap();
        let sent = two.send(request(upload)).await;
        let Err(SendError::Refused(Some(back))) = sent else {
            panic!("{sent:?}", sent = sent.map(|_| ()))
        };
        assert!(!back.body().is_empty());
        drop(two);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn a_refused_request_whose_body_was_begun_does_not_come_back() {
    simulate(async {
        let script = Script::new(|request, mut respond| async move {
            let mut body = request.into_body();
            let _ = body.data().await;
            respond.send_reset(Reason::REFUSED_STREAM);
        });
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let (mut body, upload) = upload(65_535).await;
        body.send_data(Bytes::from_static(b"begun"), false).unwrap();
        let sent = one.send(request(upload)).await;
        assert!(matches!(sent, Err(SendError::Refused(None))));
    });
}

#[test]
fn other_resets_are_answers_of_a_kind() {
    simulate(async {
        let bench = Bench::new(settings(1), resets(Reason::INTERNAL_ERROR));
        let mut one = bench.get().await.unwrap();
        let failed = exchange(&mut one).await.unwrap_err();
        assert!(matches!(failed, SendError::Reset { answered: true }));
        drop(one);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn lengths_that_contradict_each_other_are_no_answer() {
    simulate(async {
        let script = Script::new(|_, mut respond| async move {
            let response = Response::builder()
                .header("content-length", "1")
                .header("content-length", "2");
            let _ = respond.send_response(response.body(()).unwrap(), true);
        });
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let failed = exchange(&mut one).await.unwrap_err();
        assert!(matches!(failed, SendError::Invalid));
    });
}

#[test]
fn an_abandoned_exchange_resets_its_stream_alone() {
    simulate(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let see = Arc::clone(&seen);
        let bench = Bench::new(
            settings(1),
            Script::new(move |request, mut respond| {
                let see = Arc::clone(&see);
                async move {
                    if request.uri().path() == "/quick" {
                        time::sleep(SOON).await;
                        let _ = respond.send_response(Response::new(()), true);
                        return;
                    }
                    let reason = poll_fn(|cx| respond.poll_reset(cx)).await;
                    see.lock().unwrap().push(reason.unwrap());
                }
            }),
        );
        for turns in 0..12 {
            let mut gone = bench.get().await.unwrap();
            let mut stays = bench.get().await.unwrap();
            let mut quick = request(Upload::empty());
            *quick.uri_mut() = "/quick".parse().unwrap();
            let stays = async move { stays.send(quick).await.unwrap().status() };
            let leaves = async {
                {
                    let mut sent = std::pin::pin!(gone.send(request(Upload::empty())));
                    for _ in 0..turns {
                        let polled = futures_util::poll!(sent.as_mut());
                        assert!(polled.is_pending());
                        tokio::task::yield_now().await;
                    }
                }
                drop(gone);
            };
            let (status, ()) = tokio::join!(stays, leaves);
            assert_eq!(status, 200);
            settle().await;
            bench.check(1);
        }
        let seen = seen.lock().unwrap();
        assert!(!seen.is_empty());
        assert!(
            seen.iter().all(|reason| *reason == Reason::CANCEL),
            "{seen:?}"
        );
    });
}

#[test]
fn bodies_and_trailers_go_both_ways() {
    simulate(async {
        let script = Script::new(|request, mut respond| async move {
            let (body, trailers) = read(request.into_body()).await.unwrap();
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            send.send_data(body.into(), false).unwrap();
            send.send_trailers(trailers.unwrap()).unwrap();
        });
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let (mut body, upload) = upload(65_535).await;
        body.send_data(Bytes::from_static(b"whole"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "5".parse().unwrap());
        body.send_trailers(trailers).unwrap();
        let response = one.send(request(upload)).await.unwrap();
        let (bytes, trailers) = download(response.into_body()).await.unwrap();
        assert_eq!(bytes, b"whole");
        assert_eq!(trailers.unwrap()["x-sum"], "5");
        one.checkin(time::now());
        settle().await;
        bench.check(1);
    });
}

/// Counts what passes.
#[derive(Default)]
struct Passed(AtomicUsize);

impl UploadObserver for Passed {
    fn waiting(&self) {}

    fn passed(&self, bytes: usize, _: bool) {
        self.0.fetch_add(bytes, Relaxed);
    }

    fn broken(&self, _: bool) {}
}

#[test]
fn an_upstream_that_does_not_read_holds_the_caller_back() {
    simulate(async {
        let mut script = Script::new(|request, mut respond| async move {
            time::sleep(Duration::from_secs(5)).await;
            let (body, _) = read(request.into_body()).await.unwrap();
            let head = Response::builder().header("x-length", body.len());
            let _ = respond.send_response(head.body(()).unwrap(), true);
        });
        script.window = 1000;
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let (mut body, mut upload) = upload(1000).await;
        let passed = Arc::new(Passed::default());
        upload.observe(Arc::clone(&passed) as _);
        body.send_data(Bytes::from(vec![0; 100_000]), true).unwrap();
        let (response, ()) = tokio::join!(one.send(request(upload)), async {
            time::sleep(Duration::from_secs(4)).await;
            // What the upstream allows, and one piece more.
            assert!(passed.0.load(Relaxed) <= 2000);
        });
        assert_eq!(response.unwrap().headers()["x-length"], "100000");
    });
}

#[test]
fn an_early_answer_is_read_while_the_upload_goes_on() {
    simulate(async {
        let script = Script::new(|request, mut respond| async move {
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            let (body, _) = read(request.into_body()).await.unwrap();
            send.send_data(body.into(), true).unwrap();
        });
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let (mut body, upload) = upload(65_535).await;
        let response = one.send(request(upload)).await.unwrap();
        assert_eq!(response.status(), 200);
        time::sleep(SOON).await;
        body.send_data(Bytes::from_static(b"late"), true).unwrap();
        let (bytes, _) = download(response.into_body()).await.unwrap();
        assert_eq!(bytes, b"late");
        drop(one);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn an_upload_that_nobody_wants_any_more_is_broken_off() {
    simulate(async {
        let reset = Arc::new(Mutex::new(None));
        let see = Arc::clone(&reset);
        let script = Script::new(move |request, mut respond| {
            let see = Arc::clone(&see);
            async move {
                let _ = respond.send_response(Response::new(()), true);
                *see.lock().unwrap() = Some(read(request.into_body()).await.unwrap_err());
            }
        });
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let (_body, upload) = upload(65_535).await;
        let response = one.send(request(upload)).await.unwrap();
        download(response.into_body()).await.unwrap();
        drop(one);
        settle().await;
        let reset = reset.lock().unwrap().take().unwrap();
        assert_eq!(reset.reason(), Some(Reason::CANCEL));
        bench.check(1);
    });
}

#[test]
fn a_caller_that_breaks_off_breaks_the_stream_off() {
    simulate(async {
        let script = Script::new(|request, _respond| async move {
            let failed = read(request.into_body()).await.unwrap_err();
            assert_eq!(failed.reason(), Some(Reason::CANCEL));
        });
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let (mut body, upload) = upload(65_535).await;
        body.send_data(Bytes::from_static(b"part"), false).unwrap();
        let (sent, ()) = tokio::join!(one.send(request(upload)), async {
            time::sleep(SOON).await;
            body.send_reset(Reason::CANCEL);
        });
        assert!(matches!(sent, Err(SendError::Upload)));
        drop(one);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn interim_responses_are_told_of_and_end_nothing() {
    simulate(async {
        let script = Script::new(|_, mut respond| async move {
            for status in [100, 103] {
                let head = Response::builder().status(status).body(());
                respond.send_informational(head.unwrap()).unwrap();
            }
            time::sleep(SOON).await;
            let _ = respond.send_response(Response::new(()), true);
        });
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&heard);
        let mut request = request(Upload::empty());
        let interim = Interim::new(move |status| hear.lock().unwrap().push(status.as_u16()));
        request.extensions_mut().insert(interim);
        assert_eq!(one.send(request).await.unwrap().status(), 200);
        assert_eq!(*heard.lock().unwrap(), [100, 103]);
    });
}

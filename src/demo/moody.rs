//! The demo's two upstreams: `steady` always answers, `moody` does what it is told.
//!
//! Ordinary HTTP/1.1 servers on loopback; they know nothing about the proxy in front of them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::lifecycle::tasks;
use crate::{rng, time};

/// How an upstream behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Answers 200 in 5 to 15 ms.
    Ok,
    /// Answers 200 in 3 s.
    Slow,
    /// Answers 500 in 5 to 15 ms.
    Fail,
    /// Answers 200 in 30 s, which is longer than anybody waits.
    Hang,
}

impl Mood {
    /// Every mood, the good one first.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Slow, Self::Fail, Self::Hang];

    /// The word that is typed for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Slow => "slow",
            Self::Fail => "fail",
            Self::Hang => "hang",
        }
    }

    /// The mood that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mood| mood.as_str() == word)
    }

    fn delay(self) -> Duration {
        match self {
            Self::Ok | Self::Fail => {
                let extra = u64::try_from(rng::below(10_000)).unwrap_or_default();
                Duration::from_micros(5_000 + extra)
            }
            Self::Slow => Duration::from_secs(3),
            Self::Hang => Duration::from_secs(30),
        }
    }
}

/// A mood and since when it lasts.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// The mood.
    pub mood: Mood,
    /// When it was set.
    pub at: Instant,
}

/// Where the mood of an upstream is kept: set by word or by `POST /mode/WORD`.
#[derive(Clone, Debug)]
pub struct Switch(Arc<watch::Sender<Since>>);

impl Default for Switch {
    /// Starts in the good mood.
    fn default() -> Self {
        let at = time::now();
        let mood = Mood::Ok;
        Self(Arc::new(watch::Sender::new(Since { mood, at })))
    }
}

impl Switch {
    /// Changes the mood. Calls that have already arrived keep the one they met.
    pub fn set(&self, mood: Mood) {
        self.0.send_if_modified(|since| {
            let changed = since.mood != mood;
            if changed {
                let at = time::now();
                *since = Since { mood, at };
            }
            changed
        });
    }

    /// The present mood.
    pub fn since(&self) -> Since {
        *self.0.borrow()
    }

    /// Tells of every later change.
    pub fn watch(&self) -> watch::Receiver<Since> {
        self.0.subscribe()
    }
}

/// Binds `preferred`, or any free port of loopback where that is taken.
pub async fn bind(preferred: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(preferred).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::new(preferred.ip(), 0)).await
        }
        bound => bound,
    }
}

/// Serves an upstream called `name` on `listener` for as long as the runtime lives. Without a
/// `switch` it is always in the good mood.
pub fn serve(name: &'static str, listener: TcpListener, switch: Option<Switch>) {
    tasks::spawn("demo upstream", async move {
        // An accept error (no descriptors left) would repeat at once: the demo ends serving.
        while let Ok((stream, _)) = listener.accept().await {
            // A reply may wait a little for its acknowledgement then; nothing breaks.
            let _ = stream.set_nodelay(true);
            let switch = switch.clone();
            tasks::spawn("demo upstream connection", async move {
                let service = service_fn(move |request| answer(name, switch.clone(), request));
                // A caller that goes away in the middle is what the demo is about.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

async fn answer<B>(
    name: &'static str,
    switch: Option<Switch>,
    request: Request<B>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let order = request.uri().path().strip_prefix("/mode/");
    if let (Some(switch), Some(word)) = (&switch, order) {
        return Ok(obey(switch, request.method(), word));
    }
    let mood = switch.map_or(Mood::Ok, |switch| switch.since().mood);
    tokio::time::sleep(mood.delay()).await;
    let status = match mood {
        Mood::Fail => StatusCode::INTERNAL_SERVER_ERROR,
        Mood::Ok | Mood::Slow | Mood::Hang => StatusCode::OK,
    };
    Ok(text(status, format!("{name} says {}\n", mood.as_str())))
}

fn obey(switch: &Switch, method: &Method, word: &str) -> Response<Full<Bytes>> {
    if method != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "use POST\n".to_owned());
    }
    let Some(mood) = Mood::parse(word) else {
        let help = "the modes are ok, slow, fail and hang\n";
        return text(StatusCode::NOT_FOUND, help.to_owned());
    };
    switch.set(mood);
    text(StatusCode::OK, format!("the mode is {word}\n"))
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client;

    async fn ask(switch: &Switch, method: Method, path: &str) -> Response<Full<Bytes>> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        answer("moody", Some(switch.clone()), request)
            .await
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_does_what_it_is_told() {
        let switch = Switch::default();
        for (word, status, at_least) in [
            ("fail", 500, 5),
            ("slow", 200, 3_000),
            ("hang", 200, 30_000),
            ("ok", 200, 5),
        ] {
            let told = ask(&switch, Method::POST, &format!("/mode/{word}")).await;
            assert_eq!(told.status(), 200);
            let before = time::now();
            assert_eq!(ask(&switch, Method::GET, "/").await.status(), status);
            let took = time::now().saturating_duration_since(before);
            assert!(took >= Duration::from_millis(at_least), "{word}: {took:?}");
        }
        let told = ask(&switch, Method::GET, "/mode/hang").await;
        assert_eq!(told.status(), 405);
        let told = ask(&switch, Method::POST, "/mode/sulk").await;
        assert_eq!(told.status(), 404);
        assert_eq!(switch.since().mood, Mood::Ok);
    }

    #[tokio::test]
    async fn a_taken_port_gives_another() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let taken = first.local_addr().unwrap();
        let second = bind(taken).await.unwrap();
        assert_ne!(second.local_addr().unwrap(), taken);

        let addr = second.local_addr().unwrap();
        serve("steady", second, None);
        let wait = Duration::from_secs(60);
        let answer = client::get(&addr.into(), "/mode/hang", wait).await.unwrap();
        assert_eq!(answer.body(), "steady says ok\n");
    }
}

//! Callers that come over TLS: what is spoken, who gets in, and certificates that are renewed.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use bytes::Bytes;
use outrigger::time;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, file, run, socket_folder};
use crate::support::tls::{Ca, HOST, Leaf, TlsCaller, Trust};
use crate::support::upstream::{Step, Upstream};

const FAILURES: &str = "outrigger_downstream_tls_failures_total";
const HANDSHAKES: &str = "outrigger_downstream_tls_handshakes_total";
const RELOADS: &str = "outrigger_tls_reloads_total";
const EXPIRY: &str = "outrigger_tls_certificate_expiry_timestamp_seconds";

/// A listener `edge` over TLS before an upstream.
struct Edge {
    daemon: Daemon,
    ca: Ca,
    leaf: Leaf,
    folder: TempDir,
}

impl Edge {
    /// With these further settings of the listener and of its `tls`; `CA` in them is the file of
    /// the authority.
    fn new(upstream: &Upstream, listener: &str, tls: &str) -> Self {
        let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new("edge"));
        let leaf = ca.leaf();
        let (cert, key) = leaf.write(folder.path());
        Self::with_files(upstream, listener, tls, folder, ca, leaf, &cert, &key)
    }

    #[expect(clippy::too_many_arguments, reason = "what a test may choose")]
    fn with_files(
        upstream: &Upstream,
        listener: &str,
        tls: &str,
        folder: TempDir,
        ca: Ca,
        leaf: Leaf,
        cert: &Path,
        key: &Path,
    ) -> Self {
        let root = folder.path().join("ca.pem");
        fs::write(&root, &ca.pem).unwrap();
        let tls = tls.replace("CA", root.to_str().unwrap());
        let address = match listener.contains("address") {
            true => "",
            false => "address = \"127.0.0.1:0\"",
        };
        let daemon = Daemon::start(&format!(
            "[upstreams.api]\nendpoints = [\"{}\"]\n\
             timeouts = {{ first_byte = \"50s\", request = \"50s\" }}\n\
             [[listeners]]\nname = \"edge\"\n{address}\n{listener}\n\
             routes = [{{ upstream = \"api\" }}]\n\
             tls = {{ cert = {cert:?}, key = {key:?}{tls} }}\n",
            upstream.url()
        ));
        Self {
            daemon,
            ca,
            leaf,
            folder,
        }
    }

    fn trust(&self) -> Trust {
        Trust::of(&self.ca)
    }

    fn call(&self, trust: &Trust) -> io::Result<TlsCaller<TcpStream>> {
        call(self.daemon.address("edge"), trust)
    }

    /// Waits until a handshake shows this certificate.
    fn await_shown(&self, leaf: &Leaf) {
        let trust = self.trust();
        let began = time::now();
        while !self.call(&trust).unwrap().sees(leaf) {
            assert!(
                time::now() - began < PATIENCE,
                "the new certificate is never shown"
            );
        }
    }

    fn failed(&self, reason: &str, count: f64) {
        let labels = [("listener", "edge"), ("reason", reason)];
        self.daemon.await_metric(FAILURES, &labels, count);
    }

    fn reloaded(&self, result: &str, count: f64) {
        let labels = [("listener", "edge"), ("result", result)];
        self.daemon.await_metric(RELOADS, &labels, count);
    }
}

fn call(address: SocketAddr, trust: &Trust) -> io::Result<TlsCaller<TcpStream>> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    TlsCaller::over(socket, trust)
}

/// One GET by HTTP/2; status and body.
fn get_h2(address: SocketAddr, trust: &Trust) -> (u16, Bytes) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let exchange = async {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(trust.config());
        let name = ServerName::try_from(HOST).unwrap();
        let stream = connector.connect(name, socket).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let request = http::Request::get(format!("https://{HOST}/"))
            .body(())
            .unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        let answered = async {
            let (head, mut body) = answer.await.unwrap().into_parts();
            let piece = body.data().await.unwrap().unwrap();
            (head.status.as_u16(), piece)
        };
        tokio::select! {
            answered = answered => answered,
            ended = connection => panic!("{ended:?}"),
        }
    };
    let bounded = async { tokio::time::timeout(PATIENCE, exchange).await.unwrap() };
    runtime.unwrap().block_on(bounded)
}

#[test]
fn what_is_spoken_is_what_was_agreed_on() {
    let upstream = Upstream::answering("fine");
    let both: &[&str] = &["h2", "http/1.1"];
    for (protocol, offered, agreed, is_http2) in [
        ("auto", both, Some("h2"), true),
        ("auto", &["http/1.1"], Some("http/1.1"), false),
        ("auto", &[], None, false),
        ("http1", both, Some("http/1.1"), false),
        ("http1", &[], None, false),
        ("http2", both, Some("h2"), true),
        ("http2", &[], None, true),
    ] {
        let edge = Edge::new(&upstream, &format!("protocol = \"{protocol}\""), "");
        let trust = edge.trust().offering(offered);
        let mut caller = edge.call(&trust).unwrap();
        assert!(caller.sees(&edge.leaf));
        assert_eq!(caller.alpn(), agreed.map(str::as_bytes), "{protocol}");
        if is_http2 {
            let answer = get_h2(edge.daemon.address("edge"), &trust);
            assert_eq!(answer, (200, Bytes::from("fine")), "{protocol} {offered:?}");
        } else {
            for _ in 0..2 {
                assert_eq!(caller.get("/").unwrap(), (200, "fine".to_owned()));
            }
            let handshakes = [("listener", "edge")];
            edge.daemon.await_metric(HANDSHAKES, &handshakes, 1.0);
        }
    }
}

#[test]
fn who_agreed_on_http2_is_never_answered_by_http1() {
    let upstream = Upstream::answering("fine");
    let edge = Edge::new(&upstream, "", "");
    let mut caller = edge.call(&edge.trust().offering(&["h2"])).unwrap();
    caller
        .send("GET / HTTP/1.1\r\nhost: edge.test\r\n\r\n")
        .unwrap();
    let mut came = Vec::new();
    let _ = caller.stream.read_to_end(&mut came);
    assert!(
        !came.windows(5).any(|window| window == b"HTTP/"),
        "{came:?}"
    );
    assert!(upstream.seen().requests.is_empty());

    // And the other way round: a preface is no request of HTTP/1.
    let mut caller = edge.call(&edge.trust().offering(&["http/1.1"])).unwrap();
    caller.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let mut came = Vec::new();
    let _ = caller.stream.read_to_end(&mut came);
    assert!(
        came.is_empty() || came.starts_with(b"HTTP/1.1 4"),
        "{came:?}"
    );
    assert!(upstream.seen().requests.is_empty());
}

#[test]
fn whom_a_listener_does_not_trust_does_not_get_in() {
    let upstream = Upstream::answering("fine");
    let edge = Edge::new(&upstream, "", ", client_ca = \"CA\"");
    let known = edge.ca.leaf();
    let (foreign, late) = (Ca::new("other").leaf(), edge.ca.leaf_until(2020));
    for version in [&TLS12, &TLS13] {
        let trust = edge.trust().speaking(version);
        let answer = |trust: &Trust| edge.call(trust).and_then(|mut caller| caller.get("/"));
        assert_eq!(answer(&trust.clone().showing(&known)).unwrap().0, 200);
        answer(&trust).unwrap_err();
        answer(&trust.clone().showing(&foreign)).unwrap_err();
        answer(&trust.clone().showing(&late)).unwrap_err();
    }
    edge.failed("tls_client_certificate_required", 2.0);
    edge.failed("tls_unknown_ca", 2.0);
    edge.failed("tls_expired", 2.0);
    let handshakes = [("listener", "edge")];
    edge.daemon.await_metric(HANDSHAKES, &handshakes, 2.0);
    assert_eq!(upstream.seen().requests.len(), 2);
    let line = &edge
        .daemon
        .await_logged("TLS handshake of a caller failed", 1)[0];
    assert!(
        line.to_string().contains("tls_client_certificate_required"),
        "{line}"
    );
}

#[test]
fn what_has_nothing_in_common_is_refused_by_its_reason() {
    let upstream = Upstream::answering("fine");
    let settings = "protocol = \"http2\"\ndownstream = { header_timeout = \"3s\" }";
    let edge = Edge::new(&upstream, settings, ", min_version = \"1.3\"");
    assert!(edge.call(&edge.trust().speaking(&TLS12)).is_err());
    edge.failed("tls_incompatible", 1.0);
    assert!(edge.call(&edge.trust().offering(&["http/1.1"])).is_err());
    edge.failed("tls_incompatible", 2.0);
    assert!(edge.call(&Trust::of(&Ca::new("other"))).is_err());
    edge.failed("tls_certificate_refused", 1.0);
    let mut plain = Client::connect(edge.daemon.address("edge"));
    plain.request("GET", "/", &[], b"");
    edge.failed("tls_not_spoken", 1.0);
    drop(TcpStream::connect(edge.daemon.address("edge")).unwrap());
    edge.failed("tls_closed", 1.0);

    // Nothing, and the beginning of a handshake.
    let slow = ["", "\x16\x03"].map(|beginning| {
        let mut slow = Client::connect(edge.daemon.address("edge"));
        slow.send(beginning);
        slow
    });
    for mut slow in slow {
        assert!(slow.ends());
    }
    let timeouts = "outrigger_downstream_header_timeouts_total";
    edge.daemon
        .await_metric(timeouts, &[("listener", "edge")], 2.0);
}

#[test]
fn an_end_in_order_is_announced_and_another_is_not() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut";
    let upstream = Upstream::start(move |call| match call.path() {
        "/cut" => vec![Step::Send(cut.into()), Step::Reset],
        _ => vec![Step::Send(cut.replace('9', "3").into())],
    });
    let edge = Edge::new(&upstream, "downstream = { idle_timeout = \"2s\" }", "");
    let caller = || edge.call(&edge.trust()).unwrap();
    let mut idle = caller();
    assert_eq!(idle.get("/").unwrap().0, 200);
    assert!(idle.ends_in_order());
    let mut asks = caller();
    asks.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(asks.answer().unwrap().0, 200);
    assert!(asks.ends_in_order());
    let mut wrong = caller();
    wrong.send("GET  /\r\n\r\n").unwrap();
    assert_eq!(wrong.answer().unwrap().0, 400);
    assert!(wrong.ends_in_order());
    let mut broken = caller();
    let error = broken.get("/cut").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
    assert!(!broken.ends_in_order());
}

#[test]
fn a_caller_that_leaves_is_noticed_while_the_upstream_hangs() {
    let upstream = Upstream::start(|_| vec![Step::Hang]);
    let edge = Edge::new(&upstream, "", "");
    for announces in [false, true] {
        let mut caller = edge.call(&edge.trust()).unwrap();
        caller.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        upstream.wait_in_progress(1);
        if announces {
            caller.leave();
        } else {
            drop(caller);
        }
        let in_flight = "outrigger_bulkhead_in_flight";
        edge.daemon
            .await_metric(in_flight, &[("upstream", "api")], 0.0);
        upstream.wait_closed();
    }
}

/// Callers that keep their connections and callers that come anew, until it is dropped.
fn under_load(edge: &Edge, work: impl FnOnce()) {
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (trust, address) = (edge.trust(), edge.daemon.address("edge"));
    thread::scope(|scope| {
        for keeps in [true, true, false] {
            let (trust, stop, served) = (&trust, &stop, &served);
            scope.spawn(move || {
                let mut caller = call(address, trust).unwrap();
                while !stop.load(Relaxed) {
                    if !keeps {
                        caller = call(address, trust).unwrap();
                    }
                    assert_eq!(caller.get("/").unwrap().0, 200);
                    served.fetch_add(1, Relaxed);
                }
            });
        }
        work();
        stop.store(true, Relaxed);
    });
    assert!(served.into_inner() > 20);
}

#[test]
fn a_renewed_certificate_is_taken_up_without_an_error() {
    let upstream = Upstream::answering("fine");
    // As Kubernetes publishes a Secret: `tls.crt` -> `..data/tls.crt`, `..data` -> a folder.
    let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new("edge"));
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let (first, second, third, fourth) = (ca.leaf(), ca.leaf(), ca.leaf(), ca.leaf_until(2998));
    for (name, leaf) in [("..1", &first), ("..2", &fourth)] {
        fs::create_dir(path(name)).unwrap();
        leaf.write(&path(name));
    }
    symlink("..1", path("..data")).unwrap();
    let (cert, key) = (path("tls.crt"), path("tls.key"));
    symlink("..data/tls.crt", &cert).unwrap();
    symlink("..data/tls.key", &key).unwrap();
    let [data, swapped, current] = ["..data", "..data_tmp", "..1"].map(path);
    let leaf = first.clone();
    let edge = Edge::with_files(&upstream, "", "", folder, ca, leaf, &cert, &key);
    under_load(&edge, || {
        edge.await_shown(&first);
        // An edit of both files, one after the other.
        second.write(&current);
        edge.await_shown(&second);
        // Each renamed over the old one.
        let new = edge.folder.path().join("new");
        for (name, text) in [("tls.crt", &third.cert), ("tls.key", &third.key)] {
            fs::write(&new, text).unwrap();
            fs::rename(&new, current.join(name)).unwrap();
        }
        edge.await_shown(&third);
        symlink("..2", &swapped).unwrap();
        fs::rename(&swapped, &data).unwrap();
        edge.await_shown(&fourth);
    });
    edge.reloaded("taken", 3.0);
    let taken = edge.daemon.await_logged("TLS files taken up", 3);
    let last = taken[2].to_string();
    assert!(
        last.contains("2998-01-01") && last.contains("edge"),
        "{last}"
    );
    let labels = [("listener", "edge")];
    edge.daemon.await_metric(EXPIRY, &labels, 32_440_608_000.0);
}

#[test]
fn a_pair_that_does_not_fit_keeps_the_old_one() {
    let upstream = Upstream::answering("fine");
    let edge = Edge::new(&upstream, "", "");
    let labels = [("listener", "edge")];
    edge.daemon.await_metric(EXPIRY, &labels, 32_472_144_000.0);
    let other = edge.ca.leaf();
    fs::write(edge.folder.path().join("tls.key"), &other.key).unwrap();
    let message = "TLS files refused, those before them stay in use";
    let line = edge.daemon.await_logged(message, 1)[0].to_string();
    assert!(
        line.contains("tls.key") && line.contains("not that of"),
        "{line}"
    );
    edge.reloaded("refused", 1.0);
    assert!(edge.call(&edge.trust()).unwrap().sees(&edge.leaf));
    // What was missing comes: the pair is whole again.
    fs::write(edge.folder.path().join("tls.crt"), &other.cert).unwrap();
    edge.await_shown(&other);
    edge.reloaded("taken", 1.0);
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
    let upstream = Upstream::answering("fine");
    let edge = Edge::new(&upstream, "", "");
    let cert = edge.folder.path().join("tls.crt");
    fs::remove_file(&cert).unwrap();
    let made = Command::new("mkfifo").arg(&cert).status().unwrap();
    assert!(made.success());
    let message = "TLS files refused, those before them stay in use";
    edge.daemon.await_logged(message, 1);
    assert!(edge.call(&edge.trust()).unwrap().sees(&edge.leaf));
}

#[test]
fn tls_over_a_socket_in_the_file_system() {
    let upstream = Upstream::answering("fine");
    let directory = socket_folder();
    let socket = directory.path().join("edge.sock");
    let edge = Edge::new(
        &upstream,
        &format!("address = \"unix:{}\"", socket.display()),
        "",
    );
    let stream = UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut caller = TlsCaller::over(stream, &edge.trust()).unwrap();
    assert_eq!(caller.get("/").unwrap(), (200, "fine".to_owned()));
}

#[test]
fn a_tcp_upstream_behind_tls() {
    let upstream = Upstream::answering("fine");
    let (folder, ca) = (tempfile::tempdir().unwrap(), Ca::new("edge"));
    let (cert, key) = ca.leaf().write(folder.path());
    let daemon = Daemon::start(&format!(
        "[upstreams.api]\nendpoints = [\"tcp://{}\"]\nprotocol = \"tcp\"\n\
         [[listeners]]\nname = \"edge\"\naddress = \"127.0.0.1:0\"\n\
         routes = [{{ upstream = \"api\" }}]\n\
         tls = {{ cert = {cert:?}, key = {key:?} }}\n",
        upstream.address()
    ));
    let trust = Trust::of(&ca).offering(&["h2", "http/1.1"]);
    let mut caller = call(daemon.address("edge"), &trust).unwrap();
    assert_eq!(caller.alpn(), None);
    assert_eq!(caller.get("/").unwrap(), (200, "fine".to_owned()));
    caller.leave();
    upstream.wait_closed();
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, _) = Ca::new("edge").leaf().write(folder.path());
    let config = file(&format!(
        "[upstreams.api]\nendpoints = [\"http://127.0.0.1:1\"]\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\nroutes = [{{ upstream = \"api\" }}]\n\
         tls = {{ cert = {cert:?}, key = \"/nowhere/tls.key\" }}\n"
    ));
    let config = config.path().to_str().unwrap();
    let ran = run(&["run", "--config", config]);
    assert_eq!(ran.status.code(), Some(78));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("`/nowhere/tls.key`: no such file"), "{said}");
    let checked = run(&["check", config]);
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(said.contains("error[unusable-file]"), "{said}");
}

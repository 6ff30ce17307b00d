//! Upstreams that are reached by TLS, and what is said of those that are not.

use std::fs;
use std::path::Path;

use outrigger::proxy::error::ProxyError;
use outrigger::tls::Reason;

use crate::expect::{API, IN_FLIGHT, assert_nothing_held, assert_row};
use crate::support::daemon::Daemon;
use crate::support::stage::Stage;
use crate::support::tls::{Ca, HOST};
use crate::support::upstream::Upstream;

const FAILURES: &str = "outrigger_upstream_tls_failures_total";
const EXPIRY: &str = "outrigger_tls_certificate_expiry_timestamp_seconds";

/// A proxy in front of `upstream` with a listener for each of `kinds`: its name, and what stands in
/// its section.
fn far(upstream: &Upstream, kinds: &[(&str, String)]) -> Daemon {
    let mut config = format!("[upstreams.api]\nendpoints = [\"{}\"]\n", upstream.url());
    for (name, more) in kinds {
        config += &format!(
            "[[listeners]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n\
             routes = [{{ upstream = \"api\" }}]\n{more}\n"
        );
    }
    Daemon::start(&config)
}

#[test]
fn each_failure_has_its_reason() {
    let upstream = Upstream::answering("fine");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (ca, other) = (Ca::new("upstream"), Ca::new("other"));
    let (root, foreign) = (write("ca.pem", &ca.pem), write("other.pem", &other.pem));
    let (cert, key) = ca.leaf().write(folder.path());
    let pair = format!("cert = {cert:?}, key = {key:?}");
    let far = far(
        &upstream,
        &[
            ("plain", String::new()),
            ("tls", format!("tls = {{ {pair} }}")),
            ("http2", format!("protocol = \"http2\"\ntls = {{ {pair} }}")),
            (
                "mutual",
                format!("tls = {{ {pair}, client_ca = {root:?} }}"),
            ),
        ],
    );
    let trusting = |ca: &Path, more: &str| format!("tls = {{ ca = {ca:?}{more} }}");
    let named = format!(", server_name = \"{HOST}\"");
    let pinned = format!("{named}, pins = [\"sha256/{}=\"]", "A".repeat(43));
    let ours = format!("{named}, {pair}");
    let http1 = format!("protocol = \"http1\"\n{}", trusting(&root, &named));
    for (listener, settings, reason) in [
        ("tls", trusting(&root, &named), None),
        ("mutual", trusting(&root, &ours), None),
        ("tls", trusting(&foreign, &named), Some(Reason::UnknownCa)),
        ("tls", trusting(&root, ""), Some(Reason::WrongName)),
        ("tls", trusting(&root, &pinned), Some(Reason::PinMismatch)),
        ("http2", http1, Some(Reason::Incompatible)),
        ("plain", trusting(&root, &named), Some(Reason::NotTls)),
    ] {
        let url = format!("https://{}", far.address(listener));
        let near = Daemon::proxying(&[url], &settings);
        let answer = near.client().get("/");
        let Some(reason) = reason else {
            assert_eq!((answer.status, &*answer.text()), (200, "fine"));
            continue;
        };
        assert_row(&answer, ProxyError::Tls(reason));
        let labels = [("upstream", "api"), ("reason", reason.word())];
        near.await_metric(FAILURES, &labels, 1.0);
        near.await_metric(FAILURES, &[("upstream", "api")], 1.0);
    }
}

#[test]
fn a_handshake_that_several_wait_for_fails_once() {
    let stage = Stage::open();
    let url = stage.url().replace("http:", "https:");
    let near = Daemon::proxying(&[url], "[runtime]\nworkers = 1");
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let mut client = near.client();
            client.request("GET", "/", &[], b"");
            client
        })
        .collect();
    near.await_metric(IN_FLIGHT, &[API], 3.0);
    let upstream = stage.accept();
    upstream.write(b"HTTP/1.1 400 Plain text\r\n\r\n").unwrap();
    for mut client in callers {
        let answer = client.response("GET").unwrap();
        assert_row(&answer, ProxyError::Tls(Reason::NotTls));
    }
    assert!(stage.is_deserted());
    near.await_metric(FAILURES, &[API], 1.0);
    assert_nothing_held(&near);
}

#[test]
fn the_certificate_that_we_show_is_renewed() {
    let upstream = Upstream::answering("fine");
    let [far_folder, near_folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (ca, old, new) = (Ca::new("upstream"), Ca::new("old"), Ca::new("new"));
    let (root, callers) = (
        far_folder.path().join("ca.pem"),
        far_folder.path().join("new.pem"),
    );
    fs::write(&root, &ca.pem).unwrap();
    fs::write(&callers, &new.pem).unwrap();
    let (cert, key) = ca.leaf().write(far_folder.path());
    let tls = format!("tls = {{ cert = {cert:?}, key = {key:?}, client_ca = {callers:?} }}");
    let far = far(&upstream, &[("mutual", tls)]);

    let (cert, key) = old.leaf().write(near_folder.path());
    let tls = format!(
        "tls = {{ ca = {root:?}, server_name = \"{HOST}\", cert = {cert:?}, key = {key:?} }}"
    );
    let near = Daemon::proxying(&[format!("https://{}", far.address("mutual"))], &tls);
    let labels = [("upstream", "api")];
    near.await_metric(EXPIRY, &labels, 32_472_144_000.0);
    assert_eq!(near.client().get("/").status, 502);
    new.leaf_until(2998).write(near_folder.path());
    near.await_metric(EXPIRY, &labels, 32_440_608_000.0);
    assert_eq!(near.client().get("/").text(), "fine");
}

//! Sockets in the file system: callers and upstreams behind them, the admin listener on one.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::support::PATIENCE;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, command, socket_folder};
use crate::support::upstream::Upstream;

/// Sends one request and reads all that comes.
fn ask(path: &Path, method: &str, target: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head =
        format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an end");
    answer
}

/// A configuration with its admin and metrics listeners on sockets in `directory` and the upstream
/// `api` at `listen`.
fn config(directory: &Path, listen: &str, endpoint: &str) -> String {
    let directory = directory.display();
    format!(
        "[metrics]\nlisten = \"unix:{directory}/metrics.sock\"\n\
         [admin]\nlisten = \"unix:{directory}/admin.sock\"\n\
         [log]\nformat = \"json\"\n\
         [access_log]\nmode = \"all\"\n\
         [upstreams.api]\nlisten = \"{listen}\"\nendpoints = [\"{endpoint}\"]\nhost = \"preserve\"\n"
    )
}

fn mode(path: &Path) -> u32 {
    let file = std::fs::symlink_metadata(path).expect("a socket");
    file.permissions().mode() & 0o777
}

#[test]
fn callers_and_operators_come_by_sockets_that_go_with_the_process() {
    let directory = socket_folder();
    let socket = |name: &str| -> PathBuf { directory.path().join(name) };
    let upstream = Upstream::answering("fine");
    let listen = format!("unix:{}", socket("api.sock").display());
    let mut daemon = Daemon::spawn(&config(directory.path(), &listen, &upstream.url())).ready();
    let answer = ask(&socket("api.sock"), "GET", "/");
    assert!(answer.ends_with("fine"), "{answer}");
    assert_eq!(mode(&socket("api.sock")), 0o660);
    assert_eq!(mode(&socket("metrics.sock")), 0o660);
    assert_eq!(mode(&socket("admin.sock")), 0o600);

    let scraped = ask(&socket("metrics.sock"), "GET", "/metrics");
    assert!(scraped.contains("outrigger_requests_total"), "{scraped}");
    let done = ask(&socket("admin.sock"), "POST", "/upstreams/api/breaker/open");
    assert!(done.starts_with("HTTP/1.1 200 "), "{done}");
    let audit = daemon.await_logged("breaker operation", 1);
    assert!(audit[0].to_string().contains("uid "), "{audit:?}");

    let url = format!("unix:{}", socket("metrics.sock").display());
    let file = daemon.config_file();
    for target in [["--url", &url], ["--config", file.to_str().unwrap()]] {
        let asked = command().arg("healthcheck").args(target).output().unwrap();
        assert!(asked.status.success(), "{asked:?}");
    }

    daemon.terminate();
    assert!(daemon.wait().success());
    for name in ["api.sock", "metrics.sock", "admin.sock"] {
        assert!(!socket(name).exists(), "{name}");
    }
}

#[test]
fn an_upstream_is_reached_by_a_socket_and_its_connections_are_kept() {
    let directory = socket_folder();
    let path = directory.path().join("app.sock");
    let at = format!("unix:{}", path.display());
    let upstream = Upstream::answering("fine");
    let near = Daemon::proxying(std::slice::from_ref(&at), "");
    // It is not there yet, and not for ever.
    let mut client = near.client();
    assert_eq!(client.get("/").status, 502);
    let far = Daemon::spawn(&config(directory.path(), &at, &upstream.url())).ready();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "fine");
    }
    near.await_metric("outrigger_pool_connections_opened_total", &[], 1.0);
    let line = near.await_access("an answer", |line| line["status"] == 200);
    assert_eq!(line["endpoint"], at);
    let mut admin = Client::connect(near.address("admin"));
    let status = admin.call("GET", "/status", &[("host", "localhost")], b"");
    assert!(status.unwrap().text().contains(&at));
    assert_eq!(
        upstream.seen().requests[0].head.field("host"),
        Some("localhost")
    );
    drop(far);
}

#[test]
fn what_a_dead_process_left_is_replaced_and_what_lives_is_not() {
    let directory = socket_folder();
    let path = directory.path().join("api.sock");
    let listen = format!("unix:{}", path.display());
    let upstream = Upstream::answering("fine");
    drop(UnixListener::bind(&path).unwrap());
    let config = config(directory.path(), &listen, &upstream.url());
    let first = Daemon::spawn(&config).ready();
    let mut second = Daemon::spawn(&config);
    assert_eq!(second.wait().code(), Some(69));
    assert!(ask(&path, "GET", "/").ends_with("fine"));
    drop(first);
    // Killed, it has left its sockets.
    assert!(path.exists());
    let _third = Daemon::spawn(&config).ready();
    assert!(ask(&path, "GET", "/").ends_with("fine"));
}

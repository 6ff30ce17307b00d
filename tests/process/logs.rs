//! What is written to the process log and to the access log.

use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::{Daemon, command, file, section};
use crate::support::upstream::{Step, Upstream, message, reply};

const QUIET: &str = "[metrics]\nlisten = \"off\"\n[admin]\nlisten = \"off\"\n";

/// The log of a process from start to end.
fn log(settings: &str) -> String {
    let upstream = ["http://127.0.0.1:9".to_owned()];
    let file = file(&section(&upstream, &format!("{QUIET}[log]\n{settings}\n")));
    let mut command = command();
    command.args(["exec", "--config"]).arg(file.path());
    let output = command.args(["--", "true"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn the_log_has_the_level_and_format_asked_for() {
    for (settings, told, json) in [
        ("level = \"info\"", true, true),
        ("level = \"info\"\nformat = \"text\"", true, false),
        ("level = \"error\"", false, true),
        ("level = \"off\"", false, true),
        ("level = \"error,outrigger::app=info\"", true, true),
        ("level = \"info,outrigger::app=error\"", false, true),
    ] {
        let log = log(settings);
        assert_eq!(log.contains("listening"), told, "{settings}: {log}");
        for line in log.lines() {
            let parsed = serde_json::from_str::<Value>(line);
            assert_eq!(parsed.is_ok(), json, "{settings}: {line}");
        }
    }
}

/// The targets in the access log after one request for each.
fn written(access_log: &str, slow_call: &str, targets: &[&str]) -> Vec<String> {
    let upstream = Upstream::start(|call| match call.path() {
        "/500" => reply(500, ""),
        "/404" => reply(404, ""),
        "/slow" => {
            let late = Step::Delay(Duration::from_millis(50));
            vec![late, Step::Send(message(200, ""))]
        }
        _ => reply(200, ""),
    });
    let more = format!(
        "breaker = {{ slow_call = \"{slow_call}\" }}\n\
         {QUIET}[log]\nformat = \"json\"\n[access_log]\n{access_log}\n"
    );
    let mut daemon = Daemon::spawn(&section(&[upstream.url()], &more)).ready();
    let mut client = daemon.client();
    for target in targets {
        client.get(target);
    }
    drop(client);
    daemon.terminate();
    assert_eq!(daemon.wait().code(), Some(0));
    let lines = daemon.output();
    let path = |line: &String| -> String {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["path"].as_str().expect("a path").to_owned()
    };
    lines.iter().map(path).collect()
}

#[test]
fn the_access_log_holds_what_its_mode_says() {
    let targets = ["/200", "/404", "/500", "/200"];
    for (access_log, expected) in [
        ("mode = \"off\"", &[][..]),
        ("mode = \"errors\"", &["/500"]),
        ("mode = \"errors\"\nsample_ratio = 1", &["/500"]),
        ("mode = \"sampled\"\nsample_ratio = 0", &["/500"]),
        ("mode = \"sampled\"\nsample_ratio = 1", &targets),
        ("mode = \"all\"\nsample_ratio = 0", &targets),
    ] {
        assert_eq!(
            written(access_log, "50s", &targets),
            expected,
            "{access_log}"
        );
    }
}

#[test]
fn slow_requests_are_in_the_access_log_unless_it_is_off() {
    for (access_log, expected) in [
        ("mode = \"off\"", &[][..]),
        ("mode = \"errors\"", &["/slow"]),
        ("mode = \"sampled\"\nsample_ratio = 0", &["/slow"]),
    ] {
        assert_eq!(
            written(access_log, "10ms", &["/slow"]),
            expected,
            "{access_log}"
        );
    }
}

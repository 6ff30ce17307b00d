use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::{info, warn};

use super::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(filter: &str, format: LogFormat, log: impl FnOnce()) -> String {
    let written = Written::default();
    let sink = written.clone();
    let subscriber = subscriber(filter, format, move || sink.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, log);
    String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn json_lines_are_flat() {
    let text = logged("info", LogFormat::Json, || {
        info!(listener = "edge", address = "127.0.0.1:1", "listening");
    });
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "listening");
    assert_eq!(line["listener"], "edge");
    assert_eq!(line["address"], "127.0.0.1:1");
    assert_eq!(line["level"], "INFO");
    assert!(line["timestamp"].is_string() && line["target"].is_string());
}

#[test]
fn text_lines_are_for_people() {
    let text = logged("info", LogFormat::Text, || {
        warn!(upstream = "search", "breaker opened");
    });
    assert!(text.contains("WARN"), "{text}");
    assert!(
        text.contains("breaker opened upstream=\"search\""),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours in a pipe: {text}");
}

#[test]
fn the_filter_chooses_lines() {
    let text = logged("warn,outrigger::telemetry=info", LogFormat::Text, || {
        info!("kept");
        info!(target: "outrigger::pool", "left out");
    });
    assert!(
        text.contains("kept") && !text.contains("left out"),
        "{text}"
    );
}

#[test]
fn a_bad_filter_is_an_error_that_names_it() {
    let error = check_filter("outrigger=loud").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`outrigger=loud` is not a log filter: "),
        "{error}"
    );
    assert_eq!(check_filter("info,outrigger::pool=debug"), Ok(()));
}

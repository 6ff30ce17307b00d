//! The real binary, started on ports of its own choosing and watched through its log and metrics.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::client::{self, Client};
use super::metrics;

/// Between two looks at something that cannot wake us.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until this is true, and says whether it ever was.
fn look(mut is_true: impl FnMut() -> bool) -> bool {
    (0..PATIENCE.as_millis() / LOOK_EVERY.as_millis()).any(|_| {
        let is_true = is_true();
        if !is_true {
            thread::sleep(LOOK_EVERY);
        }
        is_true
    })
}

/// Waits until this is true.
#[track_caller]
pub(crate) fn await_until(what: &str, is_true: impl FnMut() -> bool) {
    assert!(look(is_true), "never came: {what}");
}

/// Enough open files for the sockets of many tests at once, where the system lets it be raised.
pub(crate) fn raise_open_files() {
    static ONCE: Once = Once::new();
    const ENOUGH: u64 = 1 << 16;
    ONCE.call_once(|| {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let most = maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
        let current = current.map(|current| current.max(most));
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    });
}

/// What every configuration of the tests begins with.
const PREAMBLE: &str = r#"
[metrics]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[log]
format = "json"
[access_log]
mode = "all"
# One attempt, unless a test is about more.
[defaults.retry]
mode = "off"
# No timer ends what a busy machine only holds up, unless a test is about one.
[defaults.timeouts]
connect = "50s"
first_byte = "50s"
request = "50s"
"#;

/// Lines of one of the daemon's outputs, as they come.
#[derive(Clone, Default)]
struct Lines(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn reading(source: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let own = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                own.note(|written| written.lines.push(line));
            }
            own.note(|written| written.ended = true);
        });
        lines
    }

    fn note(&self, change: impl FnOnce(&mut Written)) {
        let (written, changed) = &*self.0;
        change(&mut written.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }

    /// Waits until `done` or the end of the output, and reads what there is by then.
    fn wait<T>(&self, done: impl Fn(&Written) -> bool, read: impl FnOnce(&Written) -> T) -> T {
        let (written, changed) = &*self.0;
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |written: &mut Written| !written.ended && !done(written);
        let waited = changed.wait_timeout_while(written, PATIENCE, waits);
        read(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    fn all(&self) -> Vec<String> {
        self.wait(|_| true, |written| written.lines.clone())
    }

    /// The first line for which `pick` has an answer; `None` once the output ended without one.
    fn find<T>(&self, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        let picked = |written: &Written| written.lines.iter().find_map(|line| pick(line));
        self.wait(|written| picked(written).is_some(), picked)
    }

    fn wait_end(&self) {
        self.wait(|_| false, |_| ());
    }
}

/// A field of a JSON log line, wherever the formatter put it.
fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    line["fields"][name]
        .as_str()
        .or_else(|| line[name].as_str())
}

/// A running `outrigger run`; dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    log: Lines,
    output: Lines,
    directory: TempDir,
}

impl Daemon {
    /// Starts with this configuration beside what the tests need to watch it, and waits until it
    /// is ready.
    pub(crate) fn start(config: &str) -> Self {
        Self::begin(config).ready()
    }

    /// As [`Self::start`], and waits for nothing.
    pub(crate) fn begin(config: &str) -> Self {
        Self::spawn(&format!("{PREAMBLE}{config}"))
    }

    /// Waits until it is ready.
    pub(crate) fn ready(self) -> Self {
        let ready = self.log.find(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (field(&line, "message") == Some("ready")).then_some(())
        });
        assert!(ready.is_some(), "the daemon never became ready");
        self
    }

    /// Starts with one upstream `api` that has these endpoints, and these further lines in its
    /// section and after it.
    pub(crate) fn proxying(endpoints: &[String], more: &str) -> Self {
        Self::start(&section(endpoints, more))
    }

    /// Starts with exactly this configuration and waits for nothing.
    pub(crate) fn spawn(config: &str) -> Self {
        raise_open_files();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("outrigger.toml");
        std::fs::write(&file, config).expect("a writable directory");
        let mut child = command()
            .arg("run")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Lines::reading(child.stderr.take().expect("a pipe"));
        let output = Lines::reading(child.stdout.take().expect("a pipe"));
        Self {
            child,
            log,
            output,
            directory,
        }
    }

    /// Where this listener is bound.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let found = self.log.find(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let here = field(&line, "message") == Some("listening")
                && field(&line, "listener") == Some(listener);
            here.then(|| field(&line, "address")?.parse().ok())
                .flatten()
        });
        found.unwrap_or_else(|| panic!("the daemon never told where `{listener}` listens"))
    }

    /// Where the upstream `api` listens.
    pub(crate) fn api(&self) -> SocketAddr {
        self.address("api")
    }

    /// A new connection to the upstream `api`.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.api())
    }

    /// The file that it was started with.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory.path().join("outrigger.toml")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for `count` log lines whose message is this, and returns all of them.
    pub(crate) fn await_logged(&self, message: &str, count: usize) -> Vec<Value> {
        let these = |written: &Written| -> Vec<Value> {
            let lines = written.lines.iter();
            let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines
                .filter(|line| field(line, "message") == Some(message))
                .collect()
        };
        self.log
            .wait(|written| these(written).len() >= count, these)
    }

    /// Waits for the access log line of which `pick` is true.
    pub(crate) fn await_access(&self, what: &str, pick: impl Fn(&Value) -> bool) -> Value {
        let found = self.output.find(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            pick(&line).then_some(line)
        });
        found.unwrap_or_else(|| panic!("no access log line for {what}"))
    }

    /// The exposition as it is now.
    pub(crate) fn scrape(&self) -> Vec<metrics::Sample> {
        let response = client::get(self.address("metrics"), "/metrics");
        assert_eq!(response.status, 200);
        metrics::parse(&response.text())
    }

    /// The sum of the samples of this name that carry all these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        metrics::sum(&self.scrape(), name, labels)
    }

    /// Waits until the sum of these samples is `expected`.
    #[track_caller]
    pub(crate) fn await_metric(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let mut value = f64::NAN;
        let found = look(|| {
            value = self.metric(name, labels);
            (value - expected).abs() < 1e-9
        });
        assert!(
            found,
            "{name}{labels:?} is {value}, and never became {expected}"
        );
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("the daemon runs");
    }

    /// Asks it to drain (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        look(|| {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        let status = status.expect("the daemon ends");
        self.log.wait_end();
        status
    }

    /// The lines that it wrote to standard output, once it has ended.
    pub(crate) fn output(&self) -> Vec<String> {
        self.output.wait_end();
        self.output.all()
    }

    /// The names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id()));
        let tasks = tasks.expect("the daemon runs").filter_map(Result::ok);
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// Everything that it wrote to standard error.
    pub(crate) fn stderr(&self) -> String {
        self.log.all().join("\n")
    }

    /// Resident memory, bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a size in KiB") * 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            self.log.wait_end();
            self.output.wait_end();
            let config = std::fs::read_to_string(self.config_file()).unwrap_or_default();
            let (log, output) = (self.stderr(), self.output.all().join("\n"));
            eprintln!("--- configuration\n{config}\n--- log\n{log}\n--- output\n{output}\n---");
        }
    }
}

/// The configuration of an upstream `api` that listens on a free port.
pub(crate) fn section(endpoints: &[String], more: &str) -> String {
    format!("[upstreams.api]\nlisten = \"127.0.0.1:0\"\nendpoints = {endpoints:?}\n{more}\n")
}

/// The binary under test, with nothing of the environment that it reads.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OUTRIGGER_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG");
    command
}

/// Runs the binary to its end with these arguments.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let child = command()
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child.wait_with_output().expect("a child of ours")
}

/// A folder for sockets: wherever `TMPDIR` leads, their paths fit (Linux takes 108 bytes).
pub(crate) fn socket_folder() -> TempDir {
    let usual = std::env::temp_dir();
    let fits = usual.as_os_str().len() <= 64;
    tempfile::tempdir_in(if fits { usual } else { PathBuf::from("/tmp") }).expect("a folder")
}

/// Writes `text` into a new file that lives as long as the answer.
pub(crate) fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new()
        .suffix(".toml")
        .tempfile()
        .expect("a temporary file");
    file.write_all(text.as_bytes()).expect("a writable file");
    file
}

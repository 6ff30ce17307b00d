//! The main job in one command: a slow upstream is cut loose while its neighbour keeps its pace.
//!
//! In one process and without a file: two small upstreams ([`moody`]), the real proxy in front
//! of them with every policy at its default ([`CONFIG`]), an open-loop [`load`] through it and a
//! table of what the callers see. Upstreams, load and table share the main thread; the proxy has
//! its own threads, so what is measured includes no work of ours but the callers'.

pub mod load;
pub mod moody;
pub mod script;
pub mod stats;
pub mod table;

mod show;

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::app::{Addresses, App, Ended};
use crate::config::model::{Config, EndpointAddress};
use crate::lifecycle::signals::{self, Signals, TERMINATION};
use crate::net::Address;
use crate::{client, config, telemetry, time};
use load::Load;
use moody::Switch;
use script::{Script, Word};
use show::{Show, Side};

/// The configuration that the demo runs, ports aside.
pub const CONFIG: &str = include_str!("demo.toml");

/// Names of the upstreams in [`CONFIG`].
const STEADY: &str = "steady";
const MOODY: &str = "moody";

/// How often breakers are looked at: a transition is told this late at most.
const LOOK: Duration = Duration::from_millis(10);
/// The proxy is ready within this, or the load begins without waiting longer.
const READY: Duration = Duration::from_secs(5);

/// What may be chosen on the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The steady upstream's port on the proxy; the moody one's is the next. `None` takes those
    /// of [`CONFIG`], `Some(0)` any free ports, for everything.
    pub port: Option<u16>,
    /// Calls a second on each upstream.
    pub rate: u32,
    /// Ends by itself after this long.
    pub run_for: Option<Duration>,
    /// Words typed by the clock.
    pub script: Script,
    /// Whether the proxy's own log is written (to standard error).
    pub verbose: bool,
}

/// Why the demo could not go on.
#[derive(Debug)]
pub struct Failure {
    /// One line for people.
    pub message: String,
    /// The process's exit code.
    pub exit_code: u8,
}

/// Exit code of an internal error (`EX_SOFTWARE` of sysexits).
const SOFTWARE: u8 = 70;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            message: format!("the demo cannot start: {error}"),
            exit_code: SOFTWARE,
        }
    }
}

impl Failure {
    fn internal(message: String) -> Self {
        let exit_code = SOFTWARE;
        Self { message, exit_code }
    }
}

/// Runs the demo until it is told to end.
pub fn run(options: Options) -> Result<(), Failure> {
    let mut config = config::parse("demo.toml", CONFIG)
        .map_err(|problems| Failure::internal(problems.to_string()))?;
    if options.verbose {
        "info".clone_into(&mut config.log.level);
    }
    telemetry::logging::init(&config.log).map_err(|error| Failure::internal(error.to_string()))?;
    if let Some(port) = options.port {
        move_ports(&mut config, port);
    }
    find_ports(&mut config);

    let runtime = signals::runtime()?;
    let switch = Switch::default();
    let (mut signals, moody) = runtime.block_on(async {
        let signals = Signals::listen(&TERMINATION)?;
        let moody = serve_upstreams(&mut config, &switch).await?;
        Ok::<_, io::Error>((signals, moody))
    })?;
    let app = App::start(&config).map_err(|error| Failure {
        message: error.message,
        exit_code: error.exit_code,
    })?;
    let ended = runtime.block_on(play(app, options, &switch, moody, &mut signals));
    // A reader of standard input and a wait that was given up end with the process.
    runtime.shutdown_background();
    ended
}

/// Puts the proxy's listeners on `port` and the next; 0 puts everything on free ports.
fn move_ports(config: &mut Config, port: u16) {
    for (index, listener) in (0..).zip(&mut config.listeners) {
        let next = port.checked_add(index).unwrap_or_default();
        listener.address.set_port(if port == 0 { 0 } else { next });
    }
    if port == 0 {
        let others = [&mut config.admin, &mut config.metrics];
        for address in others.into_iter().flatten() {
            address.set_port(0);
        }
        for endpoint in config.upstreams.iter_mut().flat_map(|u| &mut u.endpoints) {
            if let EndpointAddress::Name { port, .. } = &mut endpoint.address {
                *port = 0;
            }
        }
    }
}

/// Exchanges ports in use for any free ones.
fn find_ports(config: &mut Config) {
    let listeners = config.listeners.iter_mut().map(|l| &mut l.address);
    for address in listeners
        .chain(&mut config.admin)
        .chain(&mut config.metrics)
    {
        // Somebody may take it before the proxy does: then the start fails and says so.
        let Some(socket) = address.ip() else {
            continue;
        };
        if std::net::TcpListener::bind(socket).is_err() {
            address.set_port(0);
        }
    }
}

/// Starts the upstreams where `config` says, or on free ports, and writes those into it. Returns
/// the moody one's address.
async fn serve_upstreams(config: &mut Config, switch: &Switch) -> io::Result<Option<SocketAddr>> {
    let mut moody = None;
    for upstream in &mut config.upstreams {
        for endpoint in &mut upstream.endpoints {
            let EndpointAddress::Name { port, .. } = &mut endpoint.address else {
                continue;
            };
            let preferred = SocketAddr::from(([127, 0, 0, 1], *port));
            let listener = moody::bind(preferred).await?;
            let address = listener.local_addr()?;
            *port = address.port();
            if &*upstream.name == MOODY {
                moody = Some(address);
                moody::serve(MOODY, listener, Some(switch.clone()));
            } else {
                moody::serve(STEADY, listener, None);
            }
        }
    }
    Ok(moody)
}

/// The demo itself: everything that can happen, until something ends it.
async fn play(
    app: App,
    options: Options,
    switch: &Switch,
    moody: Option<SocketAddr>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    if let Some(metrics) = &app.addresses().metrics {
        // Without an answer the load simply begins: the table shows what is wrong.
        let _ = client::until_ready(metrics, READY).await;
    }
    let start = time::now();
    let (stop, stopped) = watch::channel(false);
    let sides = sides(app.addresses(), options.rate, switch, &stopped);
    let mut show = Show::new(start, sides, switch.clone());
    show.intro(app.addresses(), moody, options.rate);

    let handle = app.handle();
    let mut ended = tokio::task::spawn_blocking(move || app.wait());
    let mut lines = read_lines()?;
    let mut moods = switch.watch();
    let mut steps = options.script.0.into_iter().peekable();
    let mut look = every(LOOK);
    let mut second = every(Duration::from_secs(1));
    second.reset();
    while !show.is_unread() {
        tokio::select! {
            _ = signals.next() => break,
            () = until(options.run_for.map(|time| start + time)) => break,
            () = until(steps.peek().map(|(at, _)| start + *at)) => {
                if let Some((_, word)) = steps.next() && !obey(word, switch, &mut show) {
                    break;
                }
            }
            Some(line) = lines.recv() => match Word::parse(&line) {
                Ok(word) if !obey(word, switch, &mut show) => break,
                Ok(_) => {}
                Err(help) => show.say(&help),
            },
            Ok(()) = moods.changed() => show.mood(*moods.borrow_and_update()),
            _ = look.tick() => show.look(&handle.status()),
            _ = second.tick() => show.second(&handle.status()),
            end = &mut ended => return Err(match end {
                Ok(Ended::WorkerPanic(message)) => Failure::internal(message),
                _ => Failure::internal("the proxy has ended by itself".to_owned()),
            }),
        }
    }
    show.summary();
    stop.send_replace(true);
    handle.drain();
    tokio::select! {
        end = ended => match end {
            Ok(Ended::WorkerPanic(message)) => Err(Failure::internal(message)),
            _ => Ok(()),
        },
        _ = signals.next() => Ok(()),
    }
}

/// Does what a word says; `false` to end.
fn obey(word: Word, switch: &Switch, show: &mut Show) -> bool {
    match word {
        Word::Mood(mood) => switch.set(mood),
        Word::Help => show.help(),
        Word::Quit => return false,
    }
    true
}

/// Starts the load on every listener of the proxy.
fn sides(
    addresses: &Addresses,
    rate: u32,
    switch: &Switch,
    stopped: &watch::Receiver<bool>,
) -> Vec<Side> {
    let side = |(name, target): &(Arc<str>, Address)| {
        let load = Load::start(target.clone(), rate, switch.clone(), stopped.clone());
        Side::new(Arc::clone(name), load)
    };
    addresses.listeners.iter().map(side).collect()
}

/// Reads standard input on a thread of its own, as it can only be read blocking. Its end is
/// nothing: the demo goes on without.
fn read_lines() -> io::Result<mpsc::UnboundedReceiver<String>> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("demo-stdin".to_owned())
        .spawn(move || {
            let read = io::stdin().lines().map_while(Result::ok);
            for line in read.filter(|line| !line.trim().is_empty()) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        })?;
    Ok(lines)
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// Waits for an instant; for ever without one.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;

//! The composition root: the only place that names every module.
//!
//! Start binds and builds whatever can fail; then one control thread (accept, DNS, metrics, admin,
//! drain) and the workers run until the drain ends or a worker panics.

mod build;
mod certificates;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

pub use self::build::{Built, build, build_with};
use self::certificates::Certificates;
use crate::admin::{self, Admin, FaultError, FaultOperation, OperateError, Site, Surface};
use crate::config::model::{self, Config};
use crate::lifecycle::workers::Worker;
use crate::lifecycle::{cores, drain, tasks};
use crate::listener::{self, Door};
use crate::net::{Address, Bound};
use crate::proxy::Activity;
use crate::resilience::breaker::Operation;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::time;
use crate::upstream::Upstream;
use crate::upstream::forward::Following;
use crate::upstream::resolve::{Lookup, Resolution};
use crate::upstream::view::UpstreamView;

/// Exit code of a listener that cannot be bound (`EX_UNAVAILABLE`).
const UNAVAILABLE: u8 = 69;
/// Exit code of a certificate or key that cannot be used (`EX_CONFIG`).
const CONFIG: u8 = 78;
/// Exit code of anything else that the system refuses (`EX_OSERR`).
const OS_ERROR: u8 = 71;

/// How often pools are looked through for connections whose time is over.
const REAP: Duration = Duration::from_millis(500);

/// Permissions of a Unix socket for those who call: our user and group.
const SHARED: u32 = 0o660;
/// Permissions of the admin socket: whoever reaches it can change things.
const OWN: u32 = 0o600;

/// A running proxy.
pub struct App {
    control: JoinHandle<Ended>,
    addresses: Addresses,
    handle: Handle,
}

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Listeners by name, in the order of the file.
    pub listeners: Vec<(Arc<str>, Address)>,
    /// Metrics and health.
    pub metrics: Option<Address>,
    /// Status page and operations.
    pub admin: Option<Address>,
}

/// Why it did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// What failed, for people.
    pub message: String,
    /// Exit code for the process, by sysexits.
    pub exit_code: u8,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was drained.
    Drained,
    /// A thread or a vital task panicked or failed; the text says which.
    WorkerPanic(String),
}

/// A hold on a running proxy.
#[derive(Clone)]
pub struct Handle(Arc<Process>);

/// What is known about the process everywhere.
struct Process {
    upstreams: Vec<Arc<Upstream>>,
    /// Names that have not been looked up yet.
    unresolved: AtomicUsize,
    draining: AtomicBool,
    drain: watch::Sender<bool>,
}

impl Handle {
    /// Begins the drain; again does nothing.
    pub fn drain(&self) {
        self.0.draining.store(true, Relaxed);
        self.0.drain.send_replace(true);
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Relaxed)
    }

    /// What every upstream looks like now.
    pub fn status(&self) -> Vec<UpstreamView> {
        self.0.views()
    }
}

impl Admin for Process {
    fn views(&self) -> Vec<UpstreamView> {
        let now = time::now();
        self.upstreams
            .iter()
            .map(|upstream| upstream.view(now))
            .collect()
    }

    fn view(&self, upstream: &str) -> Option<UpstreamView> {
        let found = self.upstreams.iter().find(|one| &*one.name == upstream);
        found.map(|upstream| upstream.view(time::now()))
    }

    fn ready(&self) -> Result<(), &'static str> {
        if self.draining.load(Relaxed) {
            Err("draining")
        } else if self.unresolved.load(Relaxed) > 0 {
            Err("starting")
        } else {
            Ok(())
        }
    }

    fn operate(
        &self,
        upstream: &str,
        route: Option<&str>,
        operation: Operation,
    ) -> Result<(), OperateError> {
        admin::operate(&self.upstreams, upstream, route, operation)
    }

    fn fault(&self, upstream: &str, operation: FaultOperation) -> Result<Option<u64>, FaultError> {
        admin::fault(&self.upstreams, upstream, operation)
    }

    fn restore(&self, upstream: &str, endpoint: &Address) -> Option<bool> {
        admin::restore(&self.upstreams, upstream, endpoint)
    }
}

/// What the control thread is given.
struct Control {
    process: Arc<Process>,
    runtime: model::Runtime,
    listeners: Vec<(Arc<crate::proxy::Listener>, Bound)>,
    servers: Vec<(Bound, Surface)>,
    certificates: Certificates,
    resolutions: Vec<Arc<Resolution>>,
    followings: UnboundedReceiver<Following>,
    lookup: Arc<Lookup>,
    metrics: Metrics,
    access_log: Arc<AccessLog>,
    workers: Vec<Worker>,
    /// Told the names of threads and vital tasks that have failed.
    failed: UnboundedSender<String>,
    failures: UnboundedReceiver<String>,
    drain: watch::Receiver<bool>,
}

impl App {
    /// Binds every socket, builds everything, starts the threads.
    ///
    /// # Errors
    ///
    /// Says what could not be bound or started; nothing runs then.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let count = config
            .runtime
            .workers
            .map_or_else(cores::workers, usize::from);
        let metrics = Metrics::new(count).map_err(|error| StartError {
            message: error.to_string(),
            exit_code: OS_ERROR,
        })?;
        let built = build(config, count, &metrics).map_err(|error| StartError {
            message: error.to_string(),
            exit_code: CONFIG,
        })?;
        let certificates = Certificates::of(&built, &metrics);

        let mut listeners = Vec::new();
        let mut addresses = Addresses {
            listeners: Vec::new(),
            metrics: None,
            admin: None,
        };
        for (settings, listener) in config.listeners.iter().zip(built.listeners) {
            let (socket, address) = bind(&settings.name, &settings.address, SHARED)?;
            addresses
                .listeners
                .push((Arc::clone(&settings.name), address));
            listeners.push((listener, socket));
        }
        let mut servers = Vec::new();
        if let Some(address) = &config.metrics {
            let (socket, address) = bind("metrics", address, SHARED)?;
            addresses.metrics = Some(address);
            servers.push((socket, Surface::Metrics));
        }
        if let Some(address) = &config.admin {
            let (socket, address) = bind("admin", address, OWN)?;
            addresses.admin = Some(address);
            servers.push((socket, Surface::Admin));
        }

        set_own(&built.upstreams, &addresses);
        let resolutions: Vec<_> = built
            .upstreams
            .iter()
            .zip(&config.upstreams)
            .map(|(upstream, settings)| Resolution::begin(upstream, &settings.endpoints))
            .collect();
        let unresolved = resolutions
            .iter()
            .map(|resolution| resolution.names().len())
            .sum();
        let (drain, draining) = watch::channel(false);
        let process = Arc::new(Process {
            upstreams: built.upstreams,
            unresolved: AtomicUsize::new(unresolved),
            draining: AtomicBool::new(false),
            drain,
        });

        let access_log =
            AccessLog::new(&config.access_log, std::io::stdout(), metrics.access_log());
        let access_log = Arc::new(access_log.map_err(os_error("the access log"))?);
        let (failed, failures) = unbounded_channel();
        let workers = (0..count)
            .map(|index| Worker::spawn(index, Arc::clone(&access_log), failed.clone()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(os_error("a worker"))?;

        let control = Control {
            process: Arc::clone(&process),
            runtime: config.runtime.clone(),
            listeners,
            servers,
            certificates,
            resolutions,
            followings: built.followings,
            lookup: Arc::new(Lookup::new(&config.dns)),
            metrics,
            access_log,
            workers,
            failed,
            failures,
            drain: draining,
        };
        let control = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || control.run())
            .map_err(os_error("the control thread"))?;
        log_addresses(&addresses);
        if unresolved == 0 {
            tracing::info!("ready");
        }
        Ok(Self {
            control,
            addresses,
            handle: Handle(process),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// A hold on it that may go anywhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Blocks until it has drained or a thread has panicked.
    pub fn wait(self) -> Ended {
        self.control
            .join()
            .unwrap_or_else(|_| Ended::WorkerPanic("control".into()))
    }
}

fn bind(name: &str, address: &Address, mode: u32) -> Result<(Bound, Address), StartError> {
    Bound::bind(address, mode)
        .and_then(|socket| socket.address().map(|address| (socket, address)))
        .map_err(|error| StartError {
            message: format!("cannot listen on {address} for `{name}`: {error}"),
            exit_code: UNAVAILABLE,
        })
}

/// Tells upstreams whose callers name the host where they must not lead: back to us.
fn set_own(upstreams: &[Arc<Upstream>], addresses: &Addresses) {
    let listeners = addresses.listeners.iter().map(|(_, address)| address);
    let all = listeners.chain(&addresses.metrics).chain(&addresses.admin);
    let own: Vec<_> = all.filter_map(Address::ip).collect();
    let targets = upstreams
        .iter()
        .filter_map(|upstream| upstream.targets.as_ref());
    targets.for_each(|targets| targets.set_own(&own));
}

fn os_error(what: &'static str) -> impl Fn(std::io::Error) -> StartError {
    move |error| StartError {
        message: format!("cannot start {what}: {error}"),
        exit_code: OS_ERROR,
    }
}

fn log_addresses(addresses: &Addresses) {
    for (name, address) in &addresses.listeners {
        tracing::info!(listener = &**name, %address, "listening");
    }
    for (name, address) in [("metrics", &addresses.metrics), ("admin", &addresses.admin)] {
        if let Some(address) = address {
            tracing::info!(listener = name, %address, "listening");
        }
    }
}

impl Control {
    #[expect(
        clippy::expect_used,
        reason = "without a reactor nothing can run: it says so"
    )]
    fn run(self) -> Ended {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("the system gives a reactor");
        runtime.block_on(self.serve())
    }

    async fn serve(mut self) -> Ended {
        let doors: Vec<Door> = self
            .workers
            .iter()
            .map(|worker| worker.door.clone())
            .collect();
        for (listener, socket) in std::mem::take(&mut self.listeners) {
            let doors = doors.clone();
            let failed = self.failed.clone();
            tasks::spawn_vital("acceptor", self.failed.clone(), async move {
                let name = Arc::clone(&listener.name);
                if let Err(error) = listener::accept(socket, listener, doors).await {
                    tracing::error!(listener = &*name, %error, "listener failed");
                    let _ = failed.send(format!("acceptor of {name}"));
                }
            });
        }
        self.spawn_servers();
        self.spawn_resolutions();
        let upstreams = self.process.upstreams.clone();
        tasks::spawn_vital("reaper", self.failed.clone(), async move {
            loop {
                time::sleep(REAP).await;
                let now = time::now();
                upstreams.iter().for_each(|upstream| upstream.reap(now));
            }
        });

        let certificates = std::mem::take(&mut self.certificates).keep_current();
        tasks::spawn_vital("certificates", self.failed.clone(), certificates);

        let watched: Vec<(Door, Arc<Activity>)> = self
            .workers
            .iter()
            .map(|worker| (worker.door.clone(), Arc::clone(&worker.activity)))
            .collect();
        let drained = async {
            // The sender lives as long as the process does.
            let _ = self.drain.wait_for(|draining| *draining).await;
            tracing::info!("draining");
            drain::drained(&self.runtime, &watched).await
        };
        let ended = tokio::select! {
            quiet = drained => {
                tracing::info!(quiet, "drained");
                Ended::Drained
            }
            Some(thread) = self.failures.recv() => Ended::WorkerPanic(thread),
        };
        drop((doors, watched));
        self.access_log.close();
        ended
    }

    fn spawn_servers(&mut self) {
        let site = Arc::new(Site {
            admin: Arc::clone(&self.process) as Arc<dyn Admin>,
            metrics: self.metrics.clone(),
        });
        for (socket, surface) in std::mem::take(&mut self.servers) {
            let site = Arc::clone(&site);
            let failed = self.failed.clone();
            tasks::spawn_vital("admin server", self.failed.clone(), async move {
                if let Err(error) = admin::serve(socket, surface, site).await {
                    tracing::error!(?surface, %error, "admin server failed");
                    let _ = failed.send(format!("{surface:?} server"));
                }
            });
        }
    }

    fn spawn_resolutions(&mut self) {
        for resolution in std::mem::take(&mut self.resolutions) {
            for name in resolution.names() {
                let process = Arc::clone(&self.process);
                let tried = move || {
                    if process.unresolved.fetch_sub(1, Relaxed) == 1 {
                        tracing::info!("ready");
                    }
                };
                let (resolution, lookup) = (Arc::clone(&resolution), Arc::clone(&self.lookup));
                let current = resolution.keep_current(name, lookup, tried);
                tasks::spawn_vital("resolution", self.failed.clone(), current);
            }
        }
        let (_, nobody) = unbounded_channel();
        let mut followings = std::mem::replace(&mut self.followings, nobody);
        let (lookup, failed) = (Arc::clone(&self.lookup), self.failed.clone());
        tasks::spawn_vital("targets", self.failed.clone(), async move {
            while let Some(following) = followings.recv().await {
                let run = following.run(Arc::clone(&lookup));
                tasks::spawn_vital("resolution", failed.clone(), run);
            }
        });
    }
}

//! A load generator for HTTP/1.1: one thread, epoll, closed or open loop.
//!
//! Closed loop: each of `--conns` connections sends its next request when the last response is
//! whole. Open loop (`--rate`): requests are due at Poisson-spaced instants; one that finds no
//! free connection waits, and its latency counts from the instant it was due, so that a server
//! that stalls cannot hide. `--close`: a connection per request, closed by the server. `--hold`:
//! opens the connections, sends one request on each, says how many are open, and keeps them until
//! its input ends.
//!
//! The CPU clocks of `--pids` are read at both ends of the measured window, so that CPU per
//! request covers exactly the requests that count. The result is one JSON object.

mod cpu;
mod hist;
mod load;
mod options;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::load::Load;
use crate::options::Options;

/// A request unanswered at the end of an open-loop run has stuck if it was due so long before.
const STUCK: u64 = 100_000_000;

fn main() -> ExitCode {
    let result = Options::read().and_then(|options| run(options).map_err(|e| e.to_string()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("loadgen: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> io::Result<()> {
    let mut load = Load::new(options)?;
    if load.options.hold {
        let open = load.open_all(30_000_000_000)?;
        println!("{{\"open\": {open}}}");
        io::stdout().flush()?;
        io::stdin().read_line(&mut String::new())?;
        return Ok(());
    }
    load.start()?;
    let mut arrivals = load
        .options
        .rate
        .map(|rate| Arrivals::new(rate, load.now()));
    let begin = load.options.warmup;
    let end = begin + load.options.duration;
    drive(&mut load, arrivals.as_mut(), begin)?;

    let before = cpu::used(&load.options.pids);
    load.measuring = true;
    let opened = load.now();
    drive(&mut load, arrivals.as_mut(), end)?;
    let closed = load.now();
    let after = cpu::used(&load.options.pids);
    report(
        &mut load,
        closed - opened,
        after.nanos - before.nanos,
        after.switches.saturating_sub(before.switches),
    );
    Ok(())
}

fn drive(load: &mut Load, mut arrivals: Option<&mut Arrivals>, end: u64) -> io::Result<()> {
    loop {
        let now = load.now();
        if now >= end {
            return Ok(());
        }
        let mut until = end;
        if let Some(arrivals) = &mut arrivals {
            while arrivals.due <= now as f64 {
                load.arrive(arrivals.due as u64)?;
                arrivals.advance();
            }
            until = until.min(arrivals.due as u64);
        }
        load.poll(until)?;
    }
}

fn report(load: &mut Load, nanos: u64, cpu: i64, switches: u64) {
    let requests = load.latencies.count();
    let now = load.now();
    let mut stuck = 0;
    if load.options.rate.is_some() {
        let waits: Vec<u64> = load.unanswered().map(|due| now - due.min(now)).collect();
        for wait in waits.into_iter().filter(|wait| *wait > STUCK) {
            load.latencies.add(wait);
            stuck += 1;
        }
    }
    let secs = nanos as f64 / 1e9;
    let latencies = &load.latencies;
    let quantile = |share| latencies.quantile(share);
    println!(
        "{{\"secs\": {secs:.4}, \"requests\": {requests}, \"rps\": {:.1}, \"errors\": {}, \
         \"non2xx\": {}, \"stuck\": {stuck}, \"mean_us\": {:.2}, \"p50_us\": {:.2}, \
         \"p90_us\": {:.2}, \"p99_us\": {:.2}, \"p999_us\": {:.2}, \"max_us\": {:.2}, \
         \"mb_s\": {:.1}, \"cpu_s\": {:.4}, \"switches\": {switches}}}",
        requests as f64 / secs,
        load.errors,
        load.bad_status,
        latencies.mean(),
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(0.999),
        latencies.max(),
        load.bytes as f64 / secs / 1e6,
        cpu as f64 / 1e9,
    );
}

/// Poisson arrivals.
struct Arrivals {
    /// Nanoseconds between two, in the mean.
    every: f64,
    due: f64,
    seed: u64,
}

impl Arrivals {
    fn new(rate: f64, now: u64) -> Self {
        Self {
            every: 1e9 / rate,
            due: now as f64,
            seed: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn advance(&mut self) {
        // Marsaglia's xorshift64: the same arrivals in each run.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let uniform = ((self.seed >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        self.due -= uniform.ln() * self.every;
    }
}

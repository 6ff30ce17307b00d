//! Arguments and subcommands: what an operator types, and the exit code he gets.
//!
//! Exit codes follow sysexits where one fits. Standard output and error are written here and in
//! [`crate::demo`] alone.

mod check;
mod exec;
mod explain;
mod probe;
mod run;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::{App, Ended, StartError};
use crate::config::model::Config;
use crate::demo::{self, script::Script};
use crate::{config, telemetry};

/// Done.
const OK: u8 = 0;
/// A question whose answer is no: a bad file, not healthy, not ready.
const NO: u8 = 1;
/// `EX_USAGE`.
const USAGE: u8 = 64;
/// `EX_SOFTWARE`.
const SOFTWARE: u8 = 70;
/// `EX_CONFIG`.
const CONFIG: u8 = 78;

/// A sidecar resilience proxy: cuts slow upstreams loose early, cheaply and visibly
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    Run {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Check a configuration file and show every problem in it
    Check {
        /// The configuration file
        file: PathBuf,
        /// How problems are written
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Explain what becomes of a request: route, policies, worst case, and what cannot work
    Explain(Explain),
    /// See a slow upstream being cut loose, in one command and without a configuration
    Demo(Demo),
    /// Ask a running proxy whether it is alive; exit code 0 or 1
    Healthcheck {
        #[command(flatten)]
        target: Target,
        /// Ask whether it is ready for traffic instead
        #[arg(long)]
        ready: bool,
    },
    /// Wait until a running proxy is ready; exit code 0, or 1 when the time is over
    Wait {
        #[command(flatten)]
        target: Target,
        /// How long at most
        #[arg(long, default_value = "30s", value_parser = duration)]
        timeout: Duration,
    },
    /// Run a command beside the proxy, and end with it and with its exit code
    Exec {
        #[command(flatten)]
        config: ConfigFile,
        /// The command and its arguments, after `--`
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// The configuration file
    #[arg(long = "config", env = "OUTRIGGER_CONFIG", value_name = "FILE")]
    file: PathBuf,
}

/// Where a running proxy is asked.
#[derive(Args, Debug)]
struct Target {
    /// The metrics listener, such as http://127.0.0.1:9902 (which is the default) or
    /// unix:/run/metrics.sock
    #[arg(long)]
    url: Option<probe::Place>,
    /// Take the address from this configuration file's `[metrics]`
    #[arg(long = "config", env = "OUTRIGGER_CONFIG", value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Explain {
    /// The configuration file
    file: PathBuf,
    /// The method of the request, such as GET
    method: String,
    /// Its URL as the caller writes it, such as http://127.0.0.1:9001/v2, or its path
    url: String,
    /// A field of the request; may be given more than once
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The listener that it arrives at, where the URL does not say
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// How the explanation is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Args, Debug)]
struct Demo {
    /// The proxy's port for the steady upstream, the next being for the moody one; 0 takes any
    /// free ports for everything [default: 8001, if free]
    #[arg(long)]
    port: Option<u16>,
    /// Calls a second on each upstream
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// End after this long
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    run_for: Option<Duration>,
    /// Type by the clock, such as "3s hang; 15s ok; 25s quit"
    #[arg(long, default_value = "", value_parser = script, hide_default_value = true)]
    script: Script,
    /// Write the proxy's log to standard error too
    #[arg(long)]
    verbose: bool,
    /// Print the configuration that the demo runs, and end
    #[arg(long)]
    print_config: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Runs the command line and returns the process's exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            // Help and version come this way too, and are no mistake.
            let code = if problem.use_stderr() { USAGE } else { OK };
            let _ = problem.print();
            return code.into();
        }
    };
    let code = match arguments.command {
        Command::Run { config } => run::run(&config.file),
        Command::Check { file, format } => check::check(&file, format),
        Command::Explain(arguments) => explain::explain(arguments),
        Command::Demo(demo) => run_demo(demo),
        Command::Healthcheck { target, ready } => probe::healthcheck(&target, ready),
        Command::Wait { target, timeout } => probe::wait(&target, timeout),
        Command::Exec { config, command } => exec::exec(&config.file, &command),
    };
    code.into()
}

fn run_demo(arguments: Demo) -> u8 {
    if arguments.print_config {
        print(demo::CONFIG);
        return OK;
    }
    let options = demo::Options {
        port: arguments.port,
        rate: arguments.rate,
        run_for: arguments.run_for,
        script: arguments.script,
        verbose: arguments.verbose,
    };
    match demo::run(options) {
        Ok(()) => OK,
        Err(failure) => {
            complain(&failure.message);
            failure.exit_code
        }
    }
}

/// Loads a configuration and starts its log, or says what is wrong and returns the exit code.
fn load(file: &Path) -> Result<Config, u8> {
    let inspection = config::inspect_all(file);
    let Some(config) = inspection.config else {
        // Each begins with its own heading and place.
        let _ = write!(io::stderr(), "{}", inspection.diagnostics);
        return Err(CONFIG);
    };
    telemetry::logging::init(&config.log).map_err(|problem| {
        complain(&problem);
        CONFIG
    })?;
    for warning in inspection.diagnostics.items() {
        let (id, problem) = (warning.id.as_str(), &warning.message);
        tracing::warn!(id, problem, "configuration warning: see `outrigger check`");
    }
    Ok(config)
}

/// Starts the proxy, or says why it does not start and returns the exit code.
fn start(config: &Config) -> Result<App, u8> {
    App::start(config).map_err(|StartError { message, exit_code }| {
        complain(&message);
        exit_code
    })
}

/// The exit code of a proxy that has ended, and a message if that was not wanted.
fn ended(end: Result<Ended, tokio::task::JoinError>) -> u8 {
    let message = match end {
        Ok(Ended::Drained) => return OK,
        Ok(Ended::WorkerPanic(message)) => message,
        Err(problem) => problem.to_string(),
    };
    complain(&format_args!(
        "a thread of the proxy has panicked: {message}"
    ));
    SOFTWARE
}

/// Writes to standard output. A reader that is gone has seen what it wanted.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Writes one message to standard error.
fn complain(message: &(impl Display + ?Sized)) {
    let _ = writeln!(io::stderr(), "outrigger: {message}");
}

fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text)
}

fn script(text: &str) -> Result<Script, String> {
    Script::parse(text, duration)
}

#[cfg(test)]
mod tests;

//! Callers over TLS at a fixed rate, and the upstream behind TLS that answers them: the load of
//! `tls-swap`, which swaps certificates meanwhile.
//!
//! `swapload RATE TRUST CALLERS CERT`: requests a second, the CA of the edge, the CA of those who
//! may call the upstream, and the upstream's certificate, whose key lies beside it (`.key`). It
//! says where the upstream is, and then does what its input says, a line each: `start PORT` calls
//! the edge, `use CERT` gives the upstream another certificate, `phase NAME` names what calls are
//! counted under from now on, and its end ends the calls. It tells at once when a side shows a
//! certificate for the first time and when a call fails, and in the end what it counted: a line of
//! JSON each.

mod callers;
mod record;
mod upstream;

use std::cell::RefCell;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;

use crate::callers::Callers;
use crate::record::Record;
use crate::upstream::Upstream;

/// Whatever went wrong.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime
        .map_err(Failure::from)
        .and_then(|runtime| LocalSet::new().block_on(&runtime, run()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("swapload: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rate, trust, own, cert] = arguments.as_slice() else {
        return Err("usage: swapload RATE TRUST CALLERS CERT".into());
    };
    let rate: f64 = rate.parse()?;
    let record = Rc::new(RefCell::new(Record::new()));
    let upstream = Upstream::start(roots(own)?, Path::new(cert), &record).await?;
    println!("{{\"upstream\": {}}}", upstream.port);
    let mut input = input();
    let mut running = None;
    while let Some(line) = input.recv().await {
        match line.split_once(' ') {
            Some(("start", port)) => {
                let callers = Callers::new(port.parse()?, roots(trust)?, rate, &record)?;
                let stop = Rc::clone(&callers.stop);
                running = Some((tokio::task::spawn_local(callers.run()), stop));
            }
            Some(("use", cert)) => upstream.show(Path::new(cert))?,
            Some(("phase", name)) => record.borrow_mut().phase = name.to_owned(),
            _ => return Err(format!("what is `{line}`?").into()),
        }
    }
    if let Some((calls, stop)) = running {
        stop.set(true);
        calls.await?;
    }
    record.borrow_mut().print();
    Ok(())
}

/// Lines of standard input; a thread reads them.
fn input() -> UnboundedReceiver<String> {
    let (sender, lines) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn roots(file: impl Into<PathBuf>) -> Result<Arc<RootCertStore>, Failure> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(file.into())? {
        roots.add(root?)?;
    }
    Ok(Arc::new(roots))
}

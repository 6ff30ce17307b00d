//! The command line, and the request that it asks for.

use std::io::Write;

/// What to do.
pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) conns: usize,
    /// Nanoseconds before measuring begins.
    pub(crate) warmup: u64,
    /// Nanoseconds measured.
    pub(crate) duration: u64,
    pub(crate) path: String,
    pub(crate) body: usize,
    /// Requests a second; `None` is a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) close: bool,
    pub(crate) hold: bool,
    pub(crate) pids: Vec<i32>,
}

impl Options {
    /// Reads the arguments of the process; says what is wrong with them.
    pub(crate) fn read() -> Result<Self, String> {
        let mut options = Self {
            port: 0,
            conns: 64,
            warmup: 1_000_000_000,
            duration: 3_000_000_000,
            path: "/b/128".to_owned(),
            body: 0,
            rate: None,
            close: false,
            hold: false,
            pids: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--close" => options.close = true,
                "--hold" => options.hold = true,
                _ => {
                    let value = arguments.next().ok_or(format!("{name} needs a value"))?;
                    let wrong = format!("{name} {value} makes no sense");
                    options.set(&name, &value).ok_or(wrong)?;
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let nanos = || value.parse().ok().map(|secs: f64| (secs * 1e9) as u64);
        match name {
            "--port" => self.port = value.parse().ok()?,
            "--conns" => self.conns = value.parse().ok()?,
            "--warmup" => self.warmup = nanos()?,
            "--duration" => self.duration = nanos()?,
            "--path" => value.clone_into(&mut self.path),
            "--body" => self.body = value.parse().ok()?,
            "--rate" => self.rate = Some(value.parse().ok().filter(|rate| *rate > 0.0)?),
            "--pids" => {
                let pids = value.split(',').filter(|pid| !pid.is_empty());
                self.pids = pids.map(|pid| pid.parse().ok()).collect::<Option<_>>()?;
            }
            _ => return None,
        }
        Some(())
    }

    /// The request, as an ordinary client sends it.
    pub(crate) fn request(&self) -> Vec<u8> {
        let mut request = Vec::new();
        let method = if self.body > 0 { "POST" } else { "GET" };
        let connection = if self.close {
            "connection: close\r\n"
        } else {
            ""
        };
        let length = match self.body {
            0 => String::new(),
            body => format!("content-type: application/json\r\ncontent-length: {body}\r\n"),
        };
        // Writing to a vector cannot fail.
        let _ = write!(
            request,
            "{method} {} HTTP/1.1\r\n\
             host: bench.local\r\n\
             user-agent: loadgen/0.1\r\n\
             accept: application/json\r\n\
             accept-encoding: gzip\r\n\
             x-request-id: 4c1f0f0e-52f1-4a55-9f57-0a6a55d1e0ad\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
             authorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef\r\n\
             {connection}{length}\r\n",
            self.path
        );
        request.resize(request.len() + self.body, b'y');
        request
    }
}

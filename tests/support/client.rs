//! A blocking HTTP/1.1 client on a raw socket: it sees exactly what a caller of the proxy sees.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::PATIENCE;
use super::wire::{Head, Stop, Wire};

/// A whole response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Statuses of the interim (1xx) responses before it.
    pub(crate) interim: Vec<u16>,
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }
}

/// A response that did not come, or came in part.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) stop: Stop,
    /// The status, where the head came.
    pub(crate) status: Option<u16>,
    /// What came of the body.
    pub(crate) body: Vec<u8>,
}

/// One connection to the proxy.
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).expect("the proxy accepts"))
    }

    /// On a connection that is there already.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("the option is supported");
        let wire = Wire::new(Arc::new(stream));
        wire.set_patience(Some(PATIENCE));
        Self { wire }
    }

    /// The socket, to write to while this reads.
    pub(crate) fn share(&self) -> Arc<TcpStream> {
        self.wire.share()
    }

    /// What is not HTTP any more.
    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }

    /// Writes raw bytes; that the peer no longer reads is not an error here.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        drop(self.wire.write(bytes.as_ref()));
        self
    }

    /// Writes until all is taken or nothing was for `limit`, and says how much was.
    pub(crate) fn send_some(&self, bytes: &[u8], limit: Duration) -> usize {
        let mut stream = self.wire.stream();
        stream
            .set_write_timeout(Some(limit))
            .expect("the option is supported");
        let mut sent = 0;
        while sent < bytes.len() {
            match stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        stream
            .set_write_timeout(None)
            .expect("the option is supported");
        sent
    }

    /// Sends the head and body of one request.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> &mut Self {
        let mut message = format!("{method} {target} HTTP/1.1\r\n");
        let named = |name: &str| {
            fields
                .iter()
                .any(|field| field.0.eq_ignore_ascii_case(name))
        };
        if !named("host") {
            message += "host: api.test\r\n";
        }
        let unframed = !named("content-length") && !named("transfer-encoding");
        if unframed && (!body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH")) {
            message += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in fields {
            message += &format!("{name}: {value}\r\n");
        }
        let mut message = (message + "\r\n").into_bytes();
        message.extend_from_slice(body);
        self.send(message)
    }

    /// Reads the response to a request with `method`.
    pub(crate) fn response(&mut self, method: &str) -> Result<Response, Broken> {
        let mut interim = Vec::new();
        let mut body = Vec::new();
        let broken = |stop, status, body: &Vec<u8>| Broken {
            stop,
            status,
            body: body.clone(),
        };
        loop {
            let head = self.wire.head().map_err(|stop| broken(stop, None, &body))?;
            let Ok(status) = head.word(1).parse::<u16>() else {
                return Err(broken(Stop::Garbled(head.start), None, &body));
            };
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let trailers = self
                .body(method, status, &head, &mut body)
                .map_err(|stop| broken(stop, Some(status), &body))?;
            return Ok(Response {
                status,
                head,
                body,
                trailers,
                interim,
            });
        }
    }

    fn body(
        &mut self,
        method: &str,
        status: u16,
        head: &Head,
        body: &mut Vec<u8>,
    ) -> Result<Vec<(String, String)>, Stop> {
        let mut sink = |bytes: &[u8]| body.extend_from_slice(bytes);
        if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            return Ok(Vec::new());
        }
        match (head.chunked(), head.content_length()?) {
            (true, None) => return self.wire.chunks(&mut sink),
            (true, Some(_)) => return Err(Stop::Garbled("two framings".to_owned())),
            (false, Some(length)) => self.wire.exactly(length, &mut sink)?,
            (false, None) => self.wire.rest(&mut sink)?,
        }
        Ok(Vec::new())
    }

    /// One exchange.
    pub(crate) fn call(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Broken> {
        self.request(method, target, fields, body).response(method)
    }

    /// One GET, answered as a whole.
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.call("GET", target, &[], b"")
            .expect("a whole response")
    }

    /// One POST, answered as a whole.
    pub(crate) fn post(&mut self, target: &str, body: &[u8]) -> Response {
        self.call("POST", target, &[], body)
            .expect("a whole response")
    }

    /// Waits until these bytes came, and leaves them unread.
    pub(crate) fn await_bytes(&mut self, bytes: &[u8]) {
        self.wire.buffer_until(bytes).expect("these bytes");
    }

    /// Reads one response head and leaves the body unread.
    pub(crate) fn head(&mut self) -> Head {
        self.wire.head().expect("a response head")
    }

    /// Reads `length` bytes of a body without framing of its own.
    pub(crate) fn exactly(&mut self, length: u64) -> Result<Vec<u8>, Stop> {
        let mut body = Vec::new();
        self.wire
            .exactly(length, &mut |bytes| body.extend_from_slice(bytes))
            .map(|()| body)
    }

    /// Whether anything comes within `limit`.
    pub(crate) fn answers_within(&self, limit: Duration) -> bool {
        self.wire.set_patience(Some(limit));
        let came = self.wire.stream().peek(&mut [0]).is_ok();
        self.wire.set_patience(Some(PATIENCE));
        came
    }

    /// Whether the proxy ends this connection without sending anything more.
    pub(crate) fn ends(&mut self) -> bool {
        let mut extra = self.wire.leftover().len();
        let end = self.wire.rest(&mut |bytes| extra = extra.max(bytes.len()));
        extra == 0 && matches!(end, Ok(()) | Err(Stop::Reset))
    }

    /// Ends the sending side, and still reads.
    pub(crate) fn finish(&mut self) -> &mut Self {
        let end = self.wire.stream().shutdown(std::net::Shutdown::Write);
        end.expect("an open connection");
        self
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(self.wire.stream());
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("the option is supported");
    }
}

/// One GET over a connection of its own.
pub(crate) fn get(address: SocketAddr, target: &str) -> Response {
    Client::connect(address).get(target)
}

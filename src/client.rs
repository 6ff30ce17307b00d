//! A small HTTP/1.1 client for our own control traffic: health questions and the demo's load.
//!
//! Plain HTTP to one address, whole bodies, no redirects, no retries, no pool. Nothing of the
//! data plane is here: upstream connections belong to [`crate::pool`].

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use crate::lifecycle::tasks;
use crate::net::{Address, SocketStream};

/// A body may have this many bytes: what we ask for is small.
const MAX_BODY: usize = 1 << 20;
/// Readiness is asked for this often.
const POLL: Duration = Duration::from_millis(50);

/// Asks `GET path` of `addr` on a connection of its own and waits at most `timeout` for the whole
/// answer. The error is one line for people.
pub async fn get(addr: &Address, path: &str, timeout: Duration) -> Result<Response<Bytes>, String> {
    let exchange = async {
        let mut connection = Connection::open(addr).await?;
        connection.send(Method::GET, path).await
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer from {addr} within {timeout:?}")),
    }
}

/// Asks `/readyz` of a metrics listener until it answers 200, every 50 ms for at most `timeout`.
/// The error says what it answered last.
pub async fn until_ready(addr: &Address, timeout: Duration) -> Result<(), String> {
    let mut last = format!("no answer from {addr}");
    let ready = async {
        loop {
            match get(addr, "/readyz", timeout).await {
                Ok(answer) if answer.status() == 200 => break,
                Ok(answer) => last = format!("{addr} answered {}", answer.status()),
                Err(error) => last = error,
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let in_time = tokio::time::timeout(timeout, ready).await.is_ok();
    if in_time { Ok(()) } else { Err(last) }
}

/// One keep-alive connection; closed when dropped, with whatever exchange it carries.
#[derive(Debug)]
pub struct Connection {
    addr: Address,
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects to `addr`.
    pub async fn open(addr: &Address) -> Result<Self, String> {
        let explain = |error: &dyn std::fmt::Display| format!("cannot connect to {addr}: {error}");
        let stream = SocketStream::connect(addr).await.map_err(|e| explain(&e))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|e| explain(&e))?;
        let driver = tasks::spawn("client", async move {
            // The exchange sees the same error and reports it.
            let _ = connection.await;
        });
        Ok(Self {
            addr: addr.clone(),
            sender,
            driver,
        })
    }

    /// Sends one request without a body and reads the whole answer (1 MiB at most).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, the connection must be dropped too: its exchange is abandoned.
    pub async fn send(&mut self, method: Method, path: &str) -> Result<Response<Bytes>, String> {
        let addr = &self.addr;
        let explain = |error: &dyn std::fmt::Display| format!("no answer from {addr}: {error}");
        self.sender.ready().await.map_err(|e| explain(&e))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, addr.host())
            .body(Empty::new())
            .map_err(|e| explain(&e))?;
        let answer = self
            .sender
            .send_request(request)
            .await
            .map_err(|e| explain(&e))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|e| explain(&e))?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    /// Whether the peer has closed it, as far as known yet.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[cfg(test)]
mod tests;

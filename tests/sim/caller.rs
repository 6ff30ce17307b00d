//! A caller on one connection: writes raw bytes, reads what comes of it.

use tokio::io::DuplexStream;

use crate::wire::{Head, Stop, Wire};

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Got {
    /// 0 where no response head came.
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// Whether all of the body came.
    pub(crate) whole: bool,
}

impl Got {
    /// Why the proxy answered itself; empty where it was the upstream that did.
    pub(crate) fn reason(&self) -> &str {
        let status = self.head.field("proxy-status").unwrap_or_default();
        let details = status.split_once("details=\"");
        details.map_or("", |(_, reason)| reason.trim_end_matches('"'))
    }
}

/// One connection to the proxy.
pub(crate) struct Caller(Wire<DuplexStream>);

impl Caller {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        Self(Wire::new(stream))
    }

    /// Writes bytes; that the proxy has gone is found out when reading.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.0.write(bytes.as_ref()).await);
    }

    /// Reads a response head, be it an interim one.
    pub(crate) async fn any_head(&mut self) -> Result<Head, Stop> {
        self.0.head().await
    }

    /// Reads a response head.
    pub(crate) async fn head(&mut self) -> Result<Head, Stop> {
        loop {
            let head = self.0.head().await?;
            if head.word(1) != "100" {
                return Ok(head);
            }
        }
    }

    /// Reads a response to its end, or as far as it comes.
    pub(crate) async fn response(&mut self) -> Got {
        let mut got = Got::default();
        let Ok(head) = self.head().await else {
            return got;
        };
        got.status = head.word(1).parse().expect("a status is a number");
        let to_end = got.status != 204;
        got.whole = self.0.body(&head, to_end, &mut got.body).await.is_ok();
        got.head = head;
        got
    }

    /// Sends a GET and reads the response.
    pub(crate) async fn get(&mut self, path: &str) -> Got {
        self.write(get(path)).await;
        self.response().await
    }

    /// Returns when the proxy has closed the connection.
    pub(crate) async fn closed(&mut self) {
        self.0.gone().await;
    }
}

/// A GET.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: simulated\r\n\r\n")
}

/// The head of a POST with a body of `length` bytes.
pub(crate) fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: simulated\r\ncontent-length: {length}\r\n\r\n")
}

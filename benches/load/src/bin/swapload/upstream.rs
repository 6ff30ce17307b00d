//! An upstream of HTTP/1.1 behind TLS, for those alone who show a certificate of a CA.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Failure;
use crate::record::Record;

/// Calls over one connection, so that there are handshakes all the time.
const CALLS: u32 = 20;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

/// The upstream, for as long as the process runs.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    callers: Arc<RootCertStore>,
    config: Rc<RefCell<Arc<ServerConfig>>>,
}

impl Upstream {
    /// Listens on a free port.
    pub(crate) async fn start(
        callers: Arc<RootCertStore>,
        cert: &Path,
        record: &Rc<RefCell<Record>>,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let config = Rc::new(RefCell::new(config(&callers, cert)?));
        let (live, record) = (Rc::clone(&config), Rc::clone(record));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, record) = (Arc::clone(&live.borrow()), Rc::clone(&record));
                tokio::task::spawn_local(async move {
                    // What fails here fails a call as well, which is counted there.
                    let _ = serve(stream, config, &record).await;
                });
            }
        });
        Ok(Self {
            port,
            callers,
            config,
        })
    }

    /// Shows another certificate from now on.
    pub(crate) fn show(&self, cert: &Path) -> Result<(), Failure> {
        *self.config.borrow_mut() = config(&self.callers, cert)?;
        Ok(())
    }
}

fn config(callers: &Arc<RootCertStore>, cert: &Path) -> Result<Arc<ServerConfig>, Failure> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(cert.with_extension("key"))?;
    let verifier = WebPkiClientVerifier::builder(Arc::clone(callers)).build()?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    record: &RefCell<Record>,
) -> Result<(), Failure> {
    let began = Instant::now();
    stream.set_nodelay(true)?;
    let mut stream = TlsAcceptor::from(config).accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates();
    if let Some(certificate) = shown.and_then(<[_]>::first) {
        record.borrow_mut().upstream.saw(began, certificate);
    }
    let mut input = Vec::with_capacity(1024);
    for call in 1..=CALLS {
        while !input.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
        input.clear();
        let answer = if call == CALLS { LAST } else { ANSWER };
        stream.write_all(answer).await?;
        stream.flush().await?;
    }
    stream.shutdown().await?;
    Ok(())
}

//! Each way to fail has its own reason, on either side.

use std::io;

use rcgen::ExtendedKeyUsagePurpose;

use super::*;
use crate::tls::server::handshake;
use crate::tls::{Reason, reason_of};

/// What a client of ours says of a server's certificate, and what the server then hears.
async fn of_server(leaf: &Leaf, trusted: &Ca, version: TlsVersion) -> (Reason, Reason) {
    let folder = Folder::new();
    let client = Client::new(folder.upstream(trusted)).unwrap();
    let (near, far) = shake_careless_server(&client, &careless_server(leaf, version)).await;
    (near.unwrap_err().reason, far.unwrap_err().reason)
}

#[tokio::test]
async fn of_an_upstreams_certificate() {
    let ca = Ca::new("ca");
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for (leaf, trusted, reason) in [
            (ca.leaf(HOST), &Ca::new("other"), Reason::UnknownCa),
            // Made anew under its old name.
            (ca.leaf(HOST), &Ca::new("ca"), Reason::UnknownCa),
            (ca.leaf("other.test"), &ca, Reason::WrongName),
            (ca.leaf("127.0.0.1"), &ca, Reason::WrongName),
            (ca.leaf_with(HOST, expired), &ca, Reason::Expired),
            (ca.leaf_with(HOST, future), &ca, Reason::NotYetValid),
            (
                ca.leaf_with(HOST, |params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                }),
                &ca,
                Reason::BadCertificate,
            ),
        ] {
            let (near, far) = of_server(&leaf, trusted, version).await;
            assert_eq!(
                (near, far),
                (reason, Reason::CertificateRefused),
                "{version:?}"
            );
        }
    }
}

/// What a server of ours says of a client's certificate, and what the client reads then.
async fn of_client(leaf: Option<&Leaf>, callers: &Ca, version: TlsVersion) -> (Reason, Reason) {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let server = Server::new(folder.mutual(&ca.leaf(HOST), callers), Offer::Both).unwrap();
    let client = careless_client(&ca, leaf, version);
    let (near, far) = shake_careless_client(&client, &server).await;
    let side = Side::Client {
        has_certificate: leaf.is_some(),
    };
    let near = match near {
        Ok(mut stream) => {
            assert_eq!(version, TlsVersion::V1_3, "the client was done first");
            let error = stream.read_u8().await.unwrap_err();
            reason_of(&crate::tls::error::established(error, side)).unwrap()
        }
        Err(error) => error.reason,
    };
    (far.unwrap_err().reason, near)
}

#[tokio::test]
async fn of_a_callers_certificate() {
    let callers = Ca::new("callers");
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        for (leaf, reason) in [
            (Ca::new("other").leaf("me"), Reason::UnknownCa),
            (Ca::new("callers").leaf("me"), Reason::UnknownCa),
            (callers.leaf_with("me", expired), Reason::Expired),
            (callers.leaf_with("me", future), Reason::NotYetValid),
            (
                callers.leaf_with("me", |params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                }),
                Reason::BadCertificate,
            ),
        ] {
            let (far, near) = of_client(Some(&leaf), &callers, version).await;
            assert_eq!(
                (far, near),
                (reason, Reason::CertificateRefused),
                "{version:?}"
            );
        }
        let missing = of_client(None, &callers, version).await;
        let required = Reason::ClientCertificateRequired;
        assert_eq!(missing, (required, required), "{version:?}");
    }
}

#[tokio::test]
async fn a_missing_client_certificate_is_found_at_the_first_read() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let server = Server::new(folder.mutual(&ca.leaf(HOST), &ca), Offer::Both).unwrap();
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let (near, far) = shake(&client, &server).await;
    let required = Reason::ClientCertificateRequired;
    assert_eq!(far.unwrap_err().reason, required);
    let error = near.unwrap().0.read_u8().await.unwrap_err();
    assert_eq!(reason_of(&error), Some(required));
    // As a codec passes it on.
    let wrapped = io::Error::other(io::Error::other(error));
    assert_eq!(reason_of(&wrapped), Some(required));
    assert_eq!(reason_of(&io::Error::other("another")), None);
    assert_eq!(reason_of(&io::Error::from(io::ErrorKind::BrokenPipe)), None);
}

#[tokio::test]
async fn of_versions_that_do_not_meet() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = ca.leaf(HOST);
    let strict = Client::new(UpstreamTls {
        min_version: TlsVersion::V1_3,
        ..folder.upstream(&ca)
    })
    .unwrap();
    let (near, far) =
        shake_careless_server(&strict, &careless_server(&leaf, TlsVersion::V1_2)).await;
    assert_eq!(near.unwrap_err().reason, Reason::Incompatible);
    assert_eq!(far.unwrap_err().reason, Reason::Incompatible);

    let strict = ListenerTls {
        min_version: TlsVersion::V1_3,
        ..folder.listener(&leaf)
    };
    let strict = Server::new(strict, Offer::Both).unwrap();
    let old = careless_client(&ca, None, TlsVersion::V1_2);
    let (near, far) = shake_careless_client(&old, &strict).await;
    assert_eq!(near.unwrap_err().reason, Reason::Incompatible);
    assert_eq!(far.unwrap_err().reason, Reason::Incompatible);
}

#[tokio::test]
async fn of_protocols_that_do_not_meet() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Http1).unwrap();
    let (near, far) = shake_as(&client, HOST, Offer::Http2, &server).await;
    assert_eq!(near.unwrap_err().reason, Reason::Incompatible);
    assert_eq!(far.unwrap_err().reason, Reason::Incompatible);
}

/// What either side says of a peer that says `bytes` and goes.
async fn of_bytes(bytes: &[u8]) -> [TlsError; 2] {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    let (near, mut peer) = duplex(64 * 1024);
    peer.write_all(bytes).await.unwrap();
    drop(peer);
    let far = server.accept(near).await.unwrap_err();
    let (near, mut peer) = duplex(64 * 1024);
    peer.write_all(bytes).await.unwrap();
    peer.shutdown().await.unwrap();
    let near = client.connect(HOST, Offer::Both, near).await.unwrap_err();
    [near, far]
}

#[tokio::test]
async fn of_a_peer_that_speaks_something_else_or_goes() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\x12\x04\0\0\0\0\0",
        b"SSH-2.0-x\r\n",
    ] {
        for error in of_bytes(bytes).await {
            assert_eq!(error.reason, Reason::NotTls, "{bytes:?} {error}");
        }
    }
    for bytes in [&b""[..], b"\x16\x03", b"\x16\x03\x03\0\x10ab"] {
        for error in of_bytes(bytes).await {
            assert_eq!(error.reason, Reason::Closed, "{bytes:?} {error}");
        }
    }
    // A record of application data before any handshake.
    for error in of_bytes(b"\x17\x03\x03\0\x01a").await {
        assert_eq!(error.reason, Reason::Protocol, "{error}");
    }
    // The alerts `internal_error` and `unrecognized_name`.
    for alert in [80, 112] {
        for error in of_bytes(&[0x15, 3, 3, 0, 2, 2, alert]).await {
            assert_eq!(error.reason, Reason::Alert, "{error}");
        }
    }
}

#[tokio::test]
async fn of_a_name_that_is_none() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let (near, _far) = duplex(1024);
    let error = client.connect("a b", Offer::Both, near).await.unwrap_err();
    assert_eq!(error.reason, Reason::WrongName);
    assert_eq!(
        error.to_string(),
        "the certificate is for another name: no certificate can be for `a b`"
    );
}

/// The clock of a server in the spring of 2019.
#[derive(Debug)]
struct Spring2019;

impl rustls::time_provider::TimeProvider for Spring2019 {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let seconds = std::time::Duration::from_secs(1_556_000_000);
        Some(rustls::pki_types::UnixTime::since_unix_epoch(seconds))
    }
}

#[tokio::test]
async fn a_session_does_not_outlive_its_callers_certificate() {
    let (folder, ca, callers) = (Folder::new(), Ca::new("ca"), Ca::new("callers"));
    let server = Server::new(folder.mutual(&ca.leaf(HOST), &callers), Offer::Both).unwrap();
    // Certificates are checked, and sessions made, when this one still holds.
    let mut config = (*server.live.config()).clone();
    config.time_provider = Arc::new(Spring2019);
    let config = Arc::new(config);
    let leaf = callers.leaf_with("me", expired);
    let client = careless_client(&ca, Some(&leaf), TlsVersion::V1_3);
    for turn in 0..2 {
        let (near, far) = duplex(64 * 1024);
        let (near, far) = tokio::join!(
            client.connect(server_name(HOST).unwrap(), near),
            handshake(Arc::clone(&config), far)
        );
        let mut near = near.unwrap();
        if turn == 0 {
            let mut far = far.unwrap().0;
            far.write_all(b"tickets come before this").await.unwrap();
            far.flush().await.unwrap();
            near.read_u8().await.unwrap();
        } else {
            let kind = near.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Resumed));
            assert_eq!(far.unwrap_err().reason, Reason::Expired);
        }
    }
}

#[test]
fn the_manual_has_every_reason() {
    let manual = include_str!("../../../docs/tls.md");
    for reason in Reason::ALL {
        let row = format!(
            "| `{}` | {} | `{}` |",
            reason.word(),
            reason.text(),
            reason.proxy_status()
        );
        assert!(manual.contains(&row), "docs/tls.md has no row {row}");
    }
    let rows = manual.lines().filter(|line| line.starts_with("| `tls_"));
    assert_eq!(rows.count(), Reason::ALL.len());
}

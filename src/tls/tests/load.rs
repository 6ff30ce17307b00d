//! Files that cannot be used say what is wrong with them.

use std::path::Path;

use super::*;
use crate::tls::files::{LoadError, Problem};

fn load(cert: &Path, key: &Path) -> LoadError {
    let settings = ListenerTls {
        cert: cert.to_owned(),
        key: key.to_owned(),
        client_ca: None,
        min_version: TlsVersion::V1_2,
    };
    Server::new(settings, Offer::Both).err().unwrap()
}

#[test]
fn a_bad_pair_says_which_file_and_why() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = ca.leaf(HOST);
    let cert = folder.write("cert.pem", &leaf.cert);
    let key = folder.write("key.pem", &leaf.key);
    let bad = |name, text: &str| folder.write(name, text);
    let missing = folder.path("missing.pem");
    let empty = bad("empty.pem", "");
    let torn = bad("torn.pem", &leaf.cert[..leaf.cert.len() / 2]);
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let garbled = bad("garbled.pem", garbled);
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let encrypted = bad("encrypted.pem", encrypted);
    let broken_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let broken_key = bad("broken.key", broken_key);
    let late = bad("late.pem", &ca.leaf_with(HOST, expired).cert);
    let early = bad("early.pem", &ca.leaf_with(HOST, future).cert);
    let other_key = bad("other.key", &ca.leaf(HOST).key);
    let large = bad("large.pem", &" ".repeat(5 * 1024 * 1024));
    type Fits = fn(&Problem) -> bool;
    let table: [(&Path, &Path, &Path, Fits); 12] = [
        (&missing, &key, &missing, |p| *p == Problem::NotFound),
        (&cert, &missing, &missing, |p| *p == Problem::NotFound),
        (folder.0.path(), &key, folder.0.path(), |p| {
            matches!(p, Problem::Unreadable(_))
        }),
        (&empty, &key, &empty, |p| *p == Problem::NoCertificate),
        (&torn, &key, &torn, |p| {
            matches!(p, Problem::BadCertificate(_))
        }),
        (&garbled, &key, &garbled, |p| {
            matches!(p, Problem::BadCertificate(_))
        }),
        (&cert, &cert, &cert, |p| *p == Problem::NoKey),
        (&cert, &encrypted, &encrypted, |p| {
            *p == Problem::EncryptedKey
        }),
        (&cert, &broken_key, &broken_key, |p| {
            matches!(p, Problem::BadKey(_))
        }),
        (&late, &key, &late, |p| matches!(p, Problem::Expired(_))),
        (&early, &key, &early, |p| {
            matches!(p, Problem::NotYetValid(_))
        }),
        (&large, &key, &large, |p| *p == Problem::TooLarge),
    ];
    for (cert, key, file, fits) in table {
        let error = load(cert, key);
        assert_eq!(error.file, file, "{error}");
        assert!(fits(&error.problem), "{error}");
        let text = error.to_string();
        assert!(text.contains(error.problem.help()), "{text}");
        assert!(text.contains(&file.display().to_string()), "{text}");
    }
    let error = load(&cert, &other_key);
    let text = format!(
        "`{}`: its private key is not that of the certificate in `{}` (give the key of that \
         certificate, which stands first in its file)",
        other_key.display(),
        cert.display()
    );
    assert_eq!(error.to_string(), text);
    assert_eq!(error.problem, Problem::KeyMismatch(cert.clone()));
}

#[test]
fn one_file_may_hold_both_and_other_things() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = ca.leaf(HOST);
    let both = format!("Subject: me\n{}\n{}\n{}", leaf.key, leaf.cert, ca.pem);
    let both = folder.write("both.pem", &both);
    let settings = ListenerTls {
        cert: both.clone(),
        key: both.clone(),
        client_ca: None,
        min_version: TlsVersion::V1_2,
    };
    assert!(Server::new(settings, Offer::Both).is_ok());
    let settings = UpstreamTls {
        cert: Some(both),
        ..folder.upstream(&ca)
    };
    assert!(Client::new(settings).unwrap().not_after().is_some());
}

#[test]
fn roots_have_to_be_there() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let of = |file: &Path| {
        let settings = UpstreamTls {
            ca: Some(file.to_owned()),
            ..folder.upstream(&ca)
        };
        Client::new(settings).err().unwrap().problem
    };
    assert_eq!(of(&folder.path("missing")), Problem::NotFound);
    assert_eq!(of(&folder.write("empty", "")), Problem::NoCertificate);

    let listener = ListenerTls {
        client_ca: Some(folder.path("missing")),
        ..folder.listener(&ca.leaf(HOST))
    };
    let error = Server::new(listener, Offer::Both).err().unwrap();
    assert_eq!(error.file, folder.path("missing"));
}

#[test]
fn without_roots_of_ones_own_there_are_some() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let settings = UpstreamTls {
        ca: None,
        ..folder.upstream(&ca)
    };
    let client = Client::new(settings).unwrap();
    assert_eq!(client.not_after(), None);
}

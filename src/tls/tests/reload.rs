//! Files that change under a running proxy.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::tls::Reason;
use crate::tls::files::{Outcome, Problem};

fn changed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Changed { not_after: Some(_) })
}

fn kept(outcome: Outcome) -> Problem {
    match outcome {
        Outcome::Kept(error) => error.problem,
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn by_an_edit() {
    let (folder, old, new) = (Folder::new(), Ca::new("old"), Ca::new("new"));
    let server = Server::new(folder.listener(&old.leaf(HOST)), Offer::Both).unwrap();
    let client = Client::new(folder.upstream(&old)).unwrap();
    assert_eq!(server.reload(), Outcome::Unchanged);
    assert_eq!(client.reload(), Outcome::Unchanged);

    folder.listener(&new.leaf(HOST));
    assert!(changed(&server.reload()));
    assert_eq!(server.reload(), Outcome::Unchanged);
    let (near, _) = shake(&client, &server).await;
    assert_eq!(near.unwrap_err().reason, Reason::UnknownCa);

    folder.upstream(&new);
    assert_eq!(client.reload(), Outcome::Changed { not_after: None });
    let (near, far) = shake(&client, &server).await;
    assert!(near.is_ok() && far.is_ok());
}

#[tokio::test]
async fn by_a_rename() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    let leaf = ca.leaf(HOST);
    fs::rename(folder.write("new", &leaf.cert), folder.path("server.pem")).unwrap();
    // Half of it: the old pair stays.
    assert!(matches!(kept(server.reload()), Problem::KeyMismatch(_)));
    fs::rename(folder.write("new", &leaf.key), folder.path("server.key")).unwrap();
    assert!(changed(&server.reload()));
}

/// As Kubernetes publishes a Secret: `tls.crt` -> `..data/tls.crt`, `..data` -> a folder by date.
#[tokio::test]
async fn by_a_swapped_symlink() {
    let (folder, old, new) = (Folder::new(), Ca::new("old"), Ca::new("new"));
    for (name, ca) in [("..1", &old), ("..2", &new)] {
        fs::create_dir(folder.path(name)).unwrap();
        let leaf = ca.leaf(HOST);
        folder.write(&format!("{name}/tls.crt"), &leaf.cert);
        folder.write(&format!("{name}/tls.key"), &leaf.key);
    }
    symlink("..1", folder.path("..data")).unwrap();
    symlink("..data/tls.crt", folder.path("tls.crt")).unwrap();
    symlink("..data/tls.key", folder.path("tls.key")).unwrap();
    let settings = ListenerTls {
        cert: folder.path("tls.crt"),
        key: folder.path("tls.key"),
        client_ca: None,
        min_version: TlsVersion::V1_2,
    };
    let server = Server::new(settings, Offer::Both).unwrap();
    assert_eq!(server.reload(), Outcome::Unchanged);

    symlink("..2", folder.path("..data_tmp")).unwrap();
    fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    fs::remove_dir_all(folder.path("..1")).unwrap();
    assert!(changed(&server.reload()));
    let client = Client::new(folder.upstream(&new)).unwrap();
    let (near, far) = shake(&client, &server).await;
    assert!(near.is_ok() && far.is_ok());
}

#[tokio::test]
async fn a_bad_pair_keeps_the_old_one_and_is_told_once() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = ca.leaf(HOST);
    let server = Server::new(folder.listener(&leaf), Offer::Both).unwrap();
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let late = ca.leaf_with(HOST, expired);

    let other = ca.leaf(HOST);
    let bad: [(&str, &str); 4] = [
        (&leaf.cert, &other.key),
        (&late.cert, &late.key),
        ("", &leaf.key),
        (&leaf.cert, "no key"),
    ];
    let not_after = server.not_after();
    for (cert, key) in bad {
        folder.write("server.pem", cert);
        folder.write("server.key", key);
        let problem = kept(server.reload());
        assert_eq!(server.reload(), Outcome::Unchanged);
        assert_eq!(server.refused().unwrap().problem, problem);
        assert_eq!(server.not_after(), not_after);
        let (near, far) = shake(&client, &server).await;
        assert!(near.is_ok() && far.is_ok());
    }

    fs::remove_file(folder.path("server.pem")).unwrap();
    assert_eq!(kept(server.reload()), Problem::NotFound);
    // Back to what is in use: nothing to take up, nothing wrong any more.
    folder.listener(&leaf);
    assert_eq!(server.reload(), Outcome::Unchanged);
    assert_eq!(server.refused(), None);
    // The same error again is news again.
    fs::remove_file(folder.path("server.pem")).unwrap();
    assert_eq!(kept(server.reload()), Problem::NotFound);
}

#[tokio::test]
async fn a_client_keeps_its_certificate_and_roots() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = ca.leaf("me");
    let server = Server::new(folder.mutual(&ca.leaf(HOST), &ca), Offer::Both).unwrap();
    let client = Client::new(folder.upstream_with(&ca, &leaf)).unwrap();
    folder.write("client.key", &ca.leaf("me").key);
    assert!(matches!(kept(client.reload()), Problem::KeyMismatch(_)));
    folder.write("client.key", &leaf.key);
    folder.write("ca.pem", "gone");
    assert_eq!(kept(client.reload()), Problem::NoCertificate);
    let (near, far) = shake(&client, &server).await;
    talk(&mut near.unwrap().0, &mut far.unwrap().0).await;

    let short = ca.leaf_with("me", |params| {
        params.not_after = rcgen::date_time_ymd(2999, 1, 1);
    });
    folder.upstream_with(&ca, &short);
    let not_after = Some(Duration::from_secs(32_472_144_000));
    assert_eq!(client.reload(), Outcome::Changed { not_after });
    assert_eq!(client.not_after(), not_after);
}

#[tokio::test]
async fn connections_in_progress_keep_what_they_have() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let (near, far) = shake(&client, &server).await;
    let ((mut near, _), (mut far, _)) = (near.unwrap(), far.unwrap());

    let (one, other) = duplex(64 * 1024);
    let mut half = Box::pin(server.accept(other));
    assert!(futures_util::poll!(&mut half).is_pending());
    folder.listener(&Ca::new("new").leaf(HOST));
    assert!(changed(&server.reload()));
    let (begun, finished) = tokio::join!(client.connect(HOST, Offer::Both, one), half);
    assert!(begun.is_ok() && finished.is_ok());
    talk(&mut near, &mut far).await;
}

#[tokio::test]
async fn a_session_does_not_get_past_a_changed_ca() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let (folder, ca, callers) = (Folder::new(), Ca::new("ca"), Ca::new("callers"));
        let server = Server::new(folder.mutual(&ca.leaf(HOST), &callers), Offer::Both).unwrap();
        let client = careless_client(&ca, Some(&callers.leaf("me")), version);
        for turn in 0..2 {
            let (near, far) = shake_careless_client(&client, &server).await;
            let (mut near, mut far) = (near.unwrap(), far.unwrap().0);
            assert_eq!(far.is_resumed(), turn > 0);
            far.write_all(b"a").await.unwrap();
            far.flush().await.unwrap();
            near.read_u8().await.unwrap();
        }
        folder.write("client_ca.pem", &Ca::new("others").pem);
        assert!(changed(&server.reload()));
        let (_, far) = shake_careless_client(&client, &server).await;
        assert_eq!(far.unwrap_err().reason, Reason::UnknownCa, "{version:?}");
    }
}

#[tokio::test]
async fn a_client_does_not_resume_with_roots_it_no_longer_trusts() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    let client = Client::new(folder.upstream(&ca)).unwrap();
    let (near, far) = shake(&client, &server).await;
    talk(&mut near.unwrap().0, &mut far.unwrap().0).await;
    folder.upstream(&Ca::new("new"));
    assert_eq!(client.reload(), Outcome::Changed { not_after: None });
    let (near, _) = shake(&client, &server).await;
    assert_eq!(near.unwrap_err().reason, Reason::UnknownCa);
}

#[tokio::test]
async fn callers_do_not_notice_a_swap() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let server = Server::new(folder.listener(&ca.leaf(HOST)), Offer::Both).unwrap();
    let client = Client::new(folder.upstream(&ca)).unwrap();
    for turn in 0..30 {
        if turn % 5 == 4 {
            folder.listener(&ca.leaf(HOST));
            assert!(changed(&server.reload()));
        }
        let (near, far) = shake(&client, &server).await;
        let ((mut near, _), (mut far, _)) = (near.unwrap(), far.unwrap());
        talk(&mut near, &mut far).await;
        // Tickets of the certificate before are simply not taken.
        assert_eq!(near.is_resumed(), turn > 0 && turn % 5 != 4);
    }
}

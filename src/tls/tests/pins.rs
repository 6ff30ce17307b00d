//! Pins: their text, and that they hold.

use super::*;
use crate::tls::Reason;
use crate::tls::pin::{PinError, display, parse};

const TEXT: &str = "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn counted() -> [u8; 32] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

#[test]
fn a_pin_is_read_in_both_spellings() {
    assert_eq!(parse(TEXT), Ok(counted()));
    assert_eq!(parse(&TEXT.replace('/', "//")), Ok(counted()));
    assert_eq!(display(&counted()), TEXT);
    // A hash that begins with a slash, in both.
    let slashes = display(&[0xff; 32]);
    assert!(slashes.starts_with("sha256///"));
    assert_eq!(parse(&slashes), Ok([0xff; 32]));
    assert_eq!(parse(&slashes.replacen('/', "//", 1)), Ok([0xff; 32]));
}

#[test]
fn what_is_no_pin_says_why() {
    assert_eq!(parse(""), Err(PinError::Prefix));
    assert_eq!(parse("sha1/AAAA"), Err(PinError::Prefix));
    assert_eq!(parse("sha256/"), Err(PinError::Length(0)));
    assert_eq!(parse("sha256/AAAA"), Err(PinError::Length(3)));
    assert_eq!(parse("sha256/!"), Err(PinError::Base64));
    assert_eq!(parse(TEXT.trim_end_matches('=')), Err(PinError::Base64));
    assert_eq!(parse("sha256/ä"), Err(PinError::Base64));
    assert_eq!(
        PinError::Length(3).to_string(),
        "a pin has 32 bytes, this one has 3"
    );
}

#[tokio::test]
async fn one_of_the_pins_has_to_fit() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = ca.leaf(HOST);
    let server = Server::new(folder.listener(&leaf), Offer::Both).unwrap();
    for (pins, fits) in [
        (vec![leaf.pin], true),
        (vec![counted(), leaf.pin], true),
        (vec![counted()], false),
    ] {
        let settings = UpstreamTls {
            pins,
            ..folder.upstream(&ca)
        };
        let (near, far) = shake(&Client::new(settings).unwrap(), &server).await;
        if fits {
            assert!(near.is_ok() && far.is_ok());
            continue;
        }
        let error = near.unwrap_err();
        assert_eq!(error.reason, Reason::PinMismatch);
        let text = error.to_string();
        assert!(text.contains(&display(&leaf.pin)), "names the pin: {text}");
        assert_eq!(far.unwrap_err().reason, Reason::CertificateRefused);
    }
}

#[tokio::test]
async fn a_pin_is_no_substitute_for_a_trusted_root() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let leaf = ca.leaf(HOST);
    let server = Server::new(folder.listener(&leaf), Offer::Both).unwrap();
    let settings = UpstreamTls {
        pins: vec![leaf.pin],
        ..folder.upstream(&Ca::new("other"))
    };
    let (near, _) = shake(&Client::new(settings).unwrap(), &server).await;
    assert_eq!(near.unwrap_err().reason, Reason::UnknownCa);
}

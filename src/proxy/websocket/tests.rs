use proptest::prelude::*;

use super::*;

/// The key and the answer of RFC 6455 §1.3.
const SAMPLE: (&str, &str) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

type Fields = [(&'static str, &'static str)];

fn fill(headers: &mut HeaderMap, fields: &Fields) {
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
}

fn request(fields: &Fields) -> Request<()> {
    let mut request = Request::new(());
    fill(request.headers_mut(), fields);
    request
}

const UPGRADE: (&str, &str) = ("upgrade", "websocket");
const CONNECTION: (&str, &str) = ("connection", "Upgrade");
const VERSION: (&str, &str) = ("sec-websocket-version", "13");
const KEY: (&str, &str) = ("sec-websocket-key", SAMPLE.0);

#[test]
fn the_sample_key_has_the_sample_answer() {
    assert_eq!(accept_key(SAMPLE.0), SAMPLE.1);
}

#[test]
fn handshakes_are_looked_through() {
    use BadHandshake as Bad;
    let key = |value| ("sec-websocket-key", value);
    let cases: &[(&Fields, Result<&str, Bad>)] = &[
        (&[UPGRADE, CONNECTION, VERSION, KEY], Ok(SAMPLE.0)),
        (
            &[
                ("upgrade", "WebSocket"),
                ("connection", "keep-alive"),
                CONNECTION,
                VERSION,
                KEY,
            ],
            Ok(SAMPLE.0),
        ),
        (
            &[
                UPGRADE,
                ("connection", "keep-alive ,\tUPGRADE"),
                VERSION,
                KEY,
            ],
            Ok(SAMPLE.0),
        ),
        (&[CONNECTION, VERSION, KEY], Err(Bad::Upgrade)),
        (&[UPGRADE, VERSION, KEY], Err(Bad::Upgrade)),
        (
            &[UPGRADE, UPGRADE, CONNECTION, VERSION, KEY],
            Err(Bad::Upgrade),
        ),
        (
            &[("upgrade", "websocket, h2c"), CONNECTION, VERSION, KEY],
            Err(Bad::Upgrade),
        ),
        (
            &[UPGRADE, ("connection", "upgraded"), VERSION, KEY],
            Err(Bad::Upgrade),
        ),
        (&[UPGRADE, CONNECTION, KEY], Err(Bad::Version)),
        (
            &[UPGRADE, CONNECTION, ("sec-websocket-version", "8"), KEY],
            Err(Bad::Version),
        ),
        (
            &[UPGRADE, CONNECTION, VERSION, VERSION, KEY],
            Err(Bad::Version),
        ),
        (&[UPGRADE, CONNECTION, VERSION], Err(Bad::Key)),
        (&[UPGRADE, CONNECTION, VERSION, KEY, KEY], Err(Bad::Key)),
        (&[UPGRADE, CONNECTION, VERSION, key("")], Err(Bad::Key)),
        (
            &[UPGRADE, CONNECTION, VERSION, key("c2hvcnQ=")],
            Err(Bad::Key),
        ),
        (
            &[UPGRADE, CONNECTION, VERSION, key("dGhlIHNhbXBsZSBub25jZQ")],
            Err(Bad::Key),
        ),
        (
            // Joined pieces, each with its padding.
            &[
                UPGRADE,
                CONNECTION,
                VERSION,
                key("cnQ=YWJjYWJjYWJjYWJjcnQ="),
            ],
            Err(Bad::Key),
        ),
        (
            // Bits beyond the last octet.
            &[
                UPGRADE,
                CONNECTION,
                VERSION,
                key("dGhlIHNhbXBsZSBub25jZR=="),
            ],
            Err(Bad::Key),
        ),
        (
            &[
                UPGRADE,
                CONNECTION,
                VERSION,
                key("dGhlIHNhbXBsZSBub25jZSE="),
            ],
            Err(Bad::Key),
        ),
        (
            &[
                UPGRADE,
                CONNECTION,
                VERSION,
                key("dGhlIHNhbXBsZSBub25jZ-=="),
            ],
            Err(Bad::Key),
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(key_of(&request(fields)), *expected, "{fields:?}");
    }
}

#[test]
fn a_handshake_is_a_get_in_http_1_1() {
    let mut post = request(&[UPGRADE, CONNECTION, VERSION, KEY]);
    *post.method_mut() = Method::POST;
    assert_eq!(key_of(&post), Err(BadHandshake::Request));
    let mut old = request(&[UPGRADE, CONNECTION, VERSION, KEY]);
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(key_of(&old), Err(BadHandshake::Request));
}

#[test]
fn an_upstream_has_to_answer_the_key() {
    let answer = |value| ("sec-websocket-accept", value);
    let right = answer(SAMPLE.1);
    let cases: &[(u16, &Fields, bool)] = &[
        (101, &[UPGRADE, CONNECTION, right], true),
        (200, &[UPGRADE, CONNECTION, right], false),
        (101, &[CONNECTION, right], false),
        (101, &[UPGRADE, right], false),
        (101, &[("upgrade", "h2c"), CONNECTION, right], false),
        (101, &[UPGRADE, CONNECTION], false),
        (101, &[UPGRADE, CONNECTION, right, right], false),
        (
            101,
            &[UPGRADE, CONNECTION, answer("S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")],
            false,
        ),
        (101, &[UPGRADE, CONNECTION, answer(SAMPLE.0)], false),
    ];
    for (status, fields, expected) in cases {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(*status).unwrap();
        fill(response.headers_mut(), fields);
        assert_eq!(
            is_accepted(&response, SAMPLE.0),
            *expected,
            "{status} {fields:?}"
        );
    }
}

#[test]
fn keys_differ_and_are_keys() {
    crate::rng::seed(7);
    let keys: std::collections::BTreeSet<_> = (0..100).map(|_| new_key()).collect();
    assert_eq!(keys.len(), 100);
    assert!(keys.iter().all(|key| key.len() == 24 && is_key(key)));
}

proptest! {
    #[test]
    fn any_key_is_16_octets_and_any_answer_20(octets: [u8; 16], other: Vec<u8>) {
        prop_assert!(is_key(&BASE64.encode(&octets)));
        prop_assert_eq!(is_key(&BASE64.encode(&other)), other.len() == 16);
        let answer = accept_key(&BASE64.encode(&other));
        prop_assert_eq!(BASE64.decode(answer.as_bytes()).unwrap().len(), 20);
    }
}

//! The fuzz targets' twins on stable: the same checks, driven by proptest, and by what fuzzing kept
//! in `corpus/`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod checks;

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

/// A target: its name, what it checks, and pieces that its input is likely to be made of.
type Target = (&'static str, fn(&[u8]), &'static [&'static [u8]]);

const TARGETS: &[Target] = &[
    ("allow", checks::allow, AUTHORITY),
    ("authority", checks::authority, AUTHORITY),
    ("config", checks::config, CONFIG),
    ("forwarded", checks::forwarded, FORWARDED),
    ("frames", checks::frames, FRAMES),
    ("grpc_health", checks::grpc_health, GRPC_HEALTH),
    ("grpc_timeout", checks::grpc_timeout, NUMBERS),
    ("head", checks::head, HEAD),
    (
        "proxy_protocol",
        checks::proxy_protocol,
        &[b"\x01", b"\x02", b"\x03", &[0; 10]],
    ),
    ("retry_after", checks::retry_after, NUMBERS),
    (
        "websocket",
        checks::websocket,
        &[b"dGhl", b"IHNhbXBsZSBu", b"b25jZQ", b"=", b"=="],
    ),
];

const AUTHORITY: &[&[u8]] = &[
    b"example",
    b"com",
    b"127",
    b"0",
    b"1",
    b"0x7f",
    b"0177",
    b"2130706433",
    b".",
    b":",
    b"80",
    b"443",
    b"*",
    b"[",
    b"]",
    b"::",
    b"ffff",
    b"/",
    b"8",
    b"-",
    b"_",
    b"@",
    b"%",
];

const CONFIG: &[&[u8]] = &[
    b"[upstreams.a]\n",
    b"listen",
    b"endpoints",
    b" = ",
    b"\"127.0.0.1:9001\"",
    b"\"http://a:80\"",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"\n",
    b",",
    b".",
    b"#",
    b"1",
    b"\"10s\"",
    b"timeouts",
    b"retry",
    b"${",
    b"${X:-1}",
    b"\xc3\xbc",
];

const FORWARDED: &[&[u8]] = &[
    b"\n",
    b"\"",
    b"\\",
    b",",
    b";",
    b"=",
    b"for",
    b"host",
    b"a.example",
    b":8080",
    b" ",
    b"\x80",
];

/// Length of the pieces; frame headers of all types on stream 1, with and without payload.
const FRAMES: &[&[u8]] = &[
    b"\x01",
    b"\x07",
    b"\0\0\0\x00\x00\0\0\0\x01",
    b"\0\0\x01\x00\x08\0\0\0\x01\0",
    b"\0\0\0\x01\x00\0\0\0\x01",
    b"\0\0\0\x01\x05\0\0\0\x03",
    b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\0",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\0",
    b"\0\0\0\x04\x01\0\0\0\0",
    b"\0\0\0\x06\x01\0\0\0\0",
    b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",
    b"\0\0\0\x09\0\0\0\0\x01",
    b"\0\0\0\xff\0\0\0\0\0",
];

const GRPC_HEALTH: &[&[u8]] = &[
    b"\0\0\0\0\x03\x0a\x01a",
    b"\0\0\0\0\x00",
    b"\x0a",
    b"\x03",
    b"\x10",
];

const HEAD: &[&[u8]] = &[
    b"GET / 1\nhost:a\n",
    b"POST http://a:80/b?c 2\n",
    b"OPTIONS * 0\n",
    b"CONNECT a:80 1\n",
    b"\n",
    b"\n\n200\n",
    b"\n\n101\n",
    b"host:a\n",
    b"content-length:5\n",
    b"transfer-encoding:chunked\n",
    b"connection:upgrade\nupgrade:other\n",
    b"connection:keep-alive,x-a\n",
    b"connection:",
    b"te:trailers\n",
    b"x-a:1\n",
    b"cookie:a\n",
    b"x-request-id:1\n",
    b"content_length:1\n",
    b",",
    b":",
    b" ",
];

const NUMBERS: &[&[u8]] = &[
    b"0",
    b"1",
    b"99999999",
    b"H",
    b"M",
    b"S",
    b"m",
    b"u",
    b"n",
    b"\n",
    b"-",
    b" ",
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
];

/// Bytes of likely pieces and of anything between them.
fn input(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

fn drive(name: &str) {
    let (_, check, pieces) = TARGETS.iter().find(|(known, ..)| *known == name).unwrap();
    proptest!(|(bytes in input(pieces))| check(&bytes));
}

macro_rules! twins {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                drive(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_twin() {
            let twins = [$(stringify!($name)),*];
            let names: Vec<_> = TARGETS.iter().map(|(name, ..)| *name).collect();
            assert_eq!(names, twins);
            let mut files: Vec<_> = files("targets").into_iter().map(|(name, _)| name).collect();
            files.sort();
            assert_eq!(files, twins.map(|name| format!("{name}.rs")));
        }
    };
}

twins! {
    allow authority config forwarded frames grpc_health grpc_timeout head proxy_protocol retry_after
    websocket
}

/// Names and contents of the files in a folder beside this file; none where there is no folder.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz")
        .join(folder);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    };
    entries.map(|entry| file(entry.unwrap())).collect()
}

#[test]
fn what_fuzzing_kept_still_holds() {
    for (name, check, _) in TARGETS {
        for (_, bytes) in files(&format!("corpus/{name}")) {
            check(&bytes);
        }
    }
}

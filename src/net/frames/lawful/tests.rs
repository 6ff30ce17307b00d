use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `:method: GET`, and nothing more.
const BLOCK: &[u8] = b"\x82";
/// `accept-encoding: gzip, deflate`.
const TRAILER: &[u8] = b"\x90";
const WHOLE: u8 = END_HEADERS | END_STREAM;

fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

/// What is found in frames behind the first SETTINGS.
fn find(frames: &[Vec<u8>]) -> Result<(), Lapse> {
    let mut lawful = Lawful::new(0);
    lawful.feed(&settings()).unwrap();
    let found = lawful.feed(&frames.concat()).map_err(|(lapse, _)| lapse);
    assert_eq!(lawful.lapse(), found.err());
    found
}

#[test]
fn settings_come_first() {
    let request = frame(HEADERS, WHOLE, 1, BLOCK);
    for (first, expected) in [
        (settings(), Ok(())),
        (frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]), Ok(())),
        (frame(SETTINGS, ACK, 0, &[]), Err((Lapse::Protocol, 24))),
        (frame(PING, 0, 0, &[0; 8]), Err((Lapse::Protocol, 24))),
        (request, Err((Lapse::Protocol, 24))),
    ] {
        let bytes = [&[b'x'; 24], &first[..]].concat();
        assert_eq!(Lawful::new(24).feed(&bytes), expected, "{first:?}");
    }
}

#[test]
fn each_kind_has_its_sizes() {
    let lawful = |kind, flags| {
        (0..=20)
            .filter(move |length| {
                let stream = u32::from(!matches!(kind, SETTINGS | PING | GOAWAY));
                let open = frame(HEADERS, END_HEADERS, 1, BLOCK);
                let payload = vec![0; *length];
                find(&[open, frame(kind, flags, stream, &payload)]) != Err(Lapse::FrameSize)
            })
            .collect::<Vec<_>>()
    };
    let from = |least| (least..=20).collect::<Vec<_>>();
    assert_eq!(lawful(DATA, 0), from(0));
    assert_eq!(lawful(DATA, PADDED), from(1));
    assert_eq!(lawful(HEADERS, WHOLE), from(0));
    assert_eq!(lawful(HEADERS, WHOLE | PADDED), from(1));
    assert_eq!(lawful(HEADERS, WHOLE | PRIORITIZED), from(5));
    assert_eq!(lawful(HEADERS, WHOLE | PADDED | PRIORITIZED), from(6));
    assert_eq!(lawful(PRIORITY, 0), [5]);
    assert_eq!(lawful(RST_STREAM, 0), [4]);
    assert_eq!(lawful(SETTINGS, 0), [0, 6, 12, 18]);
    assert_eq!(lawful(SETTINGS, ACK), [0]);
    assert_eq!(lawful(PING, 0), [8]);
    assert_eq!(lawful(GOAWAY, 0), from(8));
    assert_eq!(lawful(WINDOW_UPDATE, 0), [4]);
    assert_eq!(lawful(0xbb, 0xff), from(0));
}

#[test]
fn blocks_are_whole_and_can_be_decoded() {
    let begun = || frame(HEADERS, END_STREAM, 1, BLOCK);
    let more = |stream, flags| frame(CONTINUATION, flags, stream, BLOCK);
    let padded = |flags, payload: &[u8]| frame(HEADERS, WHOLE | flags, 1, payload);
    for (frames, expected) in [
        (vec![begun(), more(1, 0), more(1, END_HEADERS)], Ok(())),
        (vec![begun(), more(3, END_HEADERS)], Err(Lapse::Protocol)),
        (vec![begun(), begun()], Err(Lapse::Protocol)),
        (
            vec![begun(), frame(PING, 0, 0, &[0; 8])],
            Err(Lapse::Protocol),
        ),
        (vec![begun(), frame(0xbb, 0, 1, &[])], Err(Lapse::Protocol)),
        (vec![more(1, END_HEADERS)], Err(Lapse::Protocol)),
        (vec![padded(0, b"\x80")], Err(Lapse::Compression)),
        (vec![padded(0, b"\x00")], Err(Lapse::Compression)),
        (
            vec![
                frame(HEADERS, END_STREAM, 1, b"\x00"),
                frame(CONTINUATION, END_HEADERS, 1, b"\x01ab"),
            ],
            Err(Lapse::Compression),
        ),
        (
            vec![
                frame(HEADERS, END_STREAM, 1, b"\x00"),
                frame(CONTINUATION, END_HEADERS, 1, b"\x01a\x01b"),
            ],
            Ok(()),
        ),
        (vec![padded(PADDED, b"\x02\x82\x80\x80")], Ok(())),
        (vec![padded(PADDED, b"\x03\x80\x80\x80")], Ok(())),
        (
            vec![padded(PADDED, b"\x04\x82\x80\x80")],
            Err(Lapse::Protocol),
        ),
        (vec![padded(PADDED, b"\x00\x80")], Err(Lapse::Compression)),
        (
            vec![padded(PRIORITIZED, b"\x80\x80\x80\x80\x80\x82")],
            Ok(()),
        ),
        (
            vec![padded(
                PADDED | PRIORITIZED,
                b"\x01\x80\x80\x80\x80\x80\x82\x80",
            )],
            Ok(()),
        ),
        (
            vec![padded(
                PADDED | PRIORITIZED,
                b"\x03\x80\x80\x80\x80\x80\x82\x80",
            )],
            Err(Lapse::Protocol),
        ),
        // Neither flag means anything there.
        (
            vec![
                begun(),
                frame(CONTINUATION, END_HEADERS | PADDED | PRIORITIZED, 1, b"\x82"),
            ],
            Ok(()),
        ),
    ] {
        assert_eq!(find(&frames), expected, "{frames:?}");
    }
}

#[test]
fn a_stream_that_has_ended_is_over() {
    let open = || frame(HEADERS, END_HEADERS, 1, BLOCK);
    let data = |flags| frame(DATA, flags, 1, b"x");
    let trailers = |block| frame(HEADERS, WHOLE, 1, block);
    let over = Err(Lapse::StreamClosed);
    for (frames, expected) in [
        (vec![open(), data(0), data(END_STREAM)], Ok(())),
        (vec![open(), data(0), trailers(TRAILER)], Ok(())),
        (vec![open(), data(END_STREAM), data(0)], over),
        (vec![open(), data(END_STREAM), trailers(TRAILER)], over),
        (vec![open(), trailers(TRAILER), data(0)], over),
        (
            vec![frame(HEADERS, WHOLE, 1, BLOCK), data(END_STREAM)],
            over,
        ),
        (
            vec![frame(HEADERS, WHOLE, 1, BLOCK), trailers(TRAILER)],
            over,
        ),
        (
            vec![
                open(),
                data(END_STREAM),
                frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            ],
            Ok(()),
        ),
        (
            vec![open(), data(END_STREAM), frame(RST_STREAM, 0, 1, &[0; 4])],
            Ok(()),
        ),
        (
            vec![open(), data(END_STREAM), frame(HEADERS, WHOLE, 3, BLOCK)],
            Ok(()),
        ),
        (vec![open(), trailers(BLOCK)], Err(Lapse::Protocol)),
    ] {
        assert_eq!(find(&frames), expected, "{frames:?}");
    }
}

#[test]
fn a_request_for_a_fragment_is_malformed() {
    let request = |stream, block| frame(HEADERS, WHOLE, stream, block);
    let mut lawful = Lawful::new(0);
    lawful.feed(&settings()).unwrap();
    let frames = [
        request(1, b"\x04\x02/#"),
        request(3, BLOCK),
        request(5, b"\x04\x02/#"),
    ];
    assert_eq!(lawful.feed(&frames.concat()), Ok(()));
    // What was refused before anybody asked is forgotten.
    assert!(!lawful.take_malformed(3));
    assert!(lawful.take_malformed(5));
    assert!(!lawful.take_malformed(5));
    let many = (0..100).map(|each| request(7 + 2 * each, b"\x04\x02/#"));
    let found = lawful.feed(&many.collect::<Vec<_>>().concat());
    assert!(matches!(found, Err((Lapse::Protocol, _))), "{found:?}");
}

#[test]
fn windows_have_a_most() {
    let set = |settings: &[(u16, u32)]| {
        let each = settings.iter();
        let each = each.map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        find(&[frame(SETTINGS, 0, 0, &each.collect::<Vec<_>>().concat())])
    };
    assert_eq!(
        set(&[(4, (1 << 31) - 1), (1, u32::MAX), (0x404, u32::MAX)]),
        Ok(())
    );
    assert_eq!(set(&[(4, 1 << 31)]), Err(Lapse::FlowControl));
    assert_eq!(
        set(&[(1, 4), (4, u32::MAX), (4, 0)]),
        Err(Lapse::FlowControl)
    );
}

#[test]
fn what_stands_before_the_fault_is_lawful() {
    let (request, fault) = (frame(HEADERS, WHOLE, 1, BLOCK), frame(PING, 0, 0, &[0; 7]));
    let lawful = [settings(), request].concat();
    let bytes = [&lawful[..], &fault, &lawful].concat();
    let found = Err((Lapse::FrameSize, lawful.len()));
    let mut whole = Lawful::new(0);
    assert_eq!(whole.feed(&bytes), found);
    assert_eq!(
        whole.feed(&lawful),
        Err((Lapse::FrameSize, 0)),
        "and nothing behind it"
    );
    // However it comes, the frame at fault is not passed on whole.
    for cut in 0..bytes.len() {
        let (first, second) = bytes.split_at(cut);
        let mut lawful_of_it = Lawful::new(0);
        let passed = match lawful_of_it.feed(first) {
            Ok(()) => match lawful_of_it.feed(second) {
                Err((Lapse::FrameSize, passed)) => cut + passed,
                other => panic!("{other:?}"),
            },
            Err((_, passed)) => passed,
        };
        let most = lawful.len() + HEADER;
        assert!(
            (lawful.len()..most).contains(&passed),
            "{passed} when cut at {cut}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_in_any_pieces(
        bytes in vec(any::<u8>(), 0..600),
        frames in vec((0_u8..11, any::<u8>(), 0_u32..9, vec(any::<u8>(), 0..30)), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let frames = frames.iter().map(|(kind, flags, stream, payload)| {
            frame(*kind, *flags, *stream, payload)
        });
        let bytes = [settings(), frames.collect::<Vec<_>>().concat(), bytes].concat();
        let mut whole = Lawful::new(0);
        let expected = whole.feed(&bytes).map_err(|(lapse, _)| lapse);
        let (first, second) = bytes.split_at(cut.index(bytes.len()));
        let mut cut = Lawful::new(0);
        let found = cut.feed(first).and_then(|()| cut.feed(second)).map_err(|(lapse, _)| lapse);
        prop_assert_eq!(found, expected);
    }
}

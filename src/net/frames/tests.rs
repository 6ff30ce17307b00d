use proptest::collection::vec;
use proptest::prelude::*;

use super::parts::HEADER;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Without anything that flows in by itself.
const DRY: FrameLimits = FrameLimits {
    control_per_second: 0,
    control_burst: 10,
    resets_per_second: 0,
    resets_burst: 3,
    continuations: 2,
    header_block_bytes: 1000,
};

fn start() -> Instant {
    crate::time::now()
}

/// A frame whose payload is zeros, beginning with `payload`.
fn frame(kind: u8, flags: u8, stream: u32, length: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes.resize(HEADER + length as usize, 0);
    bytes
}

fn plain(kind: u8, length: u32) -> Vec<u8> {
    frame(kind, 0, 1, length, &[])
}

fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, 20, &[])
}

/// How many of a frame pass before which flood, on a connection that opened stream 1.
fn passes(limits: FrameLimits, bytes: &[u8]) -> (usize, Flood) {
    let t = start();
    let mut meter = FrameMeter::new(limits, 0, t);
    meter.feed(&request(1), t).unwrap();
    for count in 0..100_000 {
        if let Err(flood) = meter.feed(bytes, t) {
            return (count, flood);
        }
    }
    panic!("no end of {bytes:?}");
}

#[test]
fn every_frame_that_asks_for_nothing_is_paid_for() {
    for (bytes, count, flood) in [
        (plain(SETTINGS, 0), 10, Flood::Settings),
        (plain(SETTINGS, 60), 10, Flood::Settings),
        (plain(SETTINGS, 66), 5, Flood::Settings),
        (plain(SETTINGS, 600), 1, Flood::Settings),
        (plain(SETTINGS, 16_380), 0, Flood::Settings),
        (plain(PING, 8), 10, Flood::Ping),
        (frame(PING, 1, 0, 8, &[]), 10, Flood::Ping),
        (plain(PRIORITY, 5), 10, Flood::Priority),
        (plain(WINDOW_UPDATE, 4), 10, Flood::WindowUpdate),
        (plain(DATA, 0), 10, Flood::EmptyData),
        (frame(DATA, PADDED, 1, 0, &[]), 10, Flood::EmptyData),
        (frame(DATA, PADDED, 1, 1, &[0]), 10, Flood::EmptyData),
        (frame(DATA, PADDED, 1, 256, &[255]), 10, Flood::EmptyData),
        (frame(DATA, PADDED, 1, 9, &[200]), 10, Flood::EmptyData),
        (plain(7, 8), 10, Flood::Other),
        (plain(5, 8), 10, Flood::Other),
        (plain(0x10, 20), 10, Flood::Other),
        (plain(0xff, 127), 5, Flood::Other),
        (plain(CONTINUATION, 8), 10, Flood::Other),
        (request(1), 10, Flood::Headers),
        (plain(RST_STREAM, 4), 3, Flood::Resets),
    ] {
        assert_eq!(passes(DRY, &bytes), (count, flood), "{bytes:?}");
    }
}

#[test]
fn messages_are_free() {
    let t = start();
    let mut meter = FrameMeter::new(DRY, 24, t);
    meter.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", t).unwrap();
    for stream in 0..10_000 {
        let stream = 2 * stream + 1;
        meter
            .feed(&frame(HEADERS, END_HEADERS, stream, 20, &[]), t)
            .unwrap();
        for bytes in [
            frame(DATA, 0, stream, 1, b"x"),
            frame(DATA, PADDED, stream, 10, &[8]),
            frame(DATA, 0, stream, 16_384, &[]),
            frame(DATA, END_STREAM, stream, 0, &[]),
        ] {
            meter.feed(&bytes, t).unwrap();
        }
    }
}

#[test]
fn trailers_pings_windows_and_some_cancels_are_earned_by_requests() {
    let t = start();
    let mut meter = FrameMeter::new(DRY, 0, t);
    for stream in 0..10_000 {
        let stream = 2 * stream + 1;
        meter
            .feed(&frame(HEADERS, END_HEADERS, stream, 20, &[]), t)
            .unwrap();
        meter.feed(&request(stream), t).unwrap();
        meter.feed(&plain(PING, 8), t).unwrap();
        meter.feed(&plain(WINDOW_UPDATE, 4), t).unwrap();
        meter.feed(&plain(PRIORITY, 5), t).unwrap();
        if stream % 4 == 1 {
            meter.feed(&plain(RST_STREAM, 4), t).unwrap();
        }
    }
    // And the other way round, where the streams are ours.
    let mut meter = FrameMeter::new(DRY, 0, t);
    for _ in 0..10_000 {
        meter.opened();
        for bytes in [request(1), request(1), plain(PING, 8)] {
            meter.feed(&bytes, t).unwrap();
        }
    }
}

#[test]
fn rapid_reset_ends_soon() {
    let t = start();
    let mut meter = FrameMeter::new(FrameLimits::default(), 0, t);
    let mut end = None;
    for pair in 0..10_000 {
        let stream = 2 * pair + 1;
        meter.feed(&request(stream), t).unwrap();
        if let Err(flood) = meter.feed(&plain(RST_STREAM, 4), t) {
            end = Some((pair, flood));
            break;
        }
    }
    // Each pair costs half a token; the first request found the bucket full.
    assert_eq!(end, Some((1999, Flood::Resets)));
}

#[test]
fn a_fast_download_earns_its_updates() {
    let t = start();
    let mut meter = FrameMeter::new(FrameLimits::default(), 0, t);
    // 16 MiB at a time, then an update of both windows for each 16 KiB: 1 GiB at one instant.
    for _ in 0..64 {
        for _ in 0..1024 {
            meter.sent(16 << 10);
        }
        for _ in 0..1000 {
            meter.feed(&plain(WINDOW_UPDATE, 4), t).unwrap();
            meter.feed(&plain(WINDOW_UPDATE, 4), t).unwrap();
        }
    }
}

#[test]
fn small_messages_earn_a_ping_and_an_update_each() {
    let t = start();
    let mut meter = FrameMeter::new(DRY, 0, t);
    for _ in 0..10_000 {
        meter.sent(16);
        meter.feed(&plain(PING, 8), t).unwrap();
        meter.feed(&plain(WINDOW_UPDATE, 4), t).unwrap();
    }
}

#[test]
fn windows_opened_by_an_octet_at_a_time_exhaust_the_budget() {
    for octets in 0..4 {
        let t = start();
        let mut meter = FrameMeter::new(FrameLimits::default(), 0, t);
        let end = (0..10_000).find_map(|_| {
            meter.sent(octets);
            meter.feed(&plain(WINDOW_UPDATE, 4), t).err()
        });
        assert_eq!(end, Some(Flood::WindowUpdate), "{octets} octets");
    }
}

#[test]
fn budgets_fill_with_time_up_to_the_burst() {
    let t = start();
    let limits = FrameLimits {
        control_per_second: 5,
        resets_per_second: 2,
        ..DRY
    };
    for (bytes, burst, per_second) in [(plain(PING, 8), 10, 5), (plain(RST_STREAM, 4), 3, 2)] {
        let mut meter = FrameMeter::new(limits, 0, t);
        for _ in 0..burst {
            meter.feed(&bytes, t).unwrap();
        }
        for _ in 0..per_second {
            meter.feed(&bytes, t + SECOND).unwrap();
        }
        // Time that goes back brings nothing, nor does it break anything.
        meter.feed(&[], t).unwrap();
        for _ in 0..burst {
            meter.feed(&bytes, t + 3600 * SECOND).unwrap();
        }
        meter.feed(&bytes, t + 3600 * SECOND).unwrap_err();
    }
}

#[test]
fn header_blocks_end() {
    let open = frame(HEADERS, 0, 1, 100, &[]);
    let more = |length| frame(CONTINUATION, 0, 1, length, &[]);
    let last = |length| frame(CONTINUATION, END_HEADERS, 1, length, &[]);
    let big = |length| frame(HEADERS, END_HEADERS, 1, length, &[]);
    for (frames, expected) in [
        (vec![open.clone(), more(0), last(900)], Ok(())),
        (
            vec![open.clone(), more(0), last(901)],
            Err(Flood::HeaderBlock),
        ),
        (
            vec![open.clone(), more(0), more(0), last(0)],
            Err(Flood::Continuations),
        ),
        (vec![big(1000)], Ok(())),
        (vec![big(1001)], Err(Flood::HeaderBlock)),
        // A block cut short by another frame is the library's to judge; the next one is new.
        (
            vec![open.clone(), more(0), plain(PING, 8), more(0), more(0)],
            Ok(()),
        ),
        (vec![open, last(0), frame(HEADERS, 0, 3, 1000, &[])], Ok(())),
    ] {
        let t = start();
        let mut meter = FrameMeter::new(DRY, 0, t);
        assert_eq!(meter.feed(&frames.concat(), t), expected, "{frames:?}");
    }
}

#[test]
fn a_head_is_unended_from_its_header_to_the_end_of_its_block() {
    let t = start();
    let mut meter = FrameMeter::new(DRY, 0, t);
    let mut after = |bytes: &[u8]| {
        meter.feed(bytes, t).unwrap();
        meter.unended_head()
    };
    assert_eq!(after(&[]), None);
    assert_eq!(after(&request(1)), None);
    let whole = frame(HEADERS, END_HEADERS, 3, 4, &[]);
    let (most, last) = whole.split_at(12);
    assert_eq!(after(&most[..9]), Some(2), "the payload is to come");
    assert_eq!(after(&most[9..]), Some(2));
    assert_eq!(after(last), None);
    assert_eq!(after(&frame(HEADERS, 0, 5, 4, &[])), Some(3));
    assert_eq!(
        after(&frame(CONTINUATION, 0, 5, 4, &[])),
        Some(3),
        "the same head"
    );
    assert_eq!(
        after(&frame(CONTINUATION, END_HEADERS, 5, 4, &[])[..12]),
        Some(3)
    );
    assert_eq!(after(&[0]), None);
    assert_eq!(after(&frame(HEADERS, 0, 7, 0, &[])), Some(4), "another one");
}

#[test]
fn long_heads_may_have_blocks_as_long() {
    assert_eq!(FrameLimits::of_heads(8 << 10), FrameLimits::default());
    let limits = FrameLimits::of_heads(1 << 20);
    assert_eq!(
        (limits.header_block_bytes, limits.continuations),
        (1 << 20, 128)
    );
}

#[test]
fn what_other_threads_earned_is_taken_once() {
    let t = start();
    let mut meter = FrameMeter::new(DRY, 0, t);
    let earnings = Earnings::default();
    earnings.opened();
    earnings.sent(4100);
    let pings = |count: usize, meter: &mut FrameMeter| {
        let sent = (0..count).take_while(|_| meter.feed(&plain(PING, 8), t).is_ok());
        sent.count()
    };
    assert_eq!(pings(10, &mut meter), 10);
    meter.settle(&earnings);
    meter.settle(&earnings);
    assert_eq!(
        pings(10, &mut meter),
        4 + 4 + 2,
        "a stream, and four KiB in a piece"
    );
    assert_eq!(meter.feed(&plain(PING, 8), t), Err(Flood::Ping));
    assert_eq!(meter.flood(), Some(Flood::Ping));
}

#[test]
fn a_flood_stays_one() {
    let t = start();
    let mut meter = FrameMeter::new(DRY, 0, t);
    let flood = plain(RST_STREAM, 4).repeat(4);
    assert_eq!(meter.feed(&flood, t), Err(Flood::Resets));
    let later = t + 3600 * SECOND;
    assert_eq!(meter.feed(&[], later), Err(Flood::Resets));
    assert_eq!(meter.feed(&request(1), later), Err(Flood::Resets));
}

#[test]
fn the_highest_bit_of_a_stream_is_reserved() {
    let t = start();
    let mut meter = FrameMeter::new(DRY, 0, t);
    for _ in 0..12 {
        let _ = meter.feed(&request(0x8000_0001), t);
    }
    assert_eq!(meter.feed(&[], t), Err(Flood::Headers));
}

#[test]
fn words_differ() {
    let all = Flood::ALL;
    let words: std::collections::BTreeSet<_> = all.into_iter().map(Flood::word).collect();
    assert_eq!(words.len(), all.len());
}

/// One frame, as far as the meter looks at it.
#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    length: u32,
    first: u8,
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let first = [self.first];
        let payload = if self.length > 0 { &first[..] } else { &[] };
        frame(self.kind, self.flags, self.stream, self.length, payload)
    }
}

fn any_frame() -> impl Strategy<Value = Frame> {
    (0_u8..12, 0_u8..16, 0_u32..40, 0_u32..300, any::<u8>()).prop_map(
        |(kind, flags, stream, length, first)| Frame {
            kind,
            flags,
            stream,
            length,
            first,
        },
    )
}

/// The tables of the module's words, read frame by frame.
struct Naive {
    control: f64,
    resets: f64,
    block: Option<(u32, u32)>,
    highest: u32,
}

impl Naive {
    fn see(&mut self, frame: &Frame) -> Result<(), Flood> {
        let block = self.block.take();
        let ends_stream = frame.flags & 1 != 0;
        let ends_headers = frame.flags & 4 != 0;
        let padding = match (frame.flags & 8 != 0, frame.length) {
            (true, 1..) => 1 + u32::from(frame.first),
            _ => 0,
        };
        let payload = f64::from(frame.length / 64);
        let (flood, cost) = match frame.kind {
            0 if ends_stream || padding < frame.length => return Ok(()),
            0 => (Flood::EmptyData, 1.0),
            1 => {
                if frame.stream <= self.highest {
                    self.control -= 1.0;
                    if self.control < 0.0 {
                        return Err(Flood::Headers);
                    }
                } else {
                    self.highest = frame.stream;
                    self.control = (self.control + 4.0).min(10.0);
                    self.resets = (self.resets + 0.5).min(3.0);
                }
                if frame.length > 1000 {
                    return Err(Flood::HeaderBlock);
                }
                self.block = (!ends_headers).then_some((0, frame.length));
                return Ok(());
            }
            3 => {
                self.resets -= 1.0;
                return if self.resets < 0.0 {
                    Err(Flood::Resets)
                } else {
                    Ok(())
                };
            }
            9 if block.is_some() => {
                let (frames, bytes) = block.unwrap();
                let (frames, bytes) = (frames + 1, bytes + frame.length);
                if frames > 2 {
                    return Err(Flood::Continuations);
                }
                if bytes > 1000 {
                    return Err(Flood::HeaderBlock);
                }
                self.block = (!ends_headers).then_some((frames, bytes));
                return Ok(());
            }
            2 => (Flood::Priority, 1.0 + payload),
            4 => (Flood::Settings, 1.0 + payload),
            6 => (Flood::Ping, 1.0 + payload),
            8 => (Flood::WindowUpdate, 1.0 + payload),
            _ => (Flood::Other, 1.0 + payload),
        };
        self.control -= cost;
        if self.control < 0.0 {
            return Err(flood);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn pieces_make_no_difference_and_the_naive_reader_agrees(
        frames in vec(any_frame(), 0..60),
        cuts in vec(1_usize..40, 1..50),
    ) {
        let t = start();
        let mut naive = Naive { control: 10.0, resets: 3.0, block: None, highest: 0 };
        let expected = frames.iter().try_for_each(|frame| naive.see(frame));
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();

        let mut whole = FrameMeter::new(DRY, 0, t);
        prop_assert_eq!(whole.feed(&bytes, t), expected);

        let mut pieces = FrameMeter::new(DRY, 0, t);
        let (mut rest, mut found) = (&bytes[..], Ok(()));
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, left) = rest.split_at((*cut).min(rest.len()));
            rest = left;
            found = found.and_then(|()| pieces.feed(piece, t));
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_at_any_time_are_read(
        pieces in vec((vec(any::<u8>(), 0..200), any::<u32>(), any::<usize>()), 0..50),
        skip in any::<u32>(),
    ) {
        let t = start();
        let mut meter = FrameMeter::new(FrameLimits::default(), skip, t);
        for (bytes, millis, sent) in pieces {
            meter.sent(sent);
            let _ = meter.feed(&bytes, t + Duration::from_millis(millis.into()));
        }
    }
}

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

#[test]
fn requests_are_read_field_by_field() {
    for (message, expected) in [
        (&b""[..], Ok("")),
        (b"\x0a\x00", Ok("")),
        (b"\x0a\x03a.B", Ok("a.B")),
        (b"\x0a\x01a\x0a\x02bc", Ok("bc")),
        // The same tag and length, written longer than they have to be.
        (b"\x8a\x00\x81\x00a", Ok("a")),
        // Unknown: field 2 as varint, 3 as fixed 64, 4 as bytes, 5 as fixed 32, 1 as varint.
        (b"\x10\x96\x01\x0a\x01a", Ok("a")),
        (b"\x1912345678\x0a\x01a", Ok("a")),
        (b"\x22\x02xy\x0a\x01a", Ok("a")),
        (b"\x2d1234\x0a\x01a", Ok("a")),
        (b"\x0a\x01a\x08\x07", Ok("a")),
        (b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Ok("")),
        (b"\xfa\xff\xff\xff\x0f\x00", Ok("")),
        (b"\x0a", Err(BadRequest::Garbage)),
        (b"\x0a\x02a", Err(BadRequest::Garbage)),
        (b"\x0a\x02\xc3\x28", Err(BadRequest::Garbage)),
        (
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
            Err(BadRequest::Garbage),
        ),
        (b"\x10\x80", Err(BadRequest::Garbage)),
        (
            b"\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
            Err(BadRequest::Garbage),
        ),
        (b"\x191234567", Err(BadRequest::Garbage)),
        (b"\x2d123", Err(BadRequest::Garbage)),
        (b"\x02\x00", Err(BadRequest::Garbage)),
        (b"\x0b\x0c", Err(BadRequest::Garbage)),
        (b"\x0e", Err(BadRequest::Garbage)),
        (b"\xfa\xff\xff\xff\x1f\x00", Err(BadRequest::Garbage)),
    ] {
        assert_eq!(decode(&framed(message)), expected, "{message:?}");
    }
}

#[test]
fn a_body_is_one_whole_plain_message() {
    for (body, expected) in [
        (&b""[..], Err(BadRequest::Garbage)),
        (b"\0\0\0\0", Err(BadRequest::Garbage)),
        (b"\0\0\0\0\0", Ok("")),
        (b"\0\0\0\0\x03\x0a\x01a", Ok("a")),
        (b"\x01\0\0\0\x03\x0a\x01a", Err(BadRequest::Compressed)),
        (b"\x02\0\0\0\x03\x0a\x01a", Err(BadRequest::Garbage)),
        (b"\0\0\0\0\x04\x0a\x01a", Err(BadRequest::Garbage)),
        (b"\0\0\0\0\x02\x0a\x01a", Err(BadRequest::Garbage)),
        (b"\0\0\0\0\0\0\0\0\0\0", Err(BadRequest::Garbage)),
        (b"\0\0\0\x10\x01", Err(BadRequest::TooLarge)),
        (b"\0\xff\xff\xff\xff", Err(BadRequest::TooLarge)),
    ] {
        assert_eq!(decode(body), expected, "{body:?}");
    }
    let longest = [&b"\x0a\xfd\x1f"[..], &[b'a'; MAX_MESSAGE - 3]].concat();
    let body = framed(&longest);
    assert_eq!(body.len(), MAX_BODY);
    assert_eq!(decode(&body).map(str::len), Ok(MAX_MESSAGE - 3));
}

#[test]
fn responses_have_the_octets_of_their_status() {
    use ServingStatus::*;
    for (number, status) in [Unknown, Serving, NotServing, ServiceUnknown]
        .iter()
        .enumerate()
    {
        let number = u8::try_from(number).unwrap();
        let message = if number == 0 { vec![] } else { vec![8, number] };
        assert_eq!(encode(*status), framed(&message));
    }
}

fn write_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value > 0x7f {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

proptest! {
    #[test]
    fn any_service_is_read_back_among_unknown_fields(
        service in "\\PC{0,40}",
        before in vec((2_u64..(1 << 29), any::<u64>()), 0..5),
        after in vec(any::<u8>(), 0..200),
    ) {
        let mut message = Vec::new();
        for (field, value) in before {
            write_varint(field << 3, &mut message);
            write_varint(value, &mut message);
        }
        message.push(0x0a);
        write_varint(service.len() as u64, &mut message);
        message.extend(service.bytes());
        message.push(0x12);
        write_varint(after.len() as u64, &mut message);
        message.extend(after);
        let body = framed(&message);
        prop_assert_eq!(decode(&body), Ok(&service[..]));
    }

    #[test]
    fn no_body_breaks_the_reader(body: Vec<u8>) {
        let _ = decode(&body);
        let _ = decode(&framed(&body));
    }
}

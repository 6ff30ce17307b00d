use proptest::prelude::*;

use super::*;

#[test]
fn durations_have_one_unit() {
    let table = [
        ("250us", 250),
        ("250ms", 250_000),
        ("10s", 10_000_000),
        ("5m", 300_000_000),
        ("8760h", 31_536_000_000_000),
    ];
    for (text, micros) in table {
        assert_eq!(
            duration(text).unwrap(),
            Duration::from_micros(micros),
            "{text}"
        );
    }
    for text in [
        "",
        "s",
        "10",
        "1.5s",
        "1m30s",
        "10 s",
        "+1s",
        "8761h",
        "99999999999999999999s",
        "18446744073709551615h",
        "١s",
    ] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn sizes_are_binary() {
    for (text, bytes) in [
        ("0B", 0),
        ("64KiB", 65_536),
        ("1MiB", 1 << 20),
        ("2GiB", 2 << 30),
    ] {
        assert_eq!(size(text).unwrap(), bytes, "{text}");
    }
    for text in [
        "",
        "KiB",
        "64",
        "64kB",
        "64 KiB",
        "1.5MiB",
        "99999999999999999999B",
    ] {
        assert!(size(text).is_err(), "{text}");
    }
    assert_eq!(size("17179869184GiB").unwrap(), u64::MAX);
}

proptest! {
    #[test]
    fn a_duration_is_read_as_shown(micros in 0..=LONGEST.as_micros()) {
        let micros = Duration::from_micros(u64::try_from(micros).unwrap());
        prop_assert_eq!(duration(&show_duration(micros)).unwrap(), micros);
    }
}

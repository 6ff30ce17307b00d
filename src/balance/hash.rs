//! The hash of keys and of places on the ring: the same in every process and every version.
//!
//! FNV-1a (Fowler, Noll, Vo) takes the bytes in, because it is short and fixed for ever; its upper
//! bits change too little from key to key, hence the finaliser of SplitMix64 (Steele, Lea, Flood,
//! 2014). It resists nobody who chooses keys that collide: he overloads the endpoint that a single
//! key could overload as well.

/// Hashes `bytes`. The values are part of the interface: other processes rely on them.
pub fn hash(bytes: &[u8]) -> u64 {
    finish(fnv1a(bytes))
}

/// The `index`-th value of the sequence that begins with `start` (SplitMix64).
pub(super) const fn nth(start: u64, index: u64) -> u64 {
    finish(start.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const fn finish(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_sequence_is_that_of_splitmix64() {
        // The first outputs for the seed 0, as other implementations give them.
        assert_eq!(nth(0, 0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(nth(0, 1), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn each_bit_of_a_key_changes_about_half_of_the_hash() {
        let base = hash(b"customer-1000");
        for key in [b"customer-1001", b"customer-1010", b"dustomer-1000"] {
            let differs = (hash(key) ^ base).count_ones();
            assert!((16..=48).contains(&differs), "{differs}");
            // The upper bits decide where on the ring it is.
            assert_ne!(hash(key) >> 48, base >> 48);
        }
    }
}

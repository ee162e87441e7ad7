//! Damage to files, drawn the same every time.

/// Every beginning of `bytes`, the empty one included, the whole excluded.
pub fn truncations(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    (0..bytes.len()).map(|length| (format!("cut to {length} bytes"), bytes[..length].to_vec()))
}

/// `bytes` with each of its bits turned over, one at a time.
pub fn bit_flips(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    (0..bytes.len()).flat_map(|index| (0..8).map(move |bit| (index, bit))).map(|(index, bit)| {
        let mut damaged = bytes.to_vec();
        damaged[index] ^= 1 << bit;
        (format!("bit {bit} of byte {index} turned over"), damaged)
    })
}

/// `bytes` with each byte in turn replaced by the values at which lengths and signs change their meaning.
pub fn edge_bytes(bytes: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    (0..bytes.len()).flat_map(|index| [0x00, 0x7f, 0x80, 0xff].map(|value| (index, value))).map(
        |(index, value)| {
            let mut damaged = bytes.to_vec();
            damaged[index] = value;
            (format!("byte {index} set to {value:#04x}"), damaged)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_complete() {
        assert_eq!(
            truncations(b"ab").map(|(_, bytes)| bytes).collect::<Vec<_>>(),
            [b"".to_vec(), b"a".to_vec()]
        );
        let flipped: Vec<u8> = bit_flips(b"\0").map(|(_, bytes)| bytes[0]).collect();
        assert_eq!(flipped, [1, 2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(edge_bytes(b"abc").count(), 12);
    }
}

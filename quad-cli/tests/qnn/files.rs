//! What is in files that the libraries write.

use std::collections::BTreeMap;

use libtest_mimic::Failed;

/// The members of a DLC by name: an archive of files that are stored as they are, whose checksums are 0, so that readers
/// of ZIP refuse it.
pub(crate) fn members(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
    let number = |at: usize, width: usize| -> Result<usize, Failed> {
        let field = bytes.get(at..at + width).ok_or("the archive is cut off")?;
        Ok(field.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    // The directory at the end begins with this, and ends with where it begins.
    let end = bytes.windows(4).rposition(|window| window == b"PK\x05\x06").ok_or("no end of a directory")?;
    let mut members = BTreeMap::new();
    let mut at = bytes.windows(4).position(|window| window == b"PK\x01\x02").ok_or("no directory")?;
    while at < end && bytes[at..].starts_with(b"PK\x01\x02") {
        let [name_len, extra_len, comment_len] =
            [number(at + 28, 2)?, number(at + 30, 2)?, number(at + 32, 2)?];
        let name = String::from_utf8_lossy(&bytes[at + 46..at + 46 + name_len]).into_owned();
        let (mut size, mut local) = (number(at + 24, 4)?, number(at + 42, 4)?);
        // What does not fit 32 bits, or is said not to, follows in 64: the size, the stored size and the place.
        let mut wide = at + 46 + name_len + 4;
        if size == 0xffff_ffff {
            size = number(wide, 8)?;
            wide += 8;
        }
        if number(at + 20, 4)? == 0xffff_ffff {
            wide += 8;
        }
        if local == 0xffff_ffff {
            local = number(wide, 8)?;
        }
        let data = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
        let member = bytes.get(data..data + size).ok_or("a member is cut off")?;
        members.insert(name, member.to_vec());
        at += 46 + name_len + extra_len + comment_len;
    }
    Ok(members)
}

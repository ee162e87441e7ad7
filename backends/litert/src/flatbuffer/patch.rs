//! Fills the places of constants into finished tables.
//!
//! A table begins with the distance back to its list of fields; the list holds, for each field, the distance from the
//! table's start, 0 for an absent one. All numbers are little-endian.

use super::body::Place;

/// The field of a model that holds its buffers.
pub(super) const BUFFERS: u16 = 4;
/// The field of a buffer that points to its bytes inside the flatbuffer.
pub(super) const DATA: u16 = 0;
/// The field of a buffer that says where its bytes lie in the file.
pub(super) const OFFSET: u16 = 1;
/// The field of a buffer that says how many bytes these are.
pub(super) const SIZE: u16 = 2;

/// Writes `places` into the buffers of the finished `tables`, of which the first is empty and has none.
pub(super) fn fill_in(tables: &mut [u8], places: &[Place], inline: bool) {
    let model = word(tables, 0);
    let Some(field) = field(tables, model, BUFFERS) else { return };
    let buffers = field + word(tables, field);
    for (index, place) in places.iter().enumerate() {
        // The vector begins with its length; the first buffer is the empty one.
        let entry = buffers + 4 * (index + 2);
        let buffer = entry + word(tables, entry);
        if inline {
            let Some(data) = self::field(tables, buffer, DATA) else { continue };
            let distance = (place.start - place.prefix) as u32 - data as u32;
            tables[data..data + 4].copy_from_slice(&distance.to_le_bytes());
        } else {
            for (number, value) in [(OFFSET, place.start), (SIZE, place.length)] {
                let Some(at) = self::field(tables, buffer, number) else { continue };
                tables[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
    }
}

/// The place of field `number` of the table at `table`.
fn field(bytes: &[u8], table: usize, number: u16) -> Option<usize> {
    let back = word(bytes, table) as u32 as i32;
    let fields = usize::try_from(table as i64 - i64::from(back)).ok()?;
    let at = fields + 4 + 2 * usize::from(number);
    let end = fields + usize::from(half(bytes, fields));
    let distance = if at < end { half(bytes, at) } else { 0 };
    (distance > 0).then(|| table + usize::from(distance))
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

//! The checksum of old control files.

/// The checksum of 9.0 to 9.4 (`COMP_LEGACY_CRC32`): the table of the reflected polynomial, used in the direction
/// of the normal one. It is no CRC in the strict sense and must not be mended.
pub(super) fn legacy_crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let index = (crc >> 24) as u8 ^ byte;
        LEGACY_TABLE.get(usize::from(index)).copied().unwrap_or_default() ^ (crc << 8)
    };
    !bytes.iter().fold(u32::MAX, step)
}

static LEGACY_TABLE: [u32; 256] = legacy_table();

#[allow(clippy::indexing_slicing)] // `get_mut` cannot be used here yet; the index is below 256 by the loop
const fn legacy_table() -> [u32; 256] {
    const REFLECTED_POLYNOMIAL: u32 = 0xEDB8_8320;
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ REFLECTED_POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

//! Checksums of relation pages (`pg_checksum_page`, checksum_impl.h): FNV-1a on 32 lanes.

use super::BlockNumber;
use super::page::PageBytes;

const LANES: usize = 32;
const PRIME: u32 = 16_777_619;

/// Start values of the lanes.
const START: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// The checksum that belongs into the header of `page` as block `block` of its fork (counted across segments).
/// Pages that were never filled (all zeros) have none.
pub fn of(page: &PageBytes, block: BlockNumber) -> u16 {
    let mut sums = START;
    let mut mix = |row: [u32; LANES]| {
        for (sum, value) in sums.iter_mut().zip(row) {
            let t = *sum ^ value;
            *sum = t.wrapping_mul(PRIME) ^ (t >> 17);
        }
    };
    for (number, bytes) in page.as_chunks::<{ LANES * 4 }>().0.iter().enumerate() {
        let mut row = [0; LANES];
        for (word, bytes) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        if number == 0 {
            // the checksum itself, bytes 8 and 9, counts as zero
            row[2] &= 0xFFFF_0000;
        }
        mix(row);
    }
    mix([0; LANES]);
    mix([0; LANES]);
    let folded = sums.iter().fold(block, |all, sum| all ^ sum);
    (folded % 0xFFFF) as u16 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::BLOCK_SIZE;

    #[test]
    fn the_stored_checksum_and_the_block_number_count_as_they_should() {
        let mut page = [7; BLOCK_SIZE];
        let sum = of(&page, 3);
        page[8] = 1;
        page[9] = 2;
        assert_eq!(of(&page, 3), sum);
        assert_ne!(of(&page, 4), sum);
        page[10] ^= 1;
        assert_ne!(of(&page, 3), sum);
    }
}

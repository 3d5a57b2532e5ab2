//! File numbers of the catalogs that cannot look up their own (`RelMapFile`, relmapper.c): `pg_filenode.map`.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use thiserror::Error;

use super::Oid;
use super::bytes::{Bytes, Short};

/// Name of the file, in `global` and in each database's directory.
pub const FILE_NAME: &str = "pg_filenode.map";

const MAGIC: u32 = 0x0059_2717;

/// Bytes that are not a relation map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum RelMapError {
    /// Neither 512 bytes (up to 15) nor 524 (from 16).
    #[error("it has {0} bytes instead of 512 or 524")]
    Size(usize),
    #[error("magic number is {0:#X} instead of 0x592717")]
    Magic(u32),
    #[error("it announces {0} relations, more than fit")]
    Count(u32),
    #[error("checksum is {stored:08X}, of its content {computed:08X}")]
    Crc { stored: u32, computed: u32 },
    #[error(transparent)]
    Short(#[from] Short),
}

/// Which file number each mapped catalog has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelMap {
    entries: Vec<(Oid, Oid)>,
}

impl RelMap {
    /// Reads the file, or the image of it in a WAL record.
    ///
    /// # Errors
    /// Size, magic number, number of entries or checksum are wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, RelMapError> {
        let slots = match bytes.len() {
            512 => 62,
            524 => 64,
            other => return Err(RelMapError::Size(other)),
        };
        let mut cursor = Bytes::new(bytes);
        let magic = cursor.u32()?;
        if magic != MAGIC {
            return Err(RelMapError::Magic(magic));
        }
        let count = cursor.u32()?;
        let crc_at = 8 + slots as usize * 8;
        let stored = cursor.u32_at(crc_at)?;
        let computed = crc32c::crc32c(cursor.slice_at(0, crc_at)?);
        if stored != computed {
            return Err(RelMapError::Crc { stored, computed });
        }
        if count > slots {
            return Err(RelMapError::Count(count));
        }
        let entries = (0..count).map(|_| Ok((cursor.u32()?, cursor.u32()?))).collect::<Result<_, Short>>()?;
        Ok(Self { entries })
    }

    /// File number of the catalog with this OID, if it is mapped.
    pub fn file_number(&self, oid: Oid) -> Option<Oid> {
        self.entries.iter().find(|(mapped, _)| *mapped == oid).map(|(_, number)| *number)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A map file as a server writes it.
    pub(crate) fn image(entries: &[(Oid, Oid)], size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&(entries.len() as u32).to_le_bytes());
        for (i, (oid, number)) in entries.iter().enumerate() {
            bytes[8 + 8 * i..12 + 8 * i].copy_from_slice(&oid.to_le_bytes());
            bytes[12 + 8 * i..16 + 8 * i].copy_from_slice(&number.to_le_bytes());
        }
        seal(&mut bytes);
        bytes
    }

    fn seal(bytes: &mut [u8]) {
        let at = if bytes.len() == 512 { 504 } else { 520 };
        let crc = crc32c::crc32c(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }

    #[test]
    fn both_sizes() {
        for size in [512, 524] {
            let map = RelMap::parse(&image(&[(1259, 16400), (1249, 1249)], size)).unwrap();
            assert_eq!(
                (map.file_number(1259), map.file_number(1249), map.file_number(1)),
                (Some(16400), Some(1249), None)
            );
        }
    }

    #[test]
    fn damage_is_told() {
        let good = image(&[(1259, 1259)], 524);
        let mut bad = good.clone();
        bad[12] ^= 1;
        assert!(matches!(RelMap::parse(&bad), Err(RelMapError::Crc { .. })));
        let mut bad = good.clone();
        bad[4] = 65;
        seal(&mut bad);
        assert_eq!(RelMap::parse(&bad), Err(RelMapError::Count(65)));
        let mut bad = good.clone();
        bad[0] = 0;
        assert!(matches!(RelMap::parse(&bad), Err(RelMapError::Magic(_))));
        assert_eq!(RelMap::parse(&good[..513]), Err(RelMapError::Size(513)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 524), short in any::<bool>()) {
            if short {
                bytes.truncate(512);
            }
            let _ = RelMap::parse(&bytes);
            bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
            seal(&mut bytes);
            let _ = RelMap::parse(&bytes);
        }
    }
}

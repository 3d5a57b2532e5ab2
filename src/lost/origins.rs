//! Names of replication origins (pg_replication_origin), from the target's file and from the WAL at hand.

use std::collections::HashMap;

use crate::names::{BlockSource, DiskBlocks};
use crate::pg::catalog::oid;
use crate::pg::page::Page;
use crate::pg::relfile::GLOBAL_TABLESPACE;
use crate::pg::tuple::{Tuple, infomask};
use crate::pg::{BLOCK_SIZE, RelFile};
use crate::rows::{Align, Column, Datum, columns};

/// Names by number.
#[derive(Debug)]
pub struct Origins {
    /// Where the catalog lies.
    pub file: RelFile,
    names: HashMap<u16, Vec<String>>,
    columns: [Column; 2],
}

impl Origins {
    /// Those in the directory's file; what cannot be read has no name.
    pub fn read(disk: &DiskBlocks) -> Self {
        let column = |number, name: &str, len| Column::stored(number, name.to_owned(), len, Align::Int);
        let map = disk.relation_map(GLOBAL_TABLESPACE, 0).unwrap_or_default();
        let number = map.file_number(oid::PG_REPLICATION_ORIGIN).unwrap_or(oid::PG_REPLICATION_ORIGIN);
        let mut origins = Self {
            file: RelFile { spc: GLOBAL_TABLESPACE, db: 0, rel: number },
            names: HashMap::new(),
            columns: [column(1, "roident", 4), column(2, "roname", -1)],
        };
        let mut bytes = [0; BLOCK_SIZE];
        for block in 0..disk.block_count(origins.file).unwrap_or(0) {
            if !disk.read_block(origins.file, block, &mut bytes).unwrap_or(false) {
                break;
            }
            if let Ok(Some(page)) = Page::read(&bytes) {
                page.items().for_each(|(_, tuple)| origins.learn(tuple));
            }
        }
        origins
    }

    /// Takes a row of the catalog; those of which it is known that they never counted are passed over.
    pub fn learn(&mut self, tuple: &[u8]) {
        let hints = Tuple::read(tuple).map_or(0, |tuple| tuple.infomask() & infomask::XMIN_FROZEN);
        if hints == infomask::XMIN_INVALID {
            return;
        }
        let values = columns(tuple, &self.columns);
        let [Datum::Plain(number), Datum::Plain(name)] = values.as_slice() else { return };
        let number =
            number.first_chunk::<4>().and_then(|bytes| u16::try_from(u32::from_le_bytes(*bytes)).ok());
        if let Some(number) = number {
            let name = String::from_utf8_lossy(name).into_owned();
            let names = self.names.entry(number).or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }

    /// Names that the number has or had.
    pub fn names(&self, number: u16) -> Vec<String> {
        self.names.get(&number).cloned().unwrap_or_default()
    }
}

//! Values stored out of line: their chunks as WAL and heap files show them.

use std::io;

use hashbrown::{HashMap, HashSet};

use crate::names::{BlockSource, DiskBlocks};
use crate::pg::bytes::Bytes;
use crate::pg::page::Page;
use crate::pg::tuple::Tuple;
use crate::pg::{BLOCK_SIZE, Oid, RelFile};
use crate::rows::{Align, Column, Datum, ToastPointer, columns};

use super::LostError;
use super::scratch::Scratch;
use crate::scan::progress::Progress;

/// Database, TOAST table, value.
type Key = (Oid, Oid, Oid);

/// Where a chunk lies in the temporary file.
#[derive(Debug, Clone, Copy)]
struct Stored {
    number: i32,
    at: u64,
    len: u32,
}

/// Chunks that were seen.
#[derive(Debug)]
pub struct Chunks {
    scratch: Scratch,
    index: HashMap<Key, Vec<Stored>>,
    wanted: HashMap<Key, u32>,
    columns: [Column; 3],
}

impl Default for Chunks {
    fn default() -> Self {
        let column = |number, name: &str, len| Column::stored(number, name.to_owned(), len, Align::Int);
        Self {
            scratch: Scratch::default(),
            index: HashMap::new(),
            wanted: HashMap::new(),
            columns: [column(1, "chunk_id", 4), column(2, "chunk_seq", 4), column(3, "chunk_data", -1)],
        }
    }
}

impl Chunks {
    /// Keeps the chunk in a tuple of a TOAST table.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub fn add(&mut self, database: Oid, table: Oid, tuple: &[u8]) -> io::Result<()> {
        let values = columns(tuple, &self.columns);
        let [Datum::Plain(id), Datum::Plain(number), Datum::Plain(data)] = values.as_slice() else {
            return Ok(());
        };
        let (Ok(value), Ok(number)) = (Bytes::new(id).u32(), Bytes::new(number).u32()) else { return Ok(()) };
        let number = number as i32;
        let known = self.index.entry((database, table, value)).or_default();
        if known.iter().any(|stored| stored.number == number && stored.len as usize == data.len()) {
            return Ok(());
        }
        let at = self.scratch.append(data)?;
        known.push(Stored { number, at, len: data.len() as u32 });
        Ok(())
    }

    /// The value will be asked for.
    pub fn want(&mut self, database: Oid, pointer: &ToastPointer) {
        self.wanted.insert((database, pointer.table, pointer.value), pointer.stored);
    }

    fn has(&self, key: &Key, stored: u32) -> bool {
        let chunks = self.index.get(key);
        chunks.is_some_and(|chunks| chunks.iter().map(|c| u64::from(c.len)).sum::<u64>() >= u64::from(stored))
    }

    /// Whether the value's chunks are all there.
    pub fn complete(&self, database: Oid, pointer: &ToastPointer) -> bool {
        self.has(&(database, pointer.table, pointer.value), pointer.stored)
    }

    /// TOAST tables of values that were asked for and are not there yet.
    pub fn lacking(&self) -> HashSet<(Oid, Oid)> {
        let lacking = self.wanted.iter().filter(|(key, stored)| !self.has(key, **stored));
        lacking.map(|(key, _)| (key.0, key.1)).collect()
    }

    /// Takes what is lacking from the TOAST table's file.
    ///
    /// # Errors
    /// The temporary file cannot be written, or the work was cancelled.
    pub fn take_from(
        &mut self,
        disk: &DiskBlocks,
        table: Oid,
        file: RelFile,
        progress: &Progress,
    ) -> Result<(), LostError> {
        let lacking: HashSet<Oid> = self
            .wanted
            .iter()
            .filter(|(key, stored)| (key.0, key.1) == (file.db, table) && !self.has(key, **stored))
            .map(|(key, _)| key.2)
            .collect();
        let mut bytes = [0; BLOCK_SIZE];
        for block in 0..disk.block_count(file).unwrap_or(0) {
            progress.check()?;
            if !disk.read_block(file, block, &mut bytes).unwrap_or(false) {
                break;
            }
            let Ok(Some(page)) = Page::read(&bytes) else { continue };
            for (_, tuple) in page.items() {
                let value = Tuple::read(tuple).ok().and_then(|t| Bytes::new(t.data()).u32().ok());
                if value.is_some_and(|value| lacking.contains(&value)) {
                    self.add(file.db, table, tuple)?;
                }
            }
        }
        Ok(())
    }

    /// The stored bytes of a value.
    ///
    /// # Errors
    /// Why they are not to be had.
    pub fn fetch(&self, database: Oid, pointer: &ToastPointer) -> Result<Vec<u8>, String> {
        let key = (database, pointer.table, pointer.value);
        let Some(stored) = self.index.get(&key) else {
            return Err(format!(
                "its {} bytes were stored out of line, and neither the WAL nor the TOAST table has them",
                pointer.stored
            ));
        };
        let mut chunks = Vec::with_capacity(stored.len());
        for one in stored {
            let mut bytes = vec![0; one.len as usize];
            self.scratch.read(one.at, &mut bytes).map_err(|e| format!("the temporary file: {e}"))?;
            chunks.push((one.number, bytes));
        }
        pointer.assemble(chunks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(value: Oid, number: i32, data: &[u8]) -> Vec<u8> {
        let mut tuple = vec![0; 24];
        tuple[18..20].copy_from_slice(&3u16.to_le_bytes());
        tuple[22] = 24;
        tuple.extend_from_slice(&value.to_le_bytes());
        tuple.extend_from_slice(&number.to_le_bytes());
        tuple.extend_from_slice(&((data.len() as u32 + 4) << 2).to_le_bytes());
        tuple.extend_from_slice(data);
        tuple
    }

    #[test]
    fn a_value_comes_together() {
        let mut chunks = Chunks::default();
        let pointer = ToastPointer { size: 5, stored: 5, method: 0, value: 7, table: 8 };
        chunks.want(5, &pointer);
        assert_eq!(chunks.lacking().into_iter().collect::<Vec<_>>(), [(5, 8)]);
        chunks.add(5, 8, &chunk(7, 1, b"lo")).unwrap();
        assert!(!chunks.complete(5, &pointer));
        chunks.add(5, 8, &chunk(7, 0, b"hel")).unwrap();
        chunks.add(5, 8, &chunk(7, 0, b"hel")).unwrap();
        assert!(chunks.complete(5, &pointer) && chunks.lacking().is_empty());
        assert_eq!(chunks.fetch(5, &pointer).unwrap(), b"hello");
        assert!(chunks.fetch(6, &pointer).unwrap_err().contains("out of line"));
    }

    proptest! {
        #[test]
        fn arbitrary_tuples_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Chunks::default().add(5, 8, &bytes);
        }
    }
}

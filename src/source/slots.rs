//! Replication slots (`pg_replslot/NAME/state`, slot.c).

use crate::pg::{Lsn, Oid, Xid};

/// A replication slot as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Database of a logical slot; 0 for a physical one.
    pub database: Oid,
    /// Oldest WAL that it holds.
    pub restart_lsn: Lsn,
    /// For logical slots: what the consumer has confirmed.
    pub confirmed_flush: Lsn,
    /// For logical slots: the output plugin.
    pub plugin: String,
    /// Oldest transaction that it holds.
    pub xmin: Xid,
    /// Oldest catalog transaction that it holds.
    pub catalog_xmin: Xid,
    /// Survives a restart (not temporary).
    pub persistent: bool,
    /// Invalidated, 14+.
    pub invalidated: bool,
    /// Failover slot, 17+.
    pub failover: bool,
    /// Synced from the primary, 17+.
    pub synced: bool,
}

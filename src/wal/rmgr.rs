//! Resource managers and the names of their operations (`rmgrlist.h` and each `*_identify`).

use std::borrow::Cow;

use crate::pg::Major;

/// Numbers of the built-in resource managers.
#[allow(missing_docs)]
pub mod id {
    pub const XLOG: u8 = 0;
    pub const XACT: u8 = 1;
    pub const SMGR: u8 = 2;
    pub const CLOG: u8 = 3;
    pub const DBASE: u8 = 4;
    pub const TBLSPC: u8 = 5;
    pub const MULTIXACT: u8 = 6;
    pub const RELMAP: u8 = 7;
    pub const STANDBY: u8 = 8;
    pub const HEAP2: u8 = 9;
    pub const HEAP: u8 = 10;
    pub const BTREE: u8 = 11;
    pub const HASH: u8 = 12;
    pub const GIN: u8 = 13;
    pub const GIST: u8 = 14;
    pub const SEQ: u8 = 15;
    pub const SPGIST: u8 = 16;
    pub const BRIN: u8 = 17;
    pub const COMMIT_TS: u8 = 18;
    pub const REPLORIGIN: u8 = 19;
    pub const GENERIC: u8 = 20;
    pub const LOGICALMSG: u8 = 21;
    /// First number of custom resource managers (15+).
    pub const CUSTOM: u8 = 128;
}

/// Operations that more than names depend on; `info & 0xF0` unless said.
#[allow(missing_docs)]
pub mod op {
    pub const XLOG_CHECKPOINT_SHUTDOWN: u8 = 0x00;
    pub const XLOG_CHECKPOINT_ONLINE: u8 = 0x10;
    pub const XLOG_SWITCH: u8 = 0x40;
    pub const XLOG_BACKUP_END: u8 = 0x50;
    pub const XLOG_END_OF_RECOVERY: u8 = 0x90;
    pub const XLOG_PARAMETER_CHANGE: u8 = 0x60;
    pub const XLOG_FPI_FOR_HINT: u8 = 0xA0;
    pub const XLOG_FPI: u8 = 0xB0;
    pub const XLOG_OVERWRITE_CONTRECORD: u8 = 0xD0;
    /// The operation of a transaction record is in `info & 0x70`.
    pub const XACT_MASK: u8 = 0x70;
    pub const XACT_COMMIT: u8 = 0x00;
    pub const XACT_PREPARE: u8 = 0x10;
    pub const XACT_ABORT: u8 = 0x20;
    pub const XACT_COMMIT_PREPARED: u8 = 0x30;
    pub const XACT_ABORT_PREPARED: u8 = 0x40;
    pub const XACT_ASSIGNMENT: u8 = 0x50;
    pub const SMGR_CREATE: u8 = 0x10;
    pub const SMGR_TRUNCATE: u8 = 0x20;
    /// A database copied file by file; up to 14 the only way.
    pub const DBASE_CREATE_FILE_COPY: u8 = 0x00;

    /// The operation of Database that drops one.
    pub fn drop_database(major: crate::pg::Major) -> u8 {
        if major >= crate::pg::Major::V15 { 0x20 } else { 0x10 }
    }
    pub const TBLSPC_CREATE: u8 = 0x00;
    pub const TBLSPC_DROP: u8 = 0x10;
    pub const RELMAP_UPDATE: u8 = 0x00;
    pub const STANDBY_RUNNING_XACTS: u8 = 0x10;
    /// Heap operations are in `info & 0x70`; 0x80 says that the page is made new.
    pub const HEAP_MASK: u8 = 0x70;
    pub const HEAP_INIT_PAGE: u8 = 0x80;
}

const NAMES: [&str; 22] = [
    "XLOG",
    "Transaction",
    "Storage",
    "CLOG",
    "Database",
    "Tablespace",
    "MultiXact",
    "RelMap",
    "Standby",
    "Heap2",
    "Heap",
    "Btree",
    "Hash",
    "Gin",
    "Gist",
    "Sequence",
    "SPGist",
    "BRIN",
    "CommitTs",
    "ReplicationOrigin",
    "Generic",
    "LogicalMessage",
];

/// The name that pg_waldump prints; `custom###` for custom ones, `unknown###` for numbers that no major defines.
pub fn name(rmid: u8) -> Cow<'static, str> {
    match NAMES.get(usize::from(rmid)) {
        Some(name) => Cow::Borrowed(name),
        None if rmid >= id::CUSTOM => Cow::Owned(format!("custom{rmid:03}")),
        None => Cow::Owned(format!("unknown{rmid:03}")),
    }
}

/// Whether a record may carry this number (`RmgrIdIsValid`).
#[inline]
pub fn is_valid(rmid: u8, major: Major) -> bool {
    let builtin = if major >= Major::V9_6 { id::LOGICALMSG } else { id::REPLORIGIN };
    rmid <= builtin || (rmid >= id::CUSTOM && major >= Major::V15)
}

/// The part of the info byte that names the operation, as pg_waldump's statistics count it.
#[inline]
pub const fn operation(rmid: u8, info: u8) -> u8 {
    match rmid {
        // 0x80 of a transaction record only says that xinfo follows
        id::XACT => info & op::XACT_MASK,
        _ => info & 0xF0,
    }
}

/// Name of an operation (`rm_identify`); `None` if the major does not define it.
#[allow(clippy::match_same_arms, reason = "one line per operation, by resource manager")]
pub fn op_name(rmid: u8, info: u8, major: Major) -> Option<&'static str> {
    use Major::{V9_6, V10, V11, V12, V13, V14, V15, V17, V19};
    let op = operation(rmid, info);
    let since = |m: Major, name| (major >= m).then_some(name);
    let until = |m: Major, name| (major <= m).then_some(name);
    let changed = |m: Major, old, new| Some(if major >= m { new } else { old });
    match (rmid, op) {
        (id::XLOG, 0x00) => Some("CHECKPOINT_SHUTDOWN"),
        (id::XLOG, 0x10) => Some("CHECKPOINT_ONLINE"),
        (id::XLOG, 0x20) => Some("NOOP"),
        (id::XLOG, 0x30) => Some("NEXTOID"),
        (id::XLOG, 0x40) => Some("SWITCH"),
        (id::XLOG, 0x50) => Some("BACKUP_END"),
        (id::XLOG, 0x60) => Some("PARAMETER_CHANGE"),
        (id::XLOG, 0x70) => Some("RESTORE_POINT"),
        (id::XLOG, 0x80) => Some("FPW_CHANGE"),
        (id::XLOG, 0x90) => Some("END_OF_RECOVERY"),
        (id::XLOG, 0xA0) => Some("FPI_FOR_HINT"),
        (id::XLOG, 0xB0) => Some("FPI"),
        (id::XLOG, 0xC0) if major == V10 || major == V11 => Some("FPI_MULTI"),
        (id::XLOG, 0xC0) => since(V19, "ASSIGN_LSN"),
        (id::XLOG, 0xD0) => Some("OVERWRITE_CONTRECORD"),
        (id::XLOG, 0xE0) => since(V17, "CHECKPOINT_REDO"),
        (id::XLOG, 0xF0) => since(V19, "LOGICAL_DECODING_STATUS_CHANGE"),
        (id::XACT, 0x00) => Some("COMMIT"),
        (id::XACT, 0x10) => Some("PREPARE"),
        (id::XACT, 0x20) => Some("ABORT"),
        (id::XACT, 0x30) => Some("COMMIT_PREPARED"),
        (id::XACT, 0x40) => Some("ABORT_PREPARED"),
        (id::XACT, 0x50) => Some("ASSIGNMENT"),
        (id::XACT, 0x60) => since(V14, "INVALIDATION"),
        (id::SMGR, 0x10) => Some("CREATE"),
        (id::SMGR, 0x20) => Some("TRUNCATE"),
        (id::CLOG | id::COMMIT_TS, 0x00) => Some("ZEROPAGE"),
        (id::CLOG | id::COMMIT_TS, 0x10) => Some("TRUNCATE"),
        (id::COMMIT_TS, 0x20) => until(V13, "SETTS"),
        (id::DBASE, 0x00) => changed(V15, "CREATE", "CREATE_FILE_COPY"),
        (id::DBASE, 0x10) => changed(V15, "DROP", "CREATE_WAL_LOG"),
        (id::DBASE, 0x20) => since(V15, "DROP"),
        (id::TBLSPC, 0x00) => Some("CREATE"),
        (id::TBLSPC, 0x10) => Some("DROP"),
        (id::MULTIXACT, 0x00) => Some("ZERO_OFF_PAGE"),
        (id::MULTIXACT, 0x10) => Some("ZERO_MEM_PAGE"),
        (id::MULTIXACT, 0x20) => Some("CREATE_ID"),
        (id::MULTIXACT, 0x30) => Some("TRUNCATE_ID"),
        (id::RELMAP, 0x00) => Some("UPDATE"),
        (id::STANDBY, 0x00) => Some("LOCK"),
        (id::STANDBY, 0x10) => Some("RUNNING_XACTS"),
        (id::STANDBY, 0x20) => since(V9_6, "INVALIDATIONS"),
        (id::HEAP2, 0x00) => Some("REWRITE"),
        (id::HEAP2, 0x10) if major >= V17 => Some("PRUNE_ON_ACCESS"),
        (id::HEAP2, 0x10) => changed(V14, "CLEAN", "PRUNE"),
        (id::HEAP2, 0x20) if major >= V17 => Some("PRUNE_VACUUM_SCAN"),
        (id::HEAP2, 0x20) => changed(V14, "FREEZE_PAGE", "VACUUM"),
        (id::HEAP2, 0x30) if major >= V17 => Some("PRUNE_VACUUM_CLEANUP"),
        (id::HEAP2, 0x30) => changed(V14, "CLEANUP_INFO", "FREEZE_PAGE"),
        (id::HEAP2, 0x40) => until(Major::V18, "VISIBLE"),
        (id::HEAP2, 0x50) => Some("MULTI_INSERT"),
        (id::HEAP2, 0xD0) => Some("MULTI_INSERT+INIT"),
        (id::HEAP2, 0x60) => Some("LOCK_UPDATED"),
        (id::HEAP2, 0x70) => Some("NEW_CID"),
        (id::HEAP, 0x00) => Some("INSERT"),
        (id::HEAP, 0x80) => Some("INSERT+INIT"),
        (id::HEAP, 0x10) => Some("DELETE"),
        (id::HEAP, 0x20) => Some("UPDATE"),
        (id::HEAP, 0xA0) => Some("UPDATE+INIT"),
        (id::HEAP, 0x30) => since(V11, "TRUNCATE"),
        (id::HEAP, 0x40) => Some("HOT_UPDATE"),
        (id::HEAP, 0xC0) => Some("HOT_UPDATE+INIT"),
        (id::HEAP, 0x50) => Some("HEAP_CONFIRM"),
        (id::HEAP, 0x60) => Some("LOCK"),
        (id::HEAP, 0x70) => Some("INPLACE"),
        (id::BTREE, 0x00) => Some("INSERT_LEAF"),
        (id::BTREE, 0x10) => Some("INSERT_UPPER"),
        (id::BTREE, 0x20) => Some("INSERT_META"),
        (id::BTREE, 0x30) => Some("SPLIT_L"),
        (id::BTREE, 0x40) => Some("SPLIT_R"),
        (id::BTREE, 0x50) if major >= V13 => Some("INSERT_POST"),
        (id::BTREE, 0x50) if major == V11 => Some("SPLIT_L_HIGHKEY"),
        (id::BTREE, 0x50) => until(V10, "SPLIT_L_ROOT"),
        (id::BTREE, 0x60) if major >= V13 => Some("DEDUP"),
        (id::BTREE, 0x60) if major == V11 => Some("SPLIT_R_HIGHKEY"),
        (id::BTREE, 0x60) => until(V10, "SPLIT_R_ROOT"),
        (id::BTREE, 0x70) => Some("DELETE"),
        (id::BTREE, 0x80) => Some("UNLINK_PAGE"),
        (id::BTREE, 0x90) => Some("UNLINK_PAGE_META"),
        (id::BTREE, 0xA0) => Some("NEWROOT"),
        (id::BTREE, 0xB0) => Some("MARK_PAGE_HALFDEAD"),
        (id::BTREE, 0xC0) => Some("VACUUM"),
        (id::BTREE, 0xD0) => Some("REUSE_PAGE"),
        (id::BTREE, 0xE0) => since(V11, "META_CLEANUP"),
        (id::HASH, 0x00) => Some("INIT_META_PAGE"),
        (id::HASH, 0x10) => Some("INIT_BITMAP_PAGE"),
        (id::HASH, 0x20) => Some("INSERT"),
        (id::HASH, 0x30) => Some("ADD_OVFL_PAGE"),
        (id::HASH, 0x40) => Some("SPLIT_ALLOCATE_PAGE"),
        (id::HASH, 0x50) => Some("SPLIT_PAGE"),
        (id::HASH, 0x60) => Some("SPLIT_COMPLETE"),
        (id::HASH, 0x70) => Some("MOVE_PAGE_CONTENTS"),
        (id::HASH, 0x80) => Some("SQUEEZE_PAGE"),
        (id::HASH, 0x90) => Some("DELETE"),
        (id::HASH, 0xA0) => Some("SPLIT_CLEANUP"),
        (id::HASH, 0xB0) => Some("UPDATE_META_PAGE"),
        (id::HASH, 0xC0) => Some("VACUUM_ONE_PAGE"),
        (id::GIN, 0x00) => until(V11, "CREATE_INDEX"),
        (id::GIN, 0x10) => Some("CREATE_PTREE"),
        (id::GIN, 0x20) => Some("INSERT"),
        (id::GIN, 0x30) => Some("SPLIT"),
        (id::GIN, 0x40) => Some("VACUUM_PAGE"),
        (id::GIN, 0x50) => Some("DELETE_PAGE"),
        (id::GIN, 0x60) => Some("UPDATE_META_PAGE"),
        (id::GIN, 0x70) => Some("INSERT_LISTPAGE"),
        (id::GIN, 0x80) => Some("DELETE_LISTPAGE"),
        (id::GIN, 0x90) => Some("VACUUM_DATA_LEAF_PAGE"),
        (id::GIST, 0x00) => Some("PAGE_UPDATE"),
        (id::GIST, 0x10) => since(V12, "DELETE"),
        (id::GIST, 0x20) => since(V12, "PAGE_REUSE"),
        (id::GIST, 0x30) => Some("PAGE_SPLIT"),
        (id::GIST, 0x50) => until(V11, "CREATE_INDEX"),
        (id::GIST, 0x60) => since(V12, "PAGE_DELETE"),
        (id::GIST, 0x70) => (V13..=Major::V18).contains(&major).then_some("ASSIGN_LSN"),
        (id::SEQ, 0x00) => Some("LOG"),
        (id::SPGIST, 0x00) => until(V11, "CREATE_INDEX"),
        (id::SPGIST, 0x10) => Some("ADD_LEAF"),
        (id::SPGIST, 0x20) => Some("MOVE_LEAFS"),
        (id::SPGIST, 0x30) => Some("ADD_NODE"),
        (id::SPGIST, 0x40) => Some("SPLIT_TUPLE"),
        (id::SPGIST, 0x50) => Some("PICKSPLIT"),
        (id::SPGIST, 0x60) => Some("VACUUM_LEAF"),
        (id::SPGIST, 0x70) => Some("VACUUM_ROOT"),
        (id::SPGIST, 0x80) => Some("VACUUM_REDIRECT"),
        (id::BRIN, 0x00) => Some("CREATE_INDEX"),
        (id::BRIN, 0x10) => Some("INSERT"),
        (id::BRIN, 0x90) => Some("INSERT+INIT"),
        (id::BRIN, 0x20) => Some("UPDATE"),
        (id::BRIN, 0xA0) => Some("UPDATE+INIT"),
        (id::BRIN, 0x30) => Some("SAMEPAGE_UPDATE"),
        (id::BRIN, 0x40) => Some("REVMAP_EXTEND"),
        (id::BRIN, 0x50) => since(V10, "DESUMMARIZE"),
        (id::REPLORIGIN, 0x00) => Some("SET"),
        (id::REPLORIGIN, 0x10) => Some("DROP"),
        (id::GENERIC, _) => Some("Generic"),
        (id::LOGICALMSG, 0x00) => Some("MESSAGE"),
        _ => None,
    }
}

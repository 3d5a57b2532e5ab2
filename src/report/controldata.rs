//! A control file as pg_controldata prints it, and as JSON.

use std::fmt::{Display, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::timezone::c_time;
use crate::pg::bytes::Short;
use crate::pg::control::{CheckpointCopy, ControlFile, control_version, wal_level_name};
use crate::pg::walname::segment_name;
use crate::pg::{Lsn, Major, SegmentSize};

/// Column at which pg_controldata's values begin; a longer label gets no space at all.
const VALUE_COLUMN: usize = 38;

/// What pg_controldata writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// To its standard output.
    pub stdout: String,
    /// To its standard error.
    pub stderr: String,
}

/// What the pg_controldata of `major`'s newest minor writes for a file of these bytes, in the C locale and the time
/// zone given. Like it, this reads the bytes with its own layout whatever version they name, and only warns. Fails
/// when they are too short. Where an old pg_controldata crashes (times beyond the year 2^31, a segment size of 0 or
/// beyond 2 GB) this prints `???` as newer ones do.
pub fn text(bytes: &[u8], major: Major, zone: &TimeZone) -> Result<Output, Short> {
    let control = ControlFile::parse_as(bytes, major)?;
    let mut printer = Printer { out: Output::default(), major, zone };
    printer.warnings(&control);
    printer.listing(&control);
    Ok(printer.out)
}

/// Collects the text; writing to a `String` does not fail, so results of `write!` are dropped.
struct Printer<'a> {
    out: Output,
    major: Major,
    zone: &'a TimeZone,
}

const BYTE_ORDER: &str = "possible byte ordering mismatch\n\
    The byte ordering used to store the pg_control file might not match the one\n\
    used by this program.  In that case the results below would be incorrect, and\n\
    the PostgreSQL installation would be incompatible with this data directory.\n";

impl Printer<'_> {
    fn warnings(&mut self, control: &ControlFile) {
        let swapped = looks_swapped(control.pg_control_version);
        if swapped && self.major >= Major::V12 {
            self.warning(BYTE_ORDER.trim_end());
        }
        let expected = control_version(self.major);
        if self.major >= Major::V19 && control.pg_control_version != expected {
            let version = control.pg_control_version;
            self.warning(&format!(
                "control file version ({version}) does not match the version understood by this program ({expected})"
            ));
            self.detail(
                "Either the control file has been created with a different version of PostgreSQL, or it is corrupt.  \
                 The results below are untrustworthy.",
            );
        } else if !control.crc_ok && self.major >= Major::V17 {
            self.warning("calculated CRC checksum does not match value stored in control file");
            self.detail(
                "Either the control file is corrupt, or it has a different layout than this program is expecting.  \
                 The results below are untrustworthy.",
            );
        }
        let crc_on_stdout = !control.crc_ok && self.major < Major::V17;
        let order_on_stdout = swapped && (Major::V9_6..Major::V12).contains(&self.major);
        // 9.6 checks both in one function, from 10 on the CRC's result is looked at after that function.
        let crc_first = self.major == Major::V9_6;
        if crc_on_stdout && crc_first {
            self.crc_on_stdout();
        }
        if order_on_stdout {
            self.out.stdout += "WARNING: ";
            self.out.stdout += BYTE_ORDER;
        }
        if crc_on_stdout && !crc_first {
            self.crc_on_stdout();
        }
        if self.major >= Major::V11 && control.segment_size().is_none() {
            self.segment_size(control.wal_segment_size.cast_signed());
        }
    }

    fn crc_on_stdout(&mut self) {
        self.out.stdout += "WARNING: Calculated CRC checksum does not match value stored in file.\n\
            Either the file is corrupt, or it has a different layout than this program\n\
            is expecting.  The results below are untrustworthy.\n\n";
    }

    fn segment_size(&mut self, size: i32) {
        let unit = if size == 1 { "byte" } else { "bytes" };
        if self.major >= Major::V17 {
            self.warning(&format!("invalid WAL segment size in control file ({size} {unit})"));
            self.detail("The WAL segment size must be a power of two between 1 MB and 1 GB.");
            self.detail("The file is corrupt and the results below are untrustworthy.");
        } else {
            let _ = write!(
                self.out.stdout,
                "WARNING: invalid WAL segment size\n\
                 The WAL segment size stored in the file, {size} {unit}, is not a power of two\n\
                 between 1 MB and 1 GB.  The file is corrupt and the results below are\n\
                 untrustworthy.\n\n"
            );
        }
    }

    fn warning(&mut self, message: &str) {
        let _ = writeln!(self.out.stderr, "pg_controldata: warning: {message}");
    }

    fn detail(&mut self, message: &str) {
        let _ = writeln!(self.out.stderr, "pg_controldata: detail: {message}");
    }

    /// The order of these lines is the order on the screen.
    fn listing(&mut self, c: &ControlFile) {
        self.line("pg_control version number", c.pg_control_version);
        if looks_swapped(c.pg_control_version) && self.major < Major::V9_6 {
            self.out.stdout += "WARNING: ";
            self.out.stdout += BYTE_ORDER;
        }
        self.line("Catalog version number", c.catalog_version);
        self.line("Database system identifier", c.system_identifier);
        self.line("Database cluster state", c.state);
        self.time("pg_control last modified", c.time);
        self.lsn("Latest checkpoint location", Some(c.checkpoint));
        self.lsn("Prior checkpoint location", c.prev_checkpoint);
        self.checkpoint(&c.checkpoint_copy, c.wal_segment_size);
        self.lsn("Fake LSN counter for unlogged rels", c.unlogged_lsn);
        self.lsn("Minimum recovery ending location", Some(c.min_recovery_point));
        self.some("Min recovery ending loc's timeline", c.min_recovery_point_tli);
        self.lsn("Backup start location", Some(c.backup_start_point));
        self.lsn("Backup end location", c.backup_end_point);
        self.some(
            "End-of-backup record required",
            c.backup_end_required.map(|b| if b { "yes" } else { "no" }),
        );
        let unknown =
            if self.major >= Major::V17 { "unrecognized \"wal_level\"" } else { "unrecognized wal_level" };
        self.setting("wal_level", Some(wal_level_name(self.major, c.wal_level).unwrap_or(unknown)));
        self.setting("wal_log_hints", c.wal_log_hints.map(on_off));
        self.setting("max_connections", Some(c.max_connections));
        self.setting("max_worker_processes", c.max_worker_processes);
        self.setting("max_wal_senders", c.max_wal_senders);
        self.setting("max_prepared_xacts", Some(c.max_prepared_xacts));
        self.setting("max_locks_per_xact", Some(c.max_locks_per_xact));
        self.setting("track_commit_timestamp", c.track_commit_timestamp.map(on_off));
        self.line("Maximum data alignment", c.max_align);
        self.line("Database block size", c.block_size);
        self.line("Blocks per segment of large relation", c.relation_segment_size);
        self.some("Pages per SLRU segment", c.slru_pages_per_segment);
        self.line("WAL block size", c.wal_block_size);
        self.line("Bytes per WAL segment", c.wal_segment_size);
        self.line("Maximum length of identifiers", c.name_data_len);
        self.line("Maximum columns in an index", c.index_max_keys);
        self.line("Maximum size of a TOAST chunk", c.toast_max_chunk_size);
        self.some("Size of a large-object chunk", c.large_object_chunk_size);
        let integers = c.integer_datetimes.unwrap_or(true);
        self.line(
            "Date/time type storage",
            if integers { "64-bit integers" } else { "floating-point numbers" },
        );
        self.some("Float4 argument passing", c.float4_by_value.map(passing));
        self.line("Float8 argument passing", passing(c.float8_by_value));
        self.some("Data page checksum version", c.data_checksum_version);
        let signedness = |signed| if signed { "signed" } else { "unsigned" };
        self.some("Default char data signedness", c.default_char_signed.map(signedness));
        self.some("Mock authentication nonce", c.mock_authentication_nonce.map(|nonce| hex(&nonce)));
    }

    fn checkpoint(&mut self, c: &CheckpointCopy, wal_segment_size: u32) {
        self.lsn("Latest checkpoint's REDO location", Some(c.redo));
        if self.major >= Major::V9_3 {
            let name = self.redo_file(c, wal_segment_size);
            self.line("Latest checkpoint's REDO WAL file", name);
        }
        self.line("Latest checkpoint's TimeLineID", c.timeline);
        self.some("Latest checkpoint's PrevTimeLineID", c.prev_timeline);
        self.some("Latest checkpoint's full_page_writes", c.full_page_writes.map(on_off));
        self.some("Latest checkpoint's logical decoding", c.logical_decoding.map(on_off));
        let separator = if self.major >= Major::V9_6 { ':' } else { '/' };
        self.line("Latest checkpoint's NextXID", format!("{}{separator}{}", c.next_xid_epoch, c.next_xid));
        self.line("Latest checkpoint's NextOID", c.next_oid);
        self.line("Latest checkpoint's NextMultiXactId", c.next_multi);
        self.line("Latest checkpoint's NextMultiOffset", c.next_multi_offset);
        self.line("Latest checkpoint's oldestXID", c.oldest_xid);
        self.line("Latest checkpoint's oldestXID's DB", c.oldest_xid_db);
        self.line("Latest checkpoint's oldestActiveXID", c.oldest_active_xid);
        self.some("Latest checkpoint's oldestMultiXid", c.oldest_multi);
        self.some("Latest checkpoint's oldestMulti's DB", c.oldest_multi_db);
        self.some("Latest checkpoint's oldestCommitTsXid", c.oldest_commit_ts_xid);
        self.some("Latest checkpoint's newestCommitTsXid", c.newest_commit_ts_xid);
        self.time("Time of latest checkpoint", c.time);
    }

    /// Computed with whatever size the file names, as pg_controldata does, from 11 on. Before, the program knew the
    /// size that it was built for.
    fn redo_file(&self, c: &CheckpointCopy, wal_segment_size: u32) -> String {
        let valid = SegmentSize::new(wal_segment_size);
        if let Some(size) = valid.or((self.major < Major::V11).then_some(SegmentSize::DEFAULT)) {
            return segment_name(c.timeline, c.redo, size);
        }
        match u64::from(wal_segment_size) {
            0 => "???".to_owned(),
            _ if wal_segment_size.cast_signed() < 0 => "???".to_owned(),
            size => {
                let (segno, per_id) = (c.redo.0 / size, (1 << 32) / size);
                format!("{:08X}{:08X}{:08X}", c.timeline, (segno / per_id) as u32, segno % per_id)
            }
        }
    }

    fn line(&mut self, label: &str, value: impl Display) {
        let label = format!("{label}:");
        let _ = writeln!(self.out.stdout, "{label:VALUE_COLUMN$}{value}");
    }

    fn some(&mut self, label: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(label, value);
        }
    }

    fn setting(&mut self, name: &str, value: Option<impl Display>) {
        let current = if self.major <= Major::V9_4 { "Current " } else { "" };
        self.some(&format!("{current}{name} setting"), value);
    }

    fn lsn(&mut self, label: &str, lsn: Option<Lsn>) {
        let padded = |lsn: Lsn| format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 as u32);
        self.some(label, lsn.map(|lsn| if self.major >= Major::V19 { padded(lsn) } else { lsn.to_string() }));
    }

    fn time(&mut self, label: &str, seconds: i64) {
        let time = c_time(seconds, self.zone);
        self.line(label, time.as_deref().unwrap_or("???"));
    }
}

const fn looks_swapped(version: u32) -> bool {
    version.is_multiple_of(1 << 16) && version >> 16 != 0
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

const fn passing(by_value: bool) -> &'static str {
    if by_value { "by value" } else { "by reference" }
}

/// Bytes as two digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The control file as a JSON object, members named as the fields of [`ControlFile`]; those that the major does not
/// have are left out. LSNs are `X/X`, the system identifier and the next full transaction identifier decimal strings,
/// times RFC 3339 in UTC, or the seconds since 1970 as stored where they lie outside of years 0 to 9999.
pub fn json(control: &ControlFile) -> Value {
    let c = control;
    let mut object = Object::default();
    object.put("major", c.major.name());
    object.put("pg_control_version", c.pg_control_version);
    object.put("catalog_version", c.catalog_version);
    object.put("system_identifier", c.system_identifier.to_string());
    object.put("state", c.state.text());
    object.put("time", json_time(c.time));
    object.put("checkpoint", json!(c.checkpoint));
    object.some("prev_checkpoint", c.prev_checkpoint.map(|lsn| json!(lsn)));
    object.put("checkpoint_copy", json_checkpoint(&c.checkpoint_copy));
    object.some("unlogged_lsn", c.unlogged_lsn.map(|lsn| json!(lsn)));
    object.put("min_recovery_point", json!(c.min_recovery_point));
    object.some("min_recovery_point_tli", c.min_recovery_point_tli);
    object.put("backup_start_point", json!(c.backup_start_point));
    object.some("backup_end_point", c.backup_end_point.map(|lsn| json!(lsn)));
    object.some("backup_end_required", c.backup_end_required);
    object.put(
        "wal_level",
        wal_level_name(c.major, c.wal_level).map_or_else(|| json!(c.wal_level), Value::from),
    );
    object.some("wal_log_hints", c.wal_log_hints);
    object.put("max_connections", c.max_connections);
    object.some("max_worker_processes", c.max_worker_processes);
    object.some("max_wal_senders", c.max_wal_senders);
    object.put("max_prepared_xacts", c.max_prepared_xacts);
    object.put("max_locks_per_xact", c.max_locks_per_xact);
    object.some("track_commit_timestamp", c.track_commit_timestamp);
    object.put("max_align", c.max_align);
    object.put("float_format", c.float_format);
    object.put("block_size", c.block_size);
    object.put("relation_segment_size", c.relation_segment_size);
    object.some("slru_pages_per_segment", c.slru_pages_per_segment);
    object.put("wal_block_size", c.wal_block_size);
    object.put("wal_segment_size", c.wal_segment_size);
    object.put("name_data_len", c.name_data_len);
    object.put("index_max_keys", c.index_max_keys);
    object.put("toast_max_chunk_size", c.toast_max_chunk_size);
    object.some("large_object_chunk_size", c.large_object_chunk_size);
    object.some("integer_datetimes", c.integer_datetimes);
    object.some("float4_by_value", c.float4_by_value);
    object.put("float8_by_value", c.float8_by_value);
    object.some("data_checksum_version", c.data_checksum_version);
    object.some("data_checksum_version_init", c.data_checksum_version_init);
    object.some("default_char_signed", c.default_char_signed);
    object.some("mock_authentication_nonce", c.mock_authentication_nonce.map(|nonce| hex(&nonce)));
    object.put("crc", format!("{:08X}", c.crc));
    object.put("crc_ok", c.crc_ok);
    object.0.into()
}

fn json_checkpoint(c: &CheckpointCopy) -> Value {
    let mut object = Object::default();
    object.put("redo", json!(c.redo));
    object.put("timeline", c.timeline);
    object.some("prev_timeline", c.prev_timeline);
    object.some("full_page_writes", c.full_page_writes);
    object.some("wal_level", c.wal_level);
    object.some("logical_decoding", c.logical_decoding);
    object.put("next_xid_epoch", c.next_xid_epoch);
    object.put("next_xid", c.next_xid);
    object.put("next_full_xid", c.full_next_xid().to_string());
    object.put("next_oid", c.next_oid);
    object.put("next_multi", c.next_multi);
    object.put("next_multi_offset", c.next_multi_offset);
    object.put("oldest_xid", c.oldest_xid);
    object.put("oldest_xid_db", c.oldest_xid_db);
    object.some("oldest_multi", c.oldest_multi);
    object.some("oldest_multi_db", c.oldest_multi_db);
    object.put("time", json_time(c.time));
    object.some("oldest_commit_ts_xid", c.oldest_commit_ts_xid);
    object.some("newest_commit_ts_xid", c.newest_commit_ts_xid);
    object.put("oldest_active_xid", c.oldest_active_xid);
    object.0.into()
}

fn json_time(seconds: i64) -> Value {
    let in_range = Timestamp::from_second(seconds).ok().map(|time| time.to_string());
    // jiff writes years before 0 with six digits and a sign
    in_range.filter(|text| !text.starts_with('-')).map_or_else(|| seconds.into(), Value::from)
}

#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/testdata/control/{name}/pg_control", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn json_of_19() {
        let mut control = ControlFile::parse(&sample("19")).unwrap();
        let value = json(&control);
        assert_eq!(value["system_identifier"], control.system_identifier.to_string());
        assert_eq!(value["checkpoint"], control.checkpoint.to_string());
        assert_eq!(value["checkpoint_copy"]["redo"], control.checkpoint_copy.redo.to_string());
        assert_eq!(value["state"], "shut down");
        assert_eq!(value["wal_level"], "replica");
        assert_eq!(value["crc_ok"], true);
        assert!(value["time"].as_str().unwrap().ends_with('Z'), "{value}");
        assert_eq!(value.get("prev_checkpoint"), None);
        control.checkpoint_copy.next_xid_epoch = u32::MAX;
        control.checkpoint_copy.next_xid = u32::MAX;
        control.time = 1 << 60;
        control.wal_level = 9;
        let value = json(&control);
        assert_eq!(value["checkpoint_copy"]["next_full_xid"], u64::MAX.to_string());
        assert_eq!(value["time"], 1u64 << 60);
        assert_eq!(value["wal_level"], 9);
        control.time = -99_999_999_999;
        assert_eq!(json(&control)["time"], -99_999_999_999i64);
    }

    #[test]
    fn warnings_of_majors_that_may_not_be_installed() {
        let order = format!("WARNING: {BYTE_ORDER}");
        let crc = "WARNING: Calculated CRC";
        for (name, major) in [
            ("9.0", Major::V9_0),
            ("9.4", Major::V9_4),
            ("9.5-source", Major::V9_5),
            ("9.6-source", Major::V9_6),
            ("9.6-source", Major::V10),
            ("13", Major::V11),
            ("13", Major::V12),
            ("13", Major::V14),
        ] {
            let mut bytes = sample(name);
            bytes[8..12].reverse();
            let out = text(&bytes, major, &TimeZone::UTC).unwrap();
            assert_eq!(out.stdout.contains(&order), major < Major::V12, "{major}");
            assert_eq!(out.stderr.contains(BYTE_ORDER), major >= Major::V12, "{major}");
            assert!(out.stdout.contains(crc), "{major}");
            let place = |what: &str| out.stdout.find(what);
            if major < Major::V9_6 {
                assert!(
                    place("pg_control version") < place(&order) && place(&order) < place("Catalog version")
                );
            } else if major < Major::V12 {
                assert_eq!(place(crc) < place(&order), major == Major::V9_6, "{major}");
                assert!(place(&order) < place("pg_control version"));
            }
        }
        let mut bytes = sample("9.6-target");
        bytes[228..232].copy_from_slice(&[1, 2, 3, 4]);
        let out = text(&bytes, Major::V9_6, &TimeZone::UTC).unwrap();
        assert!(!out.stdout.contains("WAL segment size") && out.stdout.contains("file:    000000010000"));
    }
}

//! Writes seeds for the targets from data directories: `seed CORPUS FILE...`; each file goes where its name says.

// for the coverage callbacks that the flags ask for
use libfuzzer_sys as _;
use std::fs;
use std::path::Path;

use forkpoint::pg::{Lsn, Major, SegmentSize};
use forkpoint::wal::framer::{Flow, Framer, Sink};
use forkpoint::wal::record::Record;
use forkpoint::wal::{Format, PAGE_SIZE};
use forkpoint_fuzz::MAJORS;

fn write(corpus: &Path, target: &str, name: &str, content: &[u8]) {
    let dir = corpus.join(target);
    fs::create_dir_all(&dir).expect("corpus");
    fs::write(dir.join(name), content).expect("corpus");
}

/// Some of the first records of every kind.
struct Records {
    seen: std::collections::HashMap<(u8, u8), u32>,
    choice: u8,
    inputs: Vec<Vec<u8>>,
}

impl Sink for Records {
    fn wants_whole(&self, _: u8, _: u8) -> bool {
        true
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        let count = self.seen.entry((record.rmid, record.info & 0xF0)).or_default();
        *count += 1;
        let body = &record.bytes[24..];
        if *count <= 6 && body.len() < 12_000 {
            let mut input = vec![self.choice, 0, record.rmid, record.info];
            input.extend_from_slice(&(record.xid as u16).to_le_bytes());
            input.extend_from_slice(&(body.len() as u16).to_le_bytes());
            input.extend_from_slice(body);
            self.inputs.push(input);
        }
        true
    }
}

fn wal(corpus: &Path, name: &str, bytes: &[u8]) {
    let word =
        |at: usize| bytes.get(at..at + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
    let Some(major) = Major::from_wal_magic(word(0) as u16).filter(|m| *m >= Major::V9_5) else { return };
    let Some(size) = SegmentSize::new(word(32) as u32) else { return };
    let choice = MAJORS.iter().position(|m| *m == major).unwrap_or(0) as u8;
    let mut raw = vec![choice, 0];
    raw.extend_from_slice(&bytes[..bytes.len().min(3 * PAGE_SIZE)]);
    write(corpus, "framer", name, &raw);
    write(corpus, "wal_page", name, &[&[choice, 0][..], &bytes[..64]].concat());
    let format = Format { major, system_identifier: word(24), segment_size: size };
    let mut framer = Framer::resync(format, Lsn::MAX);
    let mut sink = Records { seen: Default::default(), choice, inputs: Vec::new() };
    for (n, page) in bytes.as_chunks::<PAGE_SIZE>().0.iter().enumerate() {
        match framer.page(Lsn(word(8) + (n * PAGE_SIZE) as u64), page, &mut sink) {
            Ok(Flow::More) => {}
            _ => break,
        }
    }
    for (n, input) in sink.inputs.iter().enumerate() {
        write(corpus, "records", &format!("{name}-{n}"), input);
        // what `records` has before the body: major, place, resource manager, info, transaction, length
        if let [choice, _, rmid, info, _, _, _, _, body @ ..] = &input[..] {
            write(corpus, "describe", &format!("{name}-{n}"), &[&[*choice, *rmid, *info][..], body].concat());
        }
        // transactions: main data is what follows the two bytes of its header
        if input[2] == 1 && input.len() > 10 && input[8] == 255 {
            write(corpus, "xact", &format!("{name}-{n}"), &[&[choice, input[3]][..], &input[10..]].concat());
        }
    }
}

/// Recorded values: OID and bytes of each.
fn values(corpus: &Path, file: &str, lines: &[u8]) {
    let choice = MAJORS.iter().position(|m| file == format!("{m}.tsv")).unwrap_or(0) as u8;
    for (n, line) in String::from_utf8_lossy(lines).lines().enumerate() {
        let mut fields = line.split('\t');
        let (Some(Ok(oid)), Some(hex)) = (fields.next().map(str::parse::<u16>), fields.next()) else {
            continue;
        };
        let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).unwrap_or(0);
        let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect();
        write(
            corpus,
            "text",
            &format!("{choice}-{n}"),
            &[&[choice][..], &oid.to_le_bytes(), &bytes].concat(),
        );
    }
}

fn main() {
    let mut args = std::env::args_os().skip(1);
    let corpus = args.next().expect("seed CORPUS FILE...");
    let corpus = Path::new(&corpus);
    for (n, path) in args.enumerate() {
        let path = Path::new(&path);
        let Ok(bytes) = fs::read(path) else { continue };
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{n}-{file}");
        let prefixed = |prefix: &[u8]| [prefix, &bytes[..]].concat();
        match file.as_str() {
            "pg_control" => write(corpus, "control", &name, &bytes[..bytes.len().min(600)]),
            "pg_filenode.map" => write(corpus, "relmap", &name, &bytes),
            "state" => write(corpus, "slots", &name, &bytes),
            "backup_label" | "tablespace_map" | "postmaster.pid" => {
                write(corpus, "backup_label", &name, &bytes)
            }
            "1259" | "1262" | "2615" | "1213" if bytes.len() >= 8192 => {
                write(corpus, "page", &name, &prefixed(&[10, 1, 4])[..8195]);
                let columns = [3, 0, 7 << 2 | 2, 7 << 2 | 2, 2 << 2 | 2];
                write(corpus, "columns", &name, &[&columns[..], &bytes[8192 - 240..8192]].concat());
                write(corpus, "tuple", &name, &[&[10][..], &bytes[8192 - 240..8192]].concat());
            }
            _ if file.ends_with(".tsv") => values(corpus, &file, &bytes),
            _ if file.ends_with(".conf") => write(corpus, "settings", &name, &bytes[..bytes.len().min(4000)]),
            _ if file.ends_with(".history") => write(corpus, "history", &name, &prefixed(&[255])),
            _ if bytes.len() >= PAGE_SIZE && matches!(bytes.get(1), Some(0xD0 | 0xD1)) => {
                wal(corpus, &name, &bytes)
            }
            _ => {
                if forkpoint::source::compress::Format::detect(&bytes).is_some() {
                    write(corpus, "compressed", &name, &bytes[..bytes.len().min(20_000)]);
                }
            }
        }
        if file.len() >= 24 || file.ends_with(".history") {
            write(corpus, "names", &file, file.as_bytes());
        }
    }
    for (n, line) in [
        "FATAL:  requested timeline 2 is not a child of this server's history",
        "LOG:  new timeline 2 forked off current database system timeline 1 before current recovery point 0/3000060",
        "FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment 000000010000000000000003 has already been removed",
        "pg_rewind: error: could not find common ancestor of the source and target cluster's timelines",
        "2026-11-20 09:22:00.197 UTC [7] FATAL:  highest timeline 1 of the primary is behind recovery timeline 2",
    ]
    .iter()
    .enumerate()
    {
        write(corpus, "log", &n.to_string(), line.as_bytes());
    }
    write(corpus, "restore", "cp", b"cp /archive/%f \"%p\" %% %r");
    write(corpus, "pglz", "runs", &[0, 2, 0b1000, b'a', b'b', b'c', 0x0F, 3, 255]);
    for (n, packed) in [
        &[0x28, 0xB5, 0x2F, 0xFD, 0x24, 1, 9, 0, 0][..],
        &[0x1F, 1, 0, 255, 255],
        &[8, b'a', b'b', b'c', 0x0F, 3, 255],
    ]
    .iter()
    .enumerate()
    {
        for major in [6_u8, 10] {
            write(
                corpus,
                "image",
                &format!("{n}-{major}"),
                &[&[major, n as u8, 100, 0, 0x88, 0x13][..], packed].concat(),
            );
        }
    }
}

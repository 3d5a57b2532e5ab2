//! Compressed files of an archive: recognised by their first bytes, never by their names, and decoded as a stream.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Largest xz dictionary and decoder state that is allocated, KiB: `xz -9` wants 65 MiB.
const XZ_MEMORY_KIB: u32 = 100 << 10;
/// Largest zstd window that is allocated, bytes: what `zstd --long` writes and zstd reads without being asked to.
const ZSTD_WINDOW: u64 = 128 << 20;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// gzip, one or several members.
    Gzip,
    /// Zstandard, one or several frames, skippable ones too.
    Zstd,
    /// LZ4 frames, the legacy format too.
    Lz4,
    /// bzip2, one or several streams.
    Bzip2,
    /// xz, one or several streams.
    Xz,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Gzip, Self::Zstd, Self::Lz4, Self::Bzip2, Self::Xz];

    /// The format that begins with these bytes (6 suffice).
    pub fn detect(head: &[u8]) -> Option<Self> {
        match head {
            [0x1F, 0x8B, 0x08, ..] => Some(Self::Gzip),
            // a frame, or a skippable frame in front of one (pzstd)
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some(Self::Zstd),
            [0x04, 0x22, 0x4D, 0x18, ..] | [0x02, 0x21, 0x4C, 0x18, ..] => Some(Self::Lz4),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ => None,
        }
    }

    /// The program's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }
}

/// What the first bytes of a file that is neither WAL nor compressed look like, for a message.
pub fn describe_unknown(head: &[u8]) -> String {
    let known = match head {
        [b'S', b'a', b'l', b't', b'e', b'd', b'_', b'_', ..] => {
            Some("encrypted by OpenSSL, as pgBackRest does")
        }
        [b'-', b'-', b'-', b'-', b'-', b'B', b'E', b'G', b'I', b'N', b' ', b'P', b'G', b'P', ..]
        | [0x84 | 0x85 | 0xC1 | 0xD2, ..] => Some("encrypted, probably by GnuPG"),
        [b'a', b'g', b'e', b'-', b'e', b'n', b'c', ..] => Some("encrypted by age"),
        [0xFF, 0x06, 0x00, 0x00, b's', b'N', b'a', b'P', ..] => {
            Some("compressed by snappy, which is not read")
        }
        [0x5D, 0x00, 0x00, ..] => Some("compressed by lzma, which is not read"),
        [0x89, b'L', b'Z', b'O', ..] => Some("compressed by lzop, which is not read"),
        [b'P', b'K', 3, 4, ..] => Some("a zip file, which is not read"),
        _ => None,
    };
    let start: Vec<String> = head.iter().take(8).map(|b| format!("{b:02X}")).collect();
    let start = start.join(" ");
    match known {
        Some(known) => format!("{known} (starts with {start})"),
        None => format!("encrypted or of an unknown compression, starts with {start}"),
    }
}

/// A reader of what `inner` (positioned at its start) decodes to. Memory is bounded by the format's window, at most
/// 128 MiB, whatever the file claims.
pub fn decoder<'a, R: BufRead + 'a>(format: Format, inner: R) -> Box<dyn Read + 'a> {
    match format {
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(inner)),
        Format::Zstd => Box::new(ZstdFrames::new(inner)),
        Format::Lz4 => Box::new(Lz4Frames { decoder: lz4_flex::frame::FrameDecoder::new(inner) }),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(inner)),
        Format::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(inner, true, XZ_MEMORY_KIB)),
    }
}

/// How a bounded copy ended.
#[derive(Debug)]
pub enum Copied {
    /// Everything was decoded: so many bytes, at most the limit.
    All(u64),
    /// There is more than the limit; the limit's bytes and one more were written.
    TooMuch,
    /// So many bytes were decoded, then the stream was damaged or cut off.
    Broken(u64, io::Error),
}

/// Decodes `file` from its start into `out`, at most `limit` bytes and one more.
///
/// # Errors
/// Only `out`'s: what is wrong with the input is part of the answer.
pub fn copy(format: Format, file: &File, limit: u64, out: &mut impl Write) -> io::Result<Copied> {
    let mut source = decoder(format, BufReader::with_capacity(64 << 10, file));
    let mut buffer = vec![0; 64 << 10];
    let mut done = 0;
    loop {
        let n = match source.read(&mut buffer) {
            Ok(0) => return Ok(Copied::All(done)),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Ok(Copied::Broken(done, e)),
        };
        let room = usize::try_from(limit + 1 - done).unwrap_or(usize::MAX);
        let take = buffer.get(..n.min(room)).unwrap_or_default();
        out.write_all(take)?;
        done += take.len() as u64;
        if done > limit {
            return Ok(Copied::TooMuch);
        }
    }
}

/// The first `len` bytes that `file` decodes to; fewer if it ends or breaks earlier, then with the reason.
pub fn head(format: Format, file: &File, len: usize) -> (Vec<u8>, Option<io::Error>) {
    let mut source = decoder(format, BufReader::with_capacity(64 << 10, file));
    let mut bytes = vec![0; len];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|r| !r.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                bytes.truncate(done);
                return (bytes, Some(e));
            }
        }
    }
    bytes.truncate(done);
    (bytes, None)
}

/// ruzstd decodes one frame; archives hold several, some of them skippable.
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW);
        Self { source, decoder, in_frame: false }
    }

    /// Starts the next frame; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(io::Error::other(e)),
            }
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if buf.is_empty() || !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let n = self.decoder.read(buf)?;
            if n > 0 || buf.is_empty() {
                return Ok(n);
            }
            self.in_frame = false;
            let stored = self.decoder.get_checksum_from_data();
            if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "wrong zstd content checksum"));
            }
        }
    }
}

/// lz4_flex answers 0 at the end of each frame, and when a file is cut off between blocks' headers.
struct Lz4Frames<R: Read> {
    decoder: lz4_flex::frame::FrameDecoder<R>,
}

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.decoder.read(buf)?;
            if n > 0 || buf.is_empty() || self.decoder.get_mut().fill_buf()?.is_empty() {
                return Ok(n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file
    }

    /// What the real program makes of `bytes`; `None` where it is not installed.
    pub fn by_program(program: &str, args: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
        let child = Command::new(program)
            .args(args)
            .stdin(file_of(bytes))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let out = child.wait_with_output().ok()?;
        out.status.success().then_some(out.stdout)
    }

    fn sample() -> Vec<u8> {
        (0..3_000_000_u32).map(|i| ((i / 97) ^ (i.wrapping_mul(2_654_435_761) >> 29)) as u8).collect()
    }

    #[test]
    fn real_programs_output_is_read_also_in_pieces() {
        let sample = sample();
        let mut ran = 0;
        for (program, args, format) in [
            ("gzip", &["-c"][..], Format::Gzip),
            ("zstd", &["-c", "-q"], Format::Zstd),
            ("zstd", &["-c", "-q", "--ultra", "-22", "--long=27"], Format::Zstd),
            ("lz4", &["-c", "-q"], Format::Lz4),
            ("lz4", &["-c", "-q", "-l"], Format::Lz4),
            ("lz4", &["-c", "-q", "-9", "-BD", "-BX"], Format::Lz4),
            ("bzip2", &["-c"], Format::Bzip2),
            ("xz", &["-c", "-9"], Format::Xz),
        ] {
            let Some(mut packed) = by_program(program, args, &sample) else {
                eprintln!("{program} {args:?} did not run");
                continue;
            };
            ran += 1;
            assert_eq!(Format::detect(&packed), Some(format), "{program}");
            let mut out = Vec::new();
            let copied = copy(format, &file_of(&packed), sample.len() as u64, &mut out).unwrap();
            assert!(
                matches!(copied, Copied::All(n) if n == sample.len() as u64),
                "{program} {args:?}: {copied:?}"
            );
            assert!(out == sample, "{program} {args:?}");

            // too much: one byte more than asked for, no further
            let mut out = Vec::new();
            let copied = copy(format, &file_of(&packed), 70_000, &mut out).unwrap();
            assert!(matches!(copied, Copied::TooMuch), "{program}: {copied:?}");
            assert_eq!(out.len(), 70_001);
            assert_eq!(head(format, &file_of(&packed), 8192).0, sample[..8192]);

            // cut off: what came before the cut, and an error
            let cut = file_of(&packed[..packed.len() / 2]);
            let mut out = Vec::new();
            let copied = copy(format, &cut, sample.len() as u64, &mut out).unwrap();
            match copied {
                Copied::Broken(n, _) | Copied::All(n) => assert!(n < sample.len() as u64, "{program} {n}"),
                Copied::TooMuch => panic!("{program}"),
            }
            assert!(sample.starts_with(&out), "{program}");

            // two pieces in one file
            if !args.contains(&"-l") {
                let again = packed.clone();
                packed.extend_from_slice(&again);
                let mut out = Vec::new();
                let copied = copy(format, &file_of(&packed), 2 * sample.len() as u64, &mut out).unwrap();
                let wanted = 2 * sample.len() as u64;
                assert!(matches!(copied, Copied::All(n) if n == wanted), "{program} {args:?}: {copied:?}");
            }
        }
        assert!(ran > 0, "no compressor at all");
    }

    #[test]
    fn skippable_frames_are_skipped() {
        let Some(packed) = by_program("zstd", &["-c", "-q"], b"hello") else { return };
        let mut bytes = vec![0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 9, 9, 9];
        bytes.extend(packed);
        assert_eq!(Format::detect(&bytes), Some(Format::Zstd));
        let mut out = Vec::new();
        copy(Format::Zstd, &file_of(&bytes), 100, &mut out).unwrap();
        assert_eq!(out, b"hello");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn junk_never_panics(mut junk in proptest::collection::vec(any::<u8>(), 0..400), keep in 0..40_usize) {
            let seeds: [&[u8]; 5] = [
                &[0x1F, 0x8B, 0x08, 0, 0, 0, 0, 0, 0, 3],
                &[0x28, 0xB5, 0x2F, 0xFD, 0x24],
                &[0x04, 0x22, 0x4D, 0x18, 0x64, 0x40, 0xA7],
                b"BZh91AY&SY",
                &[0xFD, b'7', b'z', b'X', b'Z', 0, 0, 4, 0xE6, 0xD6, 0xB4, 0x46],
            ];
            for (seed, format) in seeds.into_iter().zip(Format::ALL) {
                let n = keep.min(seed.len()).min(junk.len());
                junk[..n].copy_from_slice(&seed[..n]);
                let _ = copy(format, &file_of(&junk), 1 << 20, &mut io::sink());
            }
            let _ = (Format::detect(&junk), describe_unknown(&junk));
        }

        #[test]
        fn a_flipped_byte_never_panics(at in 0..100_000_usize, with in any::<u8>()) {
            static PACKED: std::sync::OnceLock<Vec<(Format, Vec<u8>)>> = std::sync::OnceLock::new();
            let packed = PACKED.get_or_init(|| {
                let sample = &sample()[..200_000];
                [("gzip", Format::Gzip), ("zstd", Format::Zstd), ("lz4", Format::Lz4), ("bzip2", Format::Bzip2),
                    ("xz", Format::Xz)].into_iter()
                    .filter_map(|(p, f)| Some((f, by_program(p, &["-c", "-q"], sample).or_else(|| by_program(p, &["-c"], sample))?)))
                    .collect()
            });
            for (format, bytes) in packed {
                let mut bytes = bytes.clone();
                let at = at % bytes.len();
                bytes[at] ^= with;
                let _ = copy(*format, &file_of(&bytes), 200_000, &mut io::sink());
            }
        }
    }
}

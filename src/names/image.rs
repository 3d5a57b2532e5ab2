//! Full-page images (`RestoreBlockImage`, xlogreader.c).

use crate::pg::page::PageBytes;
use crate::pg::{BLOCK_SIZE, pglz};
use crate::wal::record::{Compression, Image};

use super::redo::RedoError;

/// The page in an image.
///
/// # Errors
/// It is damaged or unpacks to another size than it says.
pub fn restore(image: &Image<'_>) -> Result<Box<PageBytes>, RedoError> {
    let mut page = Box::new([0; BLOCK_SIZE]);
    let size = BLOCK_SIZE.checked_sub(usize::from(image.hole_length)).ok_or(RedoError::Image)?;
    let mut packed = [0; BLOCK_SIZE];
    let out = packed.get_mut(..size).ok_or(RedoError::Image)?;
    let content = match image.compression {
        Compression::None => image.bytes,
        Compression::Pglz => {
            pglz::decompress(image.bytes, out)?;
            out
        }
        Compression::Lz4 => {
            let written = lz4_flex::block::decompress_into(image.bytes, out);
            written.ok().filter(|n| *n == size).ok_or(RedoError::Image)?;
            out
        }
        Compression::Zstd => {
            let mut decoder = ruzstd::decoding::FrameDecoder::new();
            decoder.set_max_window_size(1 << 20);
            decoder.decode_all(image.bytes, out).ok().filter(|n| *n == size).ok_or(RedoError::Image)?;
            out
        }
    };
    if content.len() != size {
        return Err(RedoError::Image);
    }
    let (front, back) = content.split_at_checked(usize::from(image.hole_offset)).ok_or(RedoError::Image)?;
    let back_at = front.len() + usize::from(image.hole_length);
    page.get_mut(..front.len()).ok_or(RedoError::Image)?.copy_from_slice(front);
    page.get_mut(back_at..).ok_or(RedoError::Image)?.copy_from_slice(back);
    Ok(page)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: [u8; BLOCK_SIZE] = {
        let mut page = [0; BLOCK_SIZE];
        page[0] = 1;
        page[99] = 2;
        page[5100] = 3;
        page[BLOCK_SIZE - 1] = 4;
        page
    };

    fn without_hole() -> Vec<u8> {
        [&PAGE[..100], &PAGE[5100..]].concat()
    }

    fn image(compression: Compression, bytes: &[u8]) -> Image<'_> {
        Image { hole_offset: 100, hole_length: 5000, apply: true, compression, bytes }
    }

    #[test]
    fn the_hole_is_filled() {
        let plain = without_hole();
        assert_eq!(*restore(&image(Compression::None, &plain)).unwrap(), PAGE);
        let lz4 = lz4_flex::block::compress(&plain);
        assert_eq!(*restore(&image(Compression::Lz4, &lz4)).unwrap(), PAGE);
        let zstd = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
        assert_eq!(*restore(&image(Compression::Zstd, &zstd)).unwrap(), PAGE);
    }

    #[test]
    fn another_size_is_refused() {
        let longer = [without_hole(), vec![0]].concat();
        let shorter = &without_hole()[1..];
        for plain in [&longer[..], shorter] {
            assert!(restore(&image(Compression::None, plain)).is_err());
            assert!(restore(&image(Compression::Lz4, &lz4_flex::block::compress(plain))).is_err());
            let zstd = ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest);
            assert!(restore(&image(Compression::Zstd, &zstd)).is_err());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_images_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300), hole_offset in any::<u16>(), hole_length in any::<u16>(),
            zstd_magic in any::<bool>(),
        ) {
            let bytes = if zstd_magic { [&[0x28, 0xB5, 0x2F, 0xFD], &bytes[..]].concat() } else { bytes };
            for compression in [Compression::None, Compression::Pglz, Compression::Lz4, Compression::Zstd] {
                let image = Image { hole_offset, hole_length, apply: true, compression, bytes: &bytes };
                let _ = restore(&image);
            }
        }
    }
}

//! Records of the resource manager Generic (`generic_desc`): main data are pieces of a page, each with offset and
//! length.

use super::{Out, Subject};
use crate::pg::bytes::Short;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    out.open("pieces");
    while main.remaining() > 0 {
        out.item();
        let (offset, length) = (main.u16()?, main.u16()?);
        out.text("offset ");
        offset.number(out, "offset");
        out.text(", length ");
        length.number(out, "length");
        main.skip(usize::from(length.value))?;
        if main.remaining() > 0 {
            out.text("; ");
        }
    }
    out.close();
    Ok(())
}

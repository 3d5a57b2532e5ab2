//! Records of the resource manager Sequence (`seq_desc`; `xl_seq_rec`).

use super::{Out, Subject};
use crate::pg::bytes::Short;

const LOG: u8 = 0x00;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    if s.info() == LOG {
        out.text("rel ");
        s.main().rel()?.rel(out, "rel");
    }
    Ok(())
}

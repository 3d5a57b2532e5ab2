//! Records of the resource manager LogicalMessage (`logicalmsg_desc`; `xl_logical_message`).

use super::{Out, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;

const MESSAGE: u8 = 0x00;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    if s.info() != MESSAGE {
        return Ok(());
    }
    let mut main = s.main();
    main.skip(4)?; // the database
    let transactional = main.u8()?;
    main.align(8)?;
    let (prefix_size, size) = (main.u64()?, main.u64()?);
    let with_payload = s.major >= Major::V14;
    let other = if with_payload { "non-transactional" } else { "nontransactional" };
    let value = Value::Bool(transactional.value != 0, "transactional", other);
    out.field("transactional", value, transactional.at);
    if !with_payload {
        out.text(" message size ");
        size.number(out, "size");
        out.text(" bytes");
        return Ok(());
    }
    let prefix = main.bytes(usize::try_from(prefix_size.value).unwrap_or(usize::MAX))?;
    // it ends with a zero
    let text = prefix.value.split(|&b| b == 0).next().unwrap_or_default();
    out.text(", prefix \"");
    out.field("prefix", Value::Bytes(text), prefix.at);
    out.text("\"; payload (");
    size.number(out, "size");
    out.text(" bytes): ");
    let payload = main.bytes(usize::try_from(size.value).unwrap_or(usize::MAX))?;
    out.field("payload", Value::HexBytes(payload.value), payload.at);
    Ok(())
}

//! Geometric types (geo_ops.c).

use super::{Written, float};
use crate::pg::Major;
use crate::pg::bytes::{Bytes, Short};

fn pair(out: &mut String, data: &mut Bytes<'_>, major: Major) -> Written {
    float::float8(out, f64(data)?, major)?;
    out.push(',');
    float::float8(out, f64(data)?, major)
}

fn f64(data: &mut Bytes<'_>) -> Result<f64, Short> {
    data.u64().map(f64::from_bits)
}

fn points(out: &mut String, data: &mut Bytes<'_>, count: usize, major: Major) -> Written {
    for n in 0..count {
        out.push_str(if n == 0 { "(" } else { ",(" });
        pair(out, data, major)?;
        out.push(')');
    }
    Ok(())
}

fn count(data: &mut Bytes<'_>) -> Result<usize, super::Wrong> {
    usize::try_from(data.i32()?).map_err(|_| "a negative number of points".into())
}

pub(super) fn point(out: &mut String, bytes: &[u8], major: Major) -> Written {
    points(out, &mut Bytes::new(bytes), 1, major)
}

pub(super) fn lseg(out: &mut String, bytes: &[u8], major: Major) -> Written {
    out.push('[');
    points(out, &mut Bytes::new(bytes), 2, major)?;
    out.push(']');
    Ok(())
}

/// A box.
pub(super) fn rectangle(out: &mut String, bytes: &[u8], major: Major) -> Written {
    points(out, &mut Bytes::new(bytes), 2, major)
}

/// `PATH`: number of points, whether it is closed, four unused bytes, the points.
pub(super) fn path(out: &mut String, bytes: &[u8], major: Major) -> Written {
    let mut data = Bytes::new(bytes);
    let (count, closed) = (count(&mut data)?, data.i32()? != 0);
    data.skip(4)?;
    out.push(if closed { '(' } else { '[' });
    points(out, &mut data, count, major)?;
    out.push(if closed { ')' } else { ']' });
    Ok(())
}

/// `POLYGON`: number of points, the box around them, the points.
pub(super) fn polygon(out: &mut String, bytes: &[u8], major: Major) -> Written {
    let mut data = Bytes::new(bytes);
    let count = count(&mut data)?;
    data.skip(32)?;
    out.push('(');
    points(out, &mut data, count, major)?;
    out.push(')');
    Ok(())
}

/// The three coefficients of a line.
pub(super) fn line(out: &mut String, bytes: &[u8], major: Major) -> Written {
    let mut data = Bytes::new(bytes);
    out.push('{');
    pair(out, &mut data, major)?;
    out.push(',');
    float::float8(out, f64(&mut data)?, major)?;
    out.push('}');
    Ok(())
}

/// Centre and radius.
pub(super) fn circle(out: &mut String, bytes: &[u8], major: Major) -> Written {
    let mut data = Bytes::new(bytes);
    out.push('<');
    points(out, &mut data, 1, major)?;
    out.push(',');
    float::float8(out, f64(&mut data)?, major)?;
    out.push('>');
    Ok(())
}

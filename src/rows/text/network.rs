//! inet, cidr (network.c, inet_net_ntop.c), macaddr, macaddr8 (mac.c, mac8.c).

use std::fmt::Write as _;

use super::Written;
use crate::pg::bytes::Bytes;

/// `PGSQL_AF_INET`.
const V4: u8 = 2;
/// `PGSQL_AF_INET6`.
const V6: u8 = 3;

/// `network_out`; a cidr always has its number of bits.
pub(super) fn inet(out: &mut String, bytes: &[u8], cidr: bool) -> Written {
    let mut data = Bytes::new(bytes);
    let (family, bits) = (data.u8()?, data.u8()?);
    let all = match family {
        V4 => {
            four(out, data.take(4)?)?;
            32
        }
        V6 => {
            six(out, data.take(16)?)?;
            128
        }
        other => return Err(format!("address family {other}").into()),
    };
    if bits > all {
        return Err(format!("{bits} bits of an address of {all}").into());
    }
    if cidr || bits != all {
        write!(out, "/{bits}")?;
    }
    Ok(())
}

fn four(out: &mut String, bytes: &[u8]) -> Written {
    for (n, byte) in bytes.iter().enumerate() {
        write!(out, "{}{byte}", if n == 0 { "" } else { "." })?;
    }
    Ok(())
}

/// The longest run of zeros, the first of equals, becomes `::`; the end of what holds an IPv4 address is written as one.
fn six(out: &mut String, bytes: &[u8]) -> Written {
    let words: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    let zeros = |from: usize| words.iter().skip(from).take_while(|word| **word == 0).count();
    let mut run = 0..0;
    for from in 0..words.len() {
        if zeros(from) >= 2 && zeros(from) > run.len() {
            run = from..from + zeros(from);
        }
    }
    let mapped = words.get(5) == Some(&0xFFFF);
    let holds_v4 = run.start == 0 && (run.len() == 6 || run.len() == 5 && mapped);
    for (n, word) in words.iter().enumerate() {
        if run.contains(&n) {
            if n == run.start {
                out.push(':');
            }
            continue;
        }
        if n > 0 {
            out.push(':');
        }
        if n == 6 && holds_v4 {
            return four(out, bytes.get(12..).unwrap_or_default());
        }
        write!(out, "{word:x}")?;
    }
    if run.end == words.len() {
        out.push(':');
    }
    Ok(())
}

/// `macaddr_out`, `macaddr8_out`.
pub(super) fn macaddr(out: &mut String, bytes: &[u8]) -> Written {
    for (n, byte) in bytes.iter().enumerate() {
        write!(out, "{}{byte:02x}", if n == 0 { "" } else { ":" })?;
    }
    Ok(())
}

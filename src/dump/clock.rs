//! Times as pg_waldump prints them: `timestamptz_to_str` of its compat.c, in the caller's zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::pg::TimestampTz;

/// Seconds from 1970-01-01 to 2000-01-01, where PostgreSQL's timestamps begin.
const PG_EPOCH: i64 = 946_684_800;
const MICROSECONDS: i64 = 1_000_000;

/// Prints times; keeps the last second's text, as the transactions of a busy server end thousands to a second.
#[derive(Debug, Clone)]
pub struct Clock {
    zone: TimeZone,
    second: Option<i64>,
    front: Vec<u8>,
    back: Vec<u8>,
}

impl Clock {
    /// A clock of this zone.
    pub const fn new(zone: TimeZone) -> Self {
        Self { zone, second: None, front: Vec::new(), back: Vec::new() }
    }

    /// Appends `2026-11-20 11:41:03.000123 UTC`.
    #[inline]
    pub fn print(&mut self, out: &mut Vec<u8>, time: TimestampTz) {
        // C's division: a time before 2000 is cut towards it, and its fraction is negative
        let (second, fraction) = (time / MICROSECONDS, time % MICROSECONDS);
        if self.second != Some(second) {
            self.turn(second);
        }
        out.extend_from_slice(&self.front);
        let width = if fraction < 0 { 5 } else { 6 };
        if fraction < 0 {
            out.push(b'-');
        }
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(fraction.unsigned_abs()).as_bytes();
        out.extend_from_slice(b"000000".get(..width - digits.len().min(width)).unwrap_or_default());
        out.extend_from_slice(digits);
        out.extend_from_slice(&self.back);
    }

    #[cold]
    fn turn(&mut self, second: i64) {
        self.second = Some(second);
        let stamp = Timestamp::from_second(second.saturating_add(PG_EPOCH)).unwrap_or({
            // years that jiff does not have
            if second < 0 { Timestamp::MIN } else { Timestamp::MAX }
        });
        let zoned = stamp.to_zoned(self.zone.clone());
        self.front = zoned.strftime("%Y-%m-%d %H:%M:%S.").to_string().into_bytes();
        self.back = zoned.strftime(" %Z").to_string().into_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_pg_waldump() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut clock = Clock::new(berlin);
        let mut print = |time| {
            let mut out = Vec::new();
            clock.print(&mut out, time);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(print(0), "2000-01-01 01:00:00.000000 CET");
        assert_eq!(print(7), "2000-01-01 01:00:00.000007 CET");
        assert_eq!(print(848_490_063_000_123), "2026-11-20 12:41:03.000123 CET");
        assert_eq!(print(836_000_000_999_999), "2026-06-29 00:13:20.999999 CEST");
        // its fraction is negative there, and so it prints one
        assert_eq!(print(-1), "2000-01-01 01:00:00.-00001 CET");
    }
}

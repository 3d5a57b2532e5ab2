//! Dates and times with DateStyle = ISO and IntervalStyle = postgres (datetime.c, timestamp.c, date.c).

use std::fmt::Write as _;
use std::ops::{Range, RangeInclusive};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Written;
use crate::pg::Major;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MONTHS_PER_YEAR: i32 = 12;

/// Seconds from 1970 to 2000, PostgreSQL's epoch.
const EPOCH: i64 = 946_684_800;
/// Days from 0000-03-01 to 2000-01-01 (Gregorian throughout).
const DAYS_BEFORE_EPOCH: i64 = 730_425;
const DAYS_PER_400_YEARS: i64 = 146_097;
/// The Gregorian calendar, and so a time zone's rules, repeat after this many seconds.
const CYCLE: i64 = DAYS_PER_400_YEARS * 86_400;

/// Days since 2000-01-01 of the first (4714-11-24 BC) and last (5874897-12-31) date (`IS_VALID_DATE`).
const DATES: RangeInclusive<i32> = -2_451_545..=2_145_031_948;
/// Microseconds since 2000-01-01 that are a timestamp (`IS_VALID_TIMESTAMP`): to the end of the year 294276.
const TIMESTAMPS: Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
/// Zones of timetz are less than 16 hours away from Greenwich (`MAX_TZDISP_HOUR`), in seconds.
const ZONES: Range<i32> = -16 * 3600 + 1..16 * 3600;

/// Year (0 is 1 BC), month, day of a number of days since 2000-01-01.
const fn civil(days: i64) -> (i64, i64, i64) {
    // years begin in March here, so that the leap day is the last
    let days = days + DAYS_BEFORE_EPOCH;
    let (cycle, day) = (days.div_euclid(DAYS_PER_400_YEARS), days.rem_euclid(DAYS_PER_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let january = (month >= 10) as i64;
    (cycle * 400 + year + january, month + 3 - 12 * january, day)
}

/// A day without its era; true before Christ.
fn day(out: &mut String, days: i64) -> Result<bool, std::fmt::Error> {
    let (year, month, day) = civil(days);
    let before = year <= 0;
    write!(out, "{:04}-{month:02}-{day:02}", if before { 1 - year } else { year })?;
    Ok(before)
}

/// `date_out`.
pub(super) fn date(out: &mut String, days: i32) -> Written {
    match days {
        i32::MAX => out.push_str("infinity"),
        i32::MIN => out.push_str("-infinity"),
        _ if !DATES.contains(&days) => return Err("outside of all dates".into()),
        _ => {
            if day(out, days.into())? {
                out.push_str(" BC");
            }
        }
    }
    Ok(())
}

/// Hours, minutes, seconds of a number of microseconds that is not negative.
fn clock(out: &mut String, micros: u64) -> Written {
    let (hour, minute) = (micros / HOUR as u64, micros / MINUTE as u64 % 60);
    write!(out, "{hour:02}:{minute:02}:{:02}", micros / SECOND as u64 % 60)?;
    let fraction = micros % SECOND as u64;
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        write!(out, ".{}", digits.trim_end_matches('0'))?;
    }
    Ok(())
}

/// `time_out`; 24:00:00 is a time.
pub(super) fn time(out: &mut String, micros: i64) -> Written {
    let micros = u64::try_from(micros).ok().filter(|micros| *micros <= DAY as u64);
    clock(out, micros.ok_or("not within a day")?)
}

/// `timetz_out`; `west` is in seconds west of Greenwich.
pub(super) fn timetz(out: &mut String, micros: i64, west: i32) -> Written {
    if !ZONES.contains(&west) {
        return Err(format!("a time zone {west} seconds west of Greenwich").into());
    }
    time(out, micros)?;
    offset(out, -i64::from(west))
}

/// `EncodeTimezone`: seconds east of Greenwich.
fn offset(out: &mut String, east: i64) -> Written {
    let (hour, minute, second) = (east.abs() / 3600, east.abs() / 60 % 60, east.abs() % 60);
    write!(out, "{}{hour:02}", if east < 0 { '-' } else { '+' })?;
    if second != 0 {
        write!(out, ":{minute:02}:{second:02}")?;
    } else if minute != 0 {
        write!(out, ":{minute:02}")?;
    }
    Ok(())
}

/// `timestamp_out`, and with a time zone `timestamptz_out`.
pub(super) fn timestamp(out: &mut String, micros: i64, zone: Option<&TimeZone>) -> Written {
    match micros {
        i64::MAX => out.push_str("infinity"),
        i64::MIN => out.push_str("-infinity"),
        _ if !TIMESTAMPS.contains(&micros) => return Err("outside of all timestamps".into()),
        _ => {
            let east = zone.map(|zone| east_of(micros, zone)).transpose()?;
            let local = micros + east.unwrap_or(0) * SECOND;
            let before = day(out, local.div_euclid(DAY))?;
            out.push(' ');
            clock(out, local.rem_euclid(DAY) as u64)?;
            if let Some(east) = east {
                offset(out, east)?;
            }
            if before {
                out.push_str(" BC");
            }
        }
    }
    Ok(())
}

/// The zone's offset at that time, in seconds east of Greenwich; after the last year that jiff knows, that of the same
/// day 400 years earlier, as `pg_localtime` does.
fn east_of(micros: i64, zone: &TimeZone) -> Result<i64, String> {
    let second = micros.div_euclid(SECOND) + EPOCH;
    let beyond = (second - Timestamp::MAX.as_second()).max(0);
    let second = second - CYCLE * beyond.div_euclid(CYCLE).saturating_add(i64::from(beyond > 0));
    let at = Timestamp::from_second(second).map_err(|wrong| wrong.to_string())?;
    Ok(zone.to_offset(at).seconds().into())
}

/// `interval_out`; infinite ones from 17 on.
pub(super) fn interval(out: &mut String, micros: i64, days: i32, months: i32, major: Major) -> Written {
    if major >= Major::V17 {
        match (micros, days, months) {
            (i64::MAX, i32::MAX, i32::MAX) => {
                out.push_str("infinity");
                return Ok(());
            }
            (i64::MIN, i32::MIN, i32::MIN) => {
                out.push_str("-infinity");
                return Ok(());
            }
            _ => {}
        }
    }
    let (mut empty, mut after_negative) = (true, false);
    for (value, unit) in
        [(months / MONTHS_PER_YEAR, "year"), (months % MONTHS_PER_YEAR, "mon"), (days, "day")]
    {
        if value == 0 {
            continue;
        }
        let space = if empty { "" } else { " " };
        let plus = if after_negative && value > 0 { "+" } else { "" };
        write!(out, "{space}{plus}{value} {unit}{}", if value == 1 { "" } else { "s" })?;
        (empty, after_negative) = (false, value < 0);
    }
    if empty || micros != 0 {
        let space = if empty { "" } else { " " };
        let sign = match micros {
            ..0 => "-",
            _ if after_negative => "+",
            _ => "",
        };
        out.push_str(space);
        out.push_str(sign);
        clock(out, micros.unsigned_abs())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(write: impl FnOnce(&mut String) -> Written) -> String {
        let mut out = String::new();
        assert!(write(&mut out).is_ok());
        out
    }

    #[test]
    fn days_of_every_era() {
        for (days, text) in [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (-1, "1999-12-31"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (-2_451_545, "4714-11-24 BC"),
            (2_145_031_948, "5874897-12-31"),
        ] {
            assert_eq!(printed(|out| date(out, days)), text);
        }
    }

    #[test]
    fn beyond_what_jiff_knows() {
        let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
        // 294276-07-01 00:00 UTC
        let late = 9_223_355_606_400_000_000;
        let text = printed(|out| timestamp(out, late, Some(&zone)));
        assert!(text.starts_with("294276-") && text.contains('+'), "{text}");
    }
}

//! The caller's time zone as the C library takes it from the environment, and its `strftime("%c")`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

const LOCALTIME: &str = "/etc/localtime";
const ZONEINFO: &str = "/usr/share/zoneinfo";
/// The rule of a zone that names a summer time and no rule, `EST5EDT`.
const DEFAULT_RULE: &str = ",M3.2.0,M11.1.0";
/// Longest compiled zone that is read, in bytes; real ones have a few thousand.
const ZONE_LIMIT: u64 = 1 << 20;

const SECONDS_PER_DAY: i64 = 86_400;
/// The Gregorian calendar repeats after 400 years, days of the week too.
const DAYS_PER_400_YEARS: i64 = 146_097;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The zone that the environment variable `TZ` names, `/etc/localtime` where it is not set; UTC where neither makes
/// sense.
pub fn local() -> TimeZone {
    match std::env::var_os("TZ") {
        Some(name) => named(&name, std::env::var_os("TZDIR").as_deref()),
        None => compiled(Path::new(LOCALTIME)).unwrap_or(TimeZone::UTC),
    }
}

/// The zone of a value of `TZ`: a name below `directory` (`TZDIR`; /usr/share/zoneinfo if left out), an absolute path,
/// each with or without a colon before it, or a POSIX rule. UTC where it is none of them.
pub fn named(name: &OsStr, directory: Option<&OsStr>) -> TimeZone {
    let name = name.as_bytes();
    let name = OsStr::from_bytes(name.strip_prefix(b":").unwrap_or(name));
    if name.is_empty() {
        return TimeZone::UTC;
    }
    let directory = PathBuf::from(directory.unwrap_or(OsStr::new(ZONEINFO)));
    let posix = |text: &str| TimeZone::posix(text).ok();
    let rule = |text: &str| posix(text).or_else(|| posix(&format!("{text}{DEFAULT_RULE}")));
    compiled(&directory.join(name)).or_else(|| name.to_str().and_then(rule)).unwrap_or(TimeZone::UTC)
}

fn compiled(path: &Path) -> Option<TimeZone> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > ZONE_LIMIT {
        return None;
    }
    TimeZone::tzif("", &fs::read(path).ok()?).ok()
}

/// `strftime("%c")` of the C locale for a time in seconds since 1970: `Fri Nov 20 06:16:12 2026`. `None` where the C
/// library's `localtime` gives up, beyond a year of 2^31.
pub fn c_time(seconds: i64, zone: &TimeZone) -> Option<String> {
    let local = seconds.checked_add(offset(seconds, zone))?;
    let (days, second) = (local.div_euclid(SECONDS_PER_DAY), local.rem_euclid(SECONDS_PER_DAY));
    let (year, month, day) = civil(days);
    i32::try_from(year - 1900).ok()?;
    // 1970-01-01 was a Thursday.
    let weekday = WEEKDAYS.get(usize::try_from((days + 4).rem_euclid(7)).ok()?)?;
    let month = MONTHS.get(usize::try_from(month - 1).ok()?)?;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}"))
}

/// Seconds east of UTC. Times that jiff does not have are moved into its years by whole calendar cycles.
fn offset(seconds: i64, zone: &TimeZone) -> i64 {
    let last = Timestamp::MAX.as_second();
    let cycle = DAYS_PER_400_YEARS * SECONDS_PER_DAY;
    let within = if seconds > last { last - cycle + (seconds - last) % cycle } else { seconds };
    let timestamp = Timestamp::from_second(within).unwrap_or(Timestamp::MIN);
    zone.to_offset(timestamp).seconds().into()
}

/// Year, month and day of a day counted from 1970-01-01. Years are counted from March within, so that the leap day is
/// the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_TO_MARCH_OF_YEAR_0: i64 = 719_468;
    let days = days + DAYS_TO_MARCH_OF_YEAR_0;
    let (cycle, day) = (days.div_euclid(DAYS_PER_400_YEARS), days.rem_euclid(DAYS_PER_400_YEARS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + i64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(seconds: i64) -> String {
        c_time(seconds, &TimeZone::UTC).unwrap_or_else(|| "???".to_owned())
    }

    /// As pg_controldata printed them.
    #[test]
    fn far_away() {
        assert_eq!(utc(400 * 366 * 86400 * 365), "Sat Oct 19 00:00:00 148272");
        assert_eq!(utc(-60_000_000_000), "Mon Sep  3 13:20:00 68");
        assert_eq!(utc(-160_000_000_000), "Tue Oct 20 03:33:20 -3101");
        assert_eq!(utc(67_767_976_233_532_799), "Tue Dec 31 23:59:59 2147483647");
        for beyond in [67_768_036_191_676_800, 1 << 62, i64::MAX, i64::MIN] {
            assert_eq!(utc(beyond), "???");
        }
    }

    #[test]
    fn values_of_tz() {
        let at = |name: &str| c_time(1_795_164_562, &named(OsStr::new(name), None)).unwrap();
        let clock = |name: &str| at(name)[4..16].to_owned();
        for utc in ["", ":", "UTC", "XX", "Foo/Bar", " ", "/dev/zero", "/", "..", "europe/berlin"] {
            assert_eq!(clock(utc), "Nov 20 08:49", "{utc:?}");
        }
        for berlin in ["CET-1CEST", "CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,J60/2,J300/3"] {
            assert_eq!(clock(berlin), "Nov 20 09:49", "{berlin:?}");
        }
        assert_eq!(clock("<+03>-3"), "Nov 20 11:49");
        assert_eq!(clock("UTC+2:30"), "Nov 20 06:19");
    }

    proptest! {
        #[test]
        fn as_jiff_has_it(seconds in -300_000_000_000..200_000_000_000i64, rule in prop::sample::select(vec![
            "UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "NST3:30NDT,M3.2.0,M11.1.0", "<-1030>10:30",
        ])) {
            let zone = TimeZone::posix(rule).unwrap();
            let zoned = Timestamp::from_second(seconds).unwrap().to_zoned(zone.clone());
            let expected = format!("{} {}", zoned.strftime("%a %b %e %H:%M:%S"), zoned.year());
            prop_assert_eq!(c_time(seconds, &zone), Some(expected));
        }

        #[test]
        fn never_panics(seconds: i64) {
            c_time(seconds, &TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap());
        }
    }
}

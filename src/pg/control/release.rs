//! Which release wrote a control file.

use crate::pg::Major;
use crate::pg::bytes::Bytes;

use super::problem::ControlError;

/// Offset of `pg_control_version` in the file, in every major.
pub(super) const VERSION_OFFSET: usize = 8;
/// Offset of `catalog_version_no` in the file, in every major.
pub(super) const CATALOG_OFFSET: usize = 12;

/// What identifies a release in its control file.
struct Release {
    major: Major,
    control_version: u32,
    catalog_version: u32,
}

const fn release(major: Major, control_version: u32, catalog_version: u32) -> Release {
    Release { major, control_version, catalog_version }
}

/// `PG_CONTROL_VERSION` and the release's `CATALOG_VERSION_NO` of every major, oldest first.
const RELEASES: [Release; 17] = [
    release(Major::V9_0, 903, 201_008_051),
    release(Major::V9_1, 903, 201_105_231),
    release(Major::V9_2, 922, 201_204_301),
    release(Major::V9_3, 937, 201_306_121),
    release(Major::V9_4, 942, 201_409_291),
    release(Major::V9_5, 942, 201_510_051),
    release(Major::V9_6, 960, 201_608_131),
    release(Major::V10, 1002, 201_707_211),
    release(Major::V11, 1100, 201_809_051),
    release(Major::V12, 1201, 201_909_212),
    release(Major::V13, 1300, 202_007_201),
    release(Major::V14, 1300, 202_107_181),
    release(Major::V15, 1300, 202_209_061),
    release(Major::V16, 1300, 202_307_071),
    release(Major::V17, 1700, 202_406_281),
    release(Major::V18, 1800, 202_506_291),
    release(Major::V19, 1905, 202_610_061),
];

/// `PG_CONTROL_VERSION` of a major.
pub fn control_version(major: Major) -> u32 {
    RELEASES.iter().find(|r| r.major == major).map_or(0, |r| r.control_version)
}

/// `CATALOG_VERSION_NO` of a major's releases.
pub fn catalog_version(major: Major) -> u32 {
    RELEASES.iter().find(|r| r.major == major).map_or(0, |r| r.catalog_version)
}

pub(super) fn known_versions() -> String {
    let mut text = String::new();
    let mut last = 0;
    for release in &RELEASES {
        let separator = if release.control_version == last {
            "/".to_owned()
        } else if last == 0 {
            format!("{} (", release.control_version)
        } else {
            format!("), {} (", release.control_version)
        };
        text += &separator;
        text += release.major.name();
        last = release.control_version;
    }
    text + ")"
}

pub(super) fn known_catalogs(version: u32) -> String {
    let of_version = RELEASES.iter().filter(|r| r.control_version == version);
    of_version.map(|r| format!("{} ({})", r.catalog_version, r.major)).collect::<Vec<_>>().join(", ")
}

/// The major whose program wrote the bytes; `hint` is what `PG_VERSION` says.
pub(super) fn identify(bytes: &[u8], hint: Option<Major>) -> Result<Major, ControlError> {
    let cursor = Bytes::new(bytes);
    let version = cursor.u32_at(VERSION_OFFSET)?;
    let catalog = cursor.u32_at(CATALOG_OFFSET)?;
    let of_version = |version: u32| RELEASES.iter().filter(move |r| r.control_version == version);
    if let Some(release) = of_version(version).find(|r| r.catalog_version == catalog) {
        return Ok(release.major);
    }
    let mut candidates = of_version(version);
    match (candidates.next(), candidates.next()) {
        (Some(only), None) => Ok(only.major),
        (Some(_), Some(_)) => hint
            .filter(|hint| of_version(version).any(|r| r.major == *hint))
            .ok_or(ControlError::UnknownCatalog { version, found: catalog }),
        (None, _) => {
            let swapped = version.swap_bytes();
            Err(if of_version(swapped).next().is_some() {
                ControlError::ByteOrder { found: version, swapped }
            } else {
                ControlError::UnknownVersion { found: version }
            })
        }
    }
}

//! What makes the result a standby of the source.

use crate::pg::Major;

use super::derive::PlanError;
use super::model::Standby;
use super::path::RelPath;

/// The files and lines for `conninfo`: from 12 on standby.signal and postgresql.auto.conf, before that recovery.conf.
///
/// # Errors
/// The string cannot stand in a configuration file, or names no connection.
pub fn lines(conninfo: &str, major: Major) -> Result<Standby, PlanError> {
    let impossible = |what: &str| PlanError::Impossible {
        what: format!("--standby: the connection string {what}"),
        advice: "Give one like 'host=db1 port=5432 user=replicator'".into(),
    };
    if conninfo.trim().is_empty() {
        return Err(impossible("is empty"));
    }
    if conninfo.chars().any(char::is_control) {
        return Err(impossible("has a control character"));
    }
    if !(conninfo.contains('=')
        || conninfo.starts_with("postgres://")
        || conninfo.starts_with("postgresql://"))
    {
        return Err(impossible("has no KEY=VALUE and is no URI"));
    }
    // as GUC files have it: quotes and backslashes doubled (`escape_single_quotes_ascii`)
    let quoted = conninfo.replace('\\', "\\\\").replace('\'', "''");
    let file = |name: &str| RelPath::new(name.as_bytes()).map_err(|e| PlanError::Path(e.to_string()));
    if major >= Major::V12 {
        return Ok(Standby {
            file: file("postgresql.auto.conf")?,
            lines: format!("primary_conninfo = '{quoted}'\n"),
            signal: Some(file("standby.signal")?),
        });
    }
    Ok(Standby {
        file: file("recovery.conf")?,
        lines: format!(
            "standby_mode = 'on'\nprimary_conninfo = '{quoted}'\nrecovery_target_timeline = 'latest'\n"
        ),
        signal: None,
    })
}

/// The same for a person to do.
pub fn by_hand(major: Major) -> String {
    if major >= Major::V12 {
        "Make an empty standby.signal in the target, and add to its postgresql.auto.conf: primary_conninfo = \
         'host=SOURCE port=5432 user=REPLICATOR'"
            .into()
    } else {
        "Write a recovery.conf in the target with the lines standby_mode = 'on', primary_conninfo = 'host=SOURCE port=5432 \
         user=REPLICATOR', recovery_target_timeline = 'latest'"
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_majors() {
        let new = lines(r"host=/a\b password='x y'", Major::V17).unwrap();
        assert_eq!(new.lines, "primary_conninfo = 'host=/a\\\\b password=''x y'''\n");
        assert_eq!(new.signal.unwrap().to_string(), "standby.signal");
        let old = lines("host=db1", Major::V11).unwrap();
        assert_eq!((old.file.to_string().as_str(), old.signal), ("recovery.conf", None));
        assert!(old.lines.contains("recovery_target_timeline = 'latest'\n"));
        for bad in ["", "  ", "db1", "host=a\nport=1"] {
            assert!(lines(bad, Major::V17).is_err(), "{bad:?}");
        }
    }
}

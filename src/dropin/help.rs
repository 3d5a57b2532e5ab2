//! What `--help` and `--version` print.

use super::server::version_nearby;

/// The options of the newest pg_rewind, and forkpoint's own.
const OPTIONS: &str = "\
Options:
  -c, --restore-target-wal       use \"restore_command\" in target configuration to
                                 retrieve WAL files from archives
  -D, --target-pgdata=DIRECTORY  existing data directory to modify
      --source-pgdata=DIRECTORY  source data directory to synchronize with
      --source-server=CONNSTR    source server to synchronize with (not yet)
  -n, --dry-run                  stop before modifying anything
  -N, --no-sync                  do not wait for changes to be written
                                 safely to disk
  -P, --progress                 write progress messages
  -R, --write-recovery-conf      write configuration for replication
                                 (requires --source-server)
      --config-file=FILENAME     use specified main server configuration
                                 file when running target cluster
      --debug                    write a lot of debug messages
      --no-ensure-shutdown       do not automatically fix unclean shutdown
      --sync-method=METHOD       set method for syncing files to disk
  -V, --version                  output version information, then exit
  -?, --help                     show this help, then exit

Not in pg_rewind:
      --bindir=DIRECTORY         where the target's postgres program lies
      --undo-dir=DIRECTORY       where to keep what is overwritten
      --no-undo                  do not keep what is overwritten
";

/// The text of `--help`.
pub fn help(program: &str) -> String {
    format!(
        "{program} resynchronizes a PostgreSQL cluster with another copy of the cluster.\n\n\
         It does what the pg_rewind of the target's major does (13 to 19), and refuses\n\
         before the first write where that would damage the target.\n\n\
         Usage:\n  {program} [OPTION]...\n\n{OPTIONS}\n\
         A directory for --undo-dir may also be given as FORKPOINT_UNDO_DIR.\n"
    )
}

/// The line of `--version`: with the version of the server's programs near by, which scripts look for.
pub fn version() -> String {
    let own = env!("CARGO_PKG_VERSION");
    match version_nearby() {
        Some(server) => format!("pg_rewind (PostgreSQL) {server} (forkpoint {own})\n"),
        None => format!("pg_rewind (PostgreSQL) 13 to 19 (forkpoint {own})\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal() {
        let text = help("forkpoint rewind");
        // what pg_rewind's own tests allow
        assert!(text.lines().all(|line| line.len() <= 95), "{text}");
        assert!(version().starts_with("pg_rewind (PostgreSQL) "));
    }
}

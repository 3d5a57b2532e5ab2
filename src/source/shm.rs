//! Shared memory of a server whose postmaster is gone: backends may live on.

use std::fs;
use std::path::Path;

/// Line of postmaster.pid that names the shared memory: key and identifier (`LOCK_FILE_LINE_SHMEM_KEY`).
const LINE: usize = 7;

/// Whether processes are attached to the System V shared memory that `postmaster.pid` of this data directory names. False
/// where nothing can be told: no such file, no such line, another machine's.
pub fn attached(dir: &Path) -> bool {
    let pid_file = fs::read_to_string(dir.join("postmaster.pid")).unwrap_or_default();
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    in_table(&pid_file, &table)
}

/// The table's columns: key, shmid, perms, size, cpid, lpid, nattch, …
fn in_table(pid_file: &str, table: &str) -> bool {
    let Some(line) = pid_file.lines().nth(LINE - 1) else { return false };
    let mut numbers = line.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(key)), Some(Ok(id))) = (numbers.next(), numbers.next()) else { return false };
    table.lines().skip(1).any(|row| {
        let columns: Vec<&str> = row.split_whitespace().collect();
        let number = |n: usize| columns.get(n).and_then(|c| c.parse::<i64>().ok());
        // keys are shown as signed numbers
        number(0).is_some_and(|k| k as u32 == key as u32)
            && number(1) == i64::try_from(id).ok()
            && number(6).is_some_and(|attached| attached > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_processes() {
        let pid = "123\n/data\n1760000000\n5432\n/tmp\n\n 16777217         4\nready   \n";
        let head = "       key      shmid perms       size  cpid  lpid nattch   uid   gid\n";
        let row = |key: i64, id: u64, attached: u64| {
            format!("{head}{key:>10} {id:>10}   600         56   123   124  {attached:>5}   999   999\n")
        };
        assert!(in_table(pid, &row(16_777_217, 4, 2)));
        assert!(!in_table(pid, &row(16_777_217, 4, 0)));
        assert!(!in_table(pid, &row(16_777_217, 5, 2)));
        assert!(!in_table(pid, &row(7, 4, 2)));
        assert!(!in_table("123\n/data\n", &row(16_777_217, 4, 2)));
        assert!(!in_table("", ""));
    }
}

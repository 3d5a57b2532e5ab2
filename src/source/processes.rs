//! Servers that run on a directory, found among the processes of this machine: a server works in its data directory,
//! whatever became of its postmaster.pid.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::datadir::Identity;

/// Where the kernel tells of processes.
const PROC: &str = "/proc";
/// How the programs of a server are called, also as a fork's (`postmaster` up to 15, EnterpriseDB's).
const NAMES: [&[u8]; 3] = [b"postgres", b"postmaster", b"edb-postgres"];

/// How long a server may take to go away after it removed its postmaster.pid.
const GOING: Duration = Duration::from_secs(3);
/// How often it is looked for meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// A process of a server that works in a directory: the one with the lowest number. `None` where there is none, or none
/// that this user (or this container) may see. A server that has just been stopped, and is still on its way out, is
/// waited for.
pub fn server_in(directory: Identity) -> Option<i32> {
    let look = || {
        let entries = fs::read_dir(PROC).ok()?.flatten();
        let numbers = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
        numbers.filter(|pid| works_in(&Path::new(PROC).join(pid.to_string()), directory)).min()
    };
    let start = Instant::now();
    loop {
        // a server that hands over to a child of a lower number meanwhile may be missed once
        let found = look().or_else(look)?;
        if start.elapsed() >= GOING {
            return Some(found);
        }
        thread::sleep(PAUSE);
    }
}

fn works_in(process: &Path, directory: Identity) -> bool {
    let named = fs::read(process.join("comm")).is_ok_and(|name| NAMES.contains(&name.trim_ascii_end()));
    if !named {
        return false;
    }
    match fs::metadata(process.join("cwd")) {
        Ok(meta) => Identity::of(&meta) == directory,
        // another user's: its arguments can be read all the same
        Err(_) => fs::read(process.join("cmdline")).is_ok_and(|line| {
            let given = data_directory(&line);
            given
                .and_then(|path| fs::metadata(path).ok())
                .is_some_and(|meta| Identity::of(&meta) == directory)
        }),
    }
}

/// The absolute directory behind `-D`, in arguments that end with NUL bytes each.
fn data_directory(line: &[u8]) -> Option<PathBuf> {
    let mut arguments = line.split(|b| *b == 0);
    while let Some(argument) = arguments.next() {
        let path = match argument.strip_prefix(b"-D") {
            Some(b"") => arguments.next()?,
            Some(joined) => joined,
            None => continue,
        };
        return Some(PathBuf::from(OsStr::from_bytes(path))).filter(|path| path.is_absolute());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_a_postmaster() {
        let path = |line: &[u8]| data_directory(line).map(|p| p.display().to_string());
        assert_eq!(path(b"/usr/bin/postgres\0-D\0/data\0-p\x005\0"), Some("/data".into()));
        assert_eq!(path(b"postgres\0-D/data\0"), Some("/data".into()));
        assert_eq!(path(b"postgres\0-D\0data\0"), None);
        assert_eq!(path(b"postgres: walwriter \0\0"), None);
        assert_eq!(path(b"postgres\0-D"), None);
    }

    #[test]
    fn other_programs_that_work_in_a_directory_are_no_servers() {
        let temp = tempfile::tempdir().unwrap();
        let mut sleeper =
            std::process::Command::new("sleep").arg("60").current_dir(temp.path()).spawn().unwrap();
        let found = server_in(Identity::of(&fs::metadata(temp.path()).unwrap()));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(found, None);
    }
    #[test]
    fn a_server_on_its_way_out_is_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        // a shell by another name, which ends with its input
        let program = temp.path().join("postgres");
        fs::copy(fs::canonicalize("/bin/sh").unwrap(), &program).unwrap();
        let mut command = std::process::Command::new(&program);
        command.args(["-c", "read line"]).current_dir(temp.path()).stdin(std::process::Stdio::piped());
        let mut server = command.spawn().unwrap();
        // exec lets its parent go on a moment before it gives the process its name
        let comm = Path::new(PROC).join(server.id().to_string()).join("comm");
        let start = Instant::now();
        while fs::read(&comm).unwrap() != b"postgres\n" {
            assert!(start.elapsed() < Duration::from_secs(20), "the process has no name");
            thread::sleep(PAUSE);
        }
        let directory = Identity::of(&fs::metadata(temp.path()).unwrap());
        assert_eq!(server_in(directory), Some(i32::try_from(server.id()).unwrap()));
        let input = server.stdin.take();
        let ends = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            drop(input);
        });
        let start = Instant::now();
        assert_eq!(server_in(directory), None);
        assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
        ends.join().unwrap();
        server.wait().unwrap();
    }
}

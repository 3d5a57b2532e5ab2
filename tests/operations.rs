//! Names of operations against `testdata/operations.txt`: what each major's own server answers when its resource
//! managers' `rm_identify` is asked for every info byte (asked with a debugger; majors 10 to 19).
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;

use forkpoint::pg::Major;
use forkpoint::wal::rmgr;

#[test]
fn operations_have_the_names_that_the_servers_give_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/operations.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let mut known = BTreeMap::new();
    for line in text.lines() {
        let words = line.split(' ').collect::<Vec<_>>();
        let [major, manager, info, name] = words[..] else { panic!("{line}") };
        known.insert((major, manager, u8::from_str_radix(info, 16).unwrap()), name);
    }
    let mut wrong = Vec::new();
    let mut seen = 0;
    for major in Major::ALL.into_iter().filter(|&major| major >= Major::V10) {
        for rmid in 0..=rmgr::id::LOGICALMSG {
            for info in (0..=0xF0).step_by(16) {
                let manager = rmgr::name(rmid);
                let wanted = known.get(&(major.name(), &*manager, info)).copied();
                seen += usize::from(wanted.is_some());
                let found = rmgr::op_name(rmid, info, major);
                if wanted != found {
                    wrong.push(format!("{}: {manager} {info:02X}: {found:?}, not {wanted:?}", major.name()));
                }
            }
        }
    }
    assert_eq!(seen, known.len(), "a resource manager has another name");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

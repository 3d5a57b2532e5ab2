//! Room on each filesystem of the target.

use crate::source::space::free;

use super::{Found, Ground, refusal, warning};

pub fn space(g: &Ground<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for filesystem in &g.totals.filesystems {
        let at = filesystem.at.as_path();
        let mapped = g.built.entries.iter().find_map(|e| match &e.action {
            super::super::model::Action::CreateSymlink { to } if e.path.as_path() == at => {
                Some(to.as_path().to_owned())
            }
            _ => None,
        });
        let path = mapped.unwrap_or_else(|| g.target.join(at));
        let Some((_, free)) = free(&path, &[]).into_iter().next() else { continue };
        let (needed, with_undo) = (filesystem.needed, filesystem.needed_with_undo);
        if free < needed {
            let what = format!("The filesystem has {free} bytes free; the rewind needs {needed}.");
            found.push(refusal(what, "Make room.").at(path));
        } else if free < with_undo {
            let what = format!(
                "The filesystem has room for the rewind ({needed} bytes), not for an undo store beside it ({with_undo} bytes)."
            );
            found.push(
                warning(what, "Put the store elsewhere with --undo-dir, or do without it with --no-undo.")
                    .at(path),
            );
        }
    }
    found
}

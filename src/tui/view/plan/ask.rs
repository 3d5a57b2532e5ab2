//! The questions before something is carried out.

use std::path::Path;

use super::Context;
use super::PlanView;
use crate::report::{question, words};
use crate::rewind::store_name;
use crate::tui::app::Ask;
use crate::tui::executor::Command;

/// The word that is asked for: the directory's own name.
fn word(target: &Path) -> String {
    target.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Before the plan is carried out; a target that was not shut down needs a second word.
pub fn carry_out(view: &PlanView, context: &mut Context<'_>) {
    let Some(plan) = &view.plan else { return };
    let target = plan.target.path.as_path();
    let mut lines = question::lines(plan, target);
    lines.extend(context.shared.doubt());
    let name = store_name(target);
    let store = match &context.shared.undo_dir {
        Some(dir) => dir.join(name),
        None => target.with_file_name(name),
    };
    lines.push(format!(
        "What changes is kept in {}: until a server is started on the result, it can be put back.",
        words::path(&store)
    ));
    let stopped = !plan.target.state.starts_with("shut down");
    let command = Command::Apply { plan: Box::new((**plan).clone()), stopped };
    let first = Ask { lines, word: word(target), command: command.clone(), then: None };
    let ask = if stopped {
        let lines = vec![question::not_shut_down(plan, target, false)];
        let vouch = Ask { lines, word: "stopped".into(), command, then: None };
        Ask { then: Some(Box::new(vouch)), ..first }
    } else {
        first
    };
    context.ask(ask);
}

/// Before an interrupted rewind goes on.
pub fn resume(view: &PlanView, context: &mut Context<'_>) {
    let Some(standing) = view.standing() else { return };
    let target = &standing.target;
    let lines = vec![
        format!("The rewind of {} goes on where it was interrupted.", words::path(target)),
        "The source must be as it was.".into(),
    ];
    context.ask(Ask { lines, word: word(target), command: Command::Resume(target.clone()), then: None });
}

/// Before a rewind is undone.
pub fn undo(view: &PlanView, context: &mut Context<'_>) {
    let Some(standing) = view.standing() else { return };
    let target = &standing.target;
    let mut lines = vec![format!(
        "{} is put back to what it was before the rewind: its own files, WAL and rows, not the source's.",
        words::path(target)
    )];
    if standing.report.rewind.as_ref().is_some_and(|rewind| rewind.undo_drops_work) {
        lines.push(question::drops_work(target));
    }
    context.ask(Ask { lines, word: word(target), command: Command::Undo(target.clone()), then: None });
}

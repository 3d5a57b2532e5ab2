//! Messages as pg_rewind of each major writes them.

use std::io::{self, Write};

use crate::pg::{Lsn, Major};

/// The program ends with this status; what there is to say was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended(pub u8);

/// pg_rewind's status for every failure.
pub const FAILED: Ended = Ended(1);

/// A signal stopped it.
pub const INTERRUPTED: Ended = Ended(130);

/// Speaks on standard error in the words of one major.
pub struct Log<'a> {
    program: String,
    major: Major,
    debug: bool,
    out: &'a mut dyn Write,
}

impl<'a> Log<'a> {
    /// `program` stands before every message.
    pub fn new(program: impl Into<String>, out: &'a mut dyn Write) -> Self {
        Self { program: program.into(), major: Major::V18, debug: false, out }
    }

    /// Speaks as this major's pg_rewind from now on.
    pub const fn speak(&mut self, major: Major) {
        self.major = major;
    }

    /// Shows what `--debug` shows.
    pub const fn show_debug(&mut self) {
        self.debug = true;
    }

    /// The name that stands before every message.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The major whose words are spoken.
    pub const fn major(&self) -> Major {
        self.major
    }

    /// Whether `--debug` was given.
    pub const fn debugging(&self) -> bool {
        self.debug
    }

    /// One write for each line: what comes in between may be another program's.
    pub fn raw(&mut self, text: &str) {
        let line = format!("{text}\n");
        // whoever closed standard error does not want to know
        let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
    }

    fn line(&mut self, text: &str) {
        self.raw(&format!("{}: {text}", self.program));
    }

    /// What happens.
    pub fn info(&mut self, text: &str) {
        self.line(text);
    }

    /// With `--debug` only.
    pub fn debug(&mut self, text: &str) {
        if self.debug {
            self.line(text);
        }
    }

    /// What went wrong, before something else is said about it.
    pub fn error(&mut self, text: &str) {
        self.line(&format!("error: {text}"));
    }

    /// What went wrong, and ends the program.
    pub fn fatal(&mut self, text: &str) -> Ended {
        let word = if self.major < Major::V15 { "fatal" } else { "error" };
        self.line(&format!("{word}: {text}"));
        FAILED
    }

    /// More about an error. To 14 there were no details: they are part of the message or messages of their own.
    pub fn detail(&mut self, text: &str) {
        self.line(&format!("detail: {text}"));
    }

    /// What to do about an error.
    pub fn hint(&mut self, text: &str) {
        if self.major < Major::V15 { self.raw(text) } else { self.line(&format!("hint: {text}")) }
    }

    /// What forkpoint says and pg_rewind does not: neither an error nor in the way of who reads pg_rewind's messages.
    pub fn note(&mut self, text: &str) {
        self.line(&format!("note: {text}"));
    }

    /// A mistake on the command line: `error`, and where help is.
    pub fn usage(&mut self, text: &str) -> Ended {
        if !text.is_empty() {
            self.error(text);
        }
        let program = self.program.clone();
        self.hint(&format!("Try \"{program} --help\" for more information."));
        FAILED
    }

    /// A position as this major's messages have it.
    pub fn lsn(&self, lsn: Lsn) -> String {
        lsn_text(lsn, self.major)
    }
}

/// A position as the messages of a major have it: from 19 on the lower half has all its digits.
pub fn lsn_text(lsn: Lsn, major: Major) -> String {
    if major >= Major::V19 {
        format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 & 0xFFFF_FFFF)
    } else {
        lsn.to_string()
    }
}

/// The text of `strerror`, which is what Rust says without the number behind it.
pub fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_old_and_new_majors() {
        let said = |major| {
            let mut out = Vec::new();
            let mut log = Log::new("pg_rewind", &mut out);
            log.speak(major);
            log.debug("not shown");
            assert_eq!(log.usage("no source"), FAILED);
            log.fatal("target server must be shut down cleanly");
            let at = log.lsn(Lsn(0x0300_0028));
            log.info(&at);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            said(Major::V13),
            "pg_rewind: error: no source\nTry \"pg_rewind --help\" for more information.\n\
             pg_rewind: fatal: target server must be shut down cleanly\npg_rewind: 0/3000028\n"
        );
        assert_eq!(
            said(Major::V19),
            "pg_rewind: error: no source\npg_rewind: hint: Try \"pg_rewind --help\" for more information.\n\
             pg_rewind: error: target server must be shut down cleanly\npg_rewind: 0/03000028\n"
        );
        assert_eq!(strerror(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(strerror(&io::Error::other("x")), "x");
    }
}

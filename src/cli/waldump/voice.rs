//! What is said on standard error, in the words of each major's pg_waldump.

use std::io::Write;

use crate::pg::{Lsn, Major};
use crate::report::words;

/// The name before each message.
const NAME: &str = "forkpoint waldump";

/// Speaks as a major's program.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    /// The major.
    pub major: Major,
}

/// Why the command ends at once; its status is 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Something is wrong with the command line: an error and a detail, then the hint.
    Usage(Option<String>, Option<&'static str>),
    /// What `getopt_long` says, then the hint.
    Option(String),
    /// An error.
    Fatal(String),
    /// An error with a detail.
    Detailed(String, &'static str),
}

fn write(text: &str) {
    // a closed standard error is no reason to fail
    for line in text.lines() {
        let _ = writeln!(std::io::stderr(), "{}", words::clean(line));
    }
}

/// An error that does not end the program.
pub fn error(text: &str) {
    write(&format!("{NAME}: error: {text}"));
}

/// Something to know.
pub fn info(text: &str) {
    write(&format!("{NAME}: {text}"));
}

impl Voice {
    /// Says why it ends, and gives the status.
    pub fn end(self, end: &End) -> u8 {
        match end {
            End::Usage(text, detail) => {
                if let Some(text) = text {
                    error(text);
                }
                if let Some(detail) = detail {
                    self.detail(detail);
                }
                self.hint();
            }
            End::Option(text) => {
                write(&format!("{NAME}: {text}"));
                self.hint();
            }
            End::Fatal(text) if self.major < Major::V15 => write(&format!("{NAME}: fatal: {text}")),
            End::Fatal(text) => error(text),
            End::Detailed(text, detail) => {
                error(text);
                self.detail(detail);
            }
        }
        1
    }

    fn detail(self, text: &str) {
        if self.major >= Major::V15 {
            write(&format!("{NAME}: detail: {text}"));
        }
    }

    fn hint(self) {
        let hint = format!("Try \"{NAME} --help\" for more information.");
        if self.major >= Major::V15 {
            write(&format!("{NAME}: hint: {hint}"));
        } else {
            write(&hint);
        }
    }

    /// An LSN as the major prints it.
    pub fn lsn(self, at: Lsn) -> String {
        if self.major >= Major::V19 {
            format!("{:X}/{:08X}", at.0 >> 32, at.0 as u32)
        } else {
            at.to_string()
        }
    }
}

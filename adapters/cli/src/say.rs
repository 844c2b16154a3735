//! What commands print that aren't `consume`: `print!` and `eprint!` panic where nobody reads.

use std::fmt;
use std::io::{self, Write as _};

use crate::fatal::Fatal;

/// Writes to stdout. A reader may have enough, as `head` has, and be gone: that is no error.
pub(crate) fn data(text: impl fmt::Display) -> Result<(), Fatal> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Fatal::new(format_args!("can't write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a line to stderr. Where that can't be done there is nobody to be told of it.
pub(crate) fn line(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

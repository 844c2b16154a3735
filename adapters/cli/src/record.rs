//! The file that a trace is written to.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use crate::fatal::Fatal;
use crate::screen::Screen;

/// Takes the lines of a trace. It is complete up to the last round after a kill -9. A disk that
/// is full ends the trace, and not the consumer.
pub(crate) fn sink(path: &Path, screen: Arc<Screen>) -> Result<impl FnMut(&str) + Send + 'static, Fatal> {
    let cant_write = move |path: &Path, error: std::io::Error| {
        format!("can't write the trace {}: {error}", path.display())
    };
    let file = File::create(path).map_err(|error| Fatal::new(cant_write(path, error)))?;
    let mut file = Some(BufWriter::with_capacity(64 << 10, file));
    let path = path.to_owned();
    Ok(move |line: &str| {
        let Some(to) = &mut file else { return };
        // The last line of a round.
        let round = line.starts_with("< wait");
        let written = to.write_all(line.as_bytes()).and_then(|()| if round { to.flush() } else { Ok(()) });
        if let Err(error) = written {
            file = None;
            screen.line("notice", format_args!("{}; it ends here", cant_write(&path, error)));
        }
    })
}

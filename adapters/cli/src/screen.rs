//! stderr, shared by notices and the progress bar.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::fatal::one_line;

/// Where lines for the operator go; they don't tear the bar, if there is one.
#[derive(Debug)]
pub(crate) struct Screen {
    bar: Option<ProgressBar>,
}

impl Screen {
    /// With a bar, if one is wanted and stderr is a terminal.
    pub(crate) fn new(wants_bar: bool) -> Self {
        let bar = (wants_bar && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // No colours, so that there is nothing for NO_COLOR to turn off.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar }
    }

    /// The bar, where there is one.
    pub(crate) fn bar(&self) -> Option<&ProgressBar> {
        self.bar.as_ref()
    }

    /// Prints one line. Where stderr is gone there is nobody to tell.
    pub(crate) fn line(&self, kind: &str, text: impl std::fmt::Display) {
        let line = format!("{kind}: {}\n", one_line(text));
        let print = || drop(io::stderr().lock().write_all(line.as_bytes()));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

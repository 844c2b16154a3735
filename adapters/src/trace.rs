//! Events for `tracing` at debug level: notices and commands, which hold no secrets.

#[cfg(not(feature = "tracing"))]
pub(crate) use off::{Span, command, notice, span};
#[cfg(feature = "tracing")]
pub(crate) use on::{Span, command, notice, span};

#[cfg(feature = "tracing")]
mod on {
    use tidegate_core::{Command, Notice};
    pub(crate) use tracing::Span;

    pub(crate) fn span() -> Span {
        tracing::debug_span!("tidegate")
    }

    pub(crate) fn notice(notice: &Notice) {
        tracing::debug!(%notice);
    }

    pub(crate) fn command(command: &Command) {
        match command {
            Command::Open { conn, endpoint } => tracing::debug!(%conn, %endpoint, "open"),
            Command::Close { conn } => tracing::debug!(%conn, "close"),
            Command::Done { ticket, outcome } => tracing::debug!(ticket = ticket.0, ?outcome, "done"),
            Command::Write { .. } | Command::Notice(_) | Command::Wait(_) => {}
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod off {
    use tidegate_core::{Command, Notice};

    #[derive(Clone)]
    pub(crate) struct Span;

    impl Span {
        pub(crate) fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
            f()
        }
    }

    pub(crate) fn span() -> Span {
        Span
    }

    pub(crate) fn notice(_: &Notice) {}
    pub(crate) fn command(_: &Command) {}
}

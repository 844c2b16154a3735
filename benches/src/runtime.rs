//! What a contender runs on: tokio, in its two forms.

use std::future::Future;

use crate::Failure;

/// What a contender runs on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Runtime {
    /// As `#[tokio::main]` makes it: a worker per core.
    Multi,
    /// One thread.
    Current,
}

impl Runtime {
    /// Runs `work` to its end on a runtime made for it.
    ///
    /// # Errors
    /// Those of `work`, and of the system that gives no runtime.
    pub fn run<T>(self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let mut builder = match self {
            Self::Multi => tokio::runtime::Builder::new_multi_thread(),
            Self::Current => tokio::runtime::Builder::new_current_thread(),
        };
        builder.enable_all().build()?.block_on(work)
    }

    /// What stands in the table after the client's name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Multi => "",
            Self::Current => ", current thread",
        }
    }
}

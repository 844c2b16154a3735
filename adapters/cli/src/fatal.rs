//! What ends the command: one line that names the cause and the way out.

use std::fmt;

use tidegate_core::{ConsumerError, Error};

/// A fatal error, in one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fatal(String);

impl Fatal {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self(one_line(what))
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ConsumerError> for Fatal {
    fn from(error: ConsumerError) -> Self {
        match error {
            ConsumerError::Failed(error) => Self::from(error),
            other => Self::new(other),
        }
    }
}

/// In the words of the command line, where the library speaks of options.
impl From<Error> for Fatal {
    fn from(error: Error) -> Self {
        match error {
            Error::StreamMissing { stream } => {
                Self::new(format_args!("the stream {stream} does not exist: create it, or add --create"))
            }
            other => Self::new(other),
        }
    }
}

/// A server may say anything, line breaks and control sequences too.
pub(crate) fn one_line(text: impl fmt::Display) -> String {
    let text = text.to_string();
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line_and_names_the_way_out() {
        let missing = Error::StreamMissing { stream: "orders".into() };
        assert!(Fatal::from(missing).to_string().ends_with("add --create"));
        let odd = Error::Broker { command: "XREAD", message: "ERR a\r\nb\x1b[2J".into() };
        assert_eq!(Fatal::from(ConsumerError::from(odd)).to_string(), "XREAD failed: ERR a\\r\\nb\\u{1b}[2J");
    }
}

//! URLs, as far as the command has to look into them itself.

/// `text` with dots in place of the password, if it is a URL that has one.
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // A password that was not escaped as it should may hold any of these signs: up to the last @.
    match rest.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:…@{host}"),
            // Some write the password alone.
            None => format!("{scheme}://…@{host}"),
        },
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_left() {
        for (url, shown) in [
            ("redis://host/s", "redis://host/s"),
            ("redis://u:p@host/s", "redis://u:…@host/s"),
            ("redis://:p:q@host/s", "redis://:…@host/s"),
            ("redis://u:p@s/w@rd@host:1/s", "redis://u:…@host:1/s"),
            ("redis://p@host/s", "redis://…@host/s"),
            ("--record=redis://u:p@h", "--record=redis://u:…@h"),
            ("orders", "orders"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}

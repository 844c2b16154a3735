//! A panic of the code under test is something that a run finds, not the end of the simulator.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Outer `Some`: this thread catches panics. Inner: the last one, in one line.
    static CAUGHT: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// What `run` gives, or the words and the place of its panic, which is then not printed.
///
/// What `run` changed is as the panic left it; whoever calls this drops it, or doesn't mind.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    listen();
    let before = CAUGHT.replace(Some(None));
    let result = catch_unwind(AssertUnwindSafe(run));
    let text = CAUGHT.replace(before).flatten();
    result.map_err(|_| text.unwrap_or_else(|| "a panic".into()))
}

/// Puts our hook before the one that is there; panics that nobody catches here go to that one.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = CAUGHT.with_borrow_mut(|caught| match caught {
                Some(text) => {
                    let payload = info.payload();
                    let words = payload.downcast_ref::<&str>().copied();
                    let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                    let place = info.location().map(|at| format!(" at {at}")).unwrap_or_default();
                    *text = Some(format!("a panic{place}: {}", words.unwrap_or("without words")));
                    true
                }
                None => false,
            });
            if !ours {
                others(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_words_and_its_place() {
        let text = caught(|| panic!("{} apples", 3)).unwrap_err();
        assert!(text.starts_with("a panic at ") && text.contains("panics.rs:"), "{text}");
        assert!(text.ends_with(": 3 apples"), "{text}");
        assert_eq!(caught(|| 5), Ok(5));
        // One within another: the inner one leaves the outer one as it was.
        let outer = caught(|| {
            let _ = caught(|| panic!("inner"));
            panic!("outer")
        });
        assert!(outer.unwrap_err().ends_with("outer"));
    }
}

//! The timeline in a real browser: each page is drawn, and no script of it complains.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

#[path = "../../sim/tests/timeline_samples/mod.rs"]
mod timeline_samples;

use std::path::Path;
use std::process::Command;

use tidegate_sim::history::History;
use tidegate_sim::timeline::html;

use timeline_samples::{fifty, hostile, three};

/// Runs the script of each page, and looks for what it leaves in the document.
#[test]
fn a_browser_draws_it_without_an_error() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, history, rows) in pages() {
        let file = folder.join(format!("timeline-{name}.html"));
        std::fs::write(&file, html(&history)).unwrap();
        println!("{}", file.display());
        let profile = folder.join(format!("chromium-{name}"));
        let browser = std::env::var_os("CHROMIUM").unwrap_or_else(|| "chromium".into());
        let done = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("file://{}#rows={rows}", file.display()))
            .output()
            .unwrap();
        let _ = std::fs::remove_dir_all(&profile);
        let (page, said) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(!said.contains(":CONSOLE"), "{name}: {said}");
        // The size is set by the first painting.
        assert!(page.contains("<canvas id=\"canvas\"") && page.contains("style=\"width: "), "{name}: {said}");
        assert_eq!(page.contains("data-key=\""), !history.members.is_empty(), "{name}");
        let pressed = if rows == "shards" { "by-shard" } else { "by-member" };
        assert!(page.contains(&format!("id=\"{pressed}\" aria-pressed=\"true\"")), "{name}");
    }
}

fn pages() -> [(&'static str, History, &'static str); 8] {
    let empty = History::default();
    [
        ("3", three(), "members"),
        ("3-shards", three(), "shards"),
        ("50", fifty(6_000), "members"),
        ("50-shards", fifty(6_000), "shards"),
        ("many", fifty(100_000), "members"),
        ("hostile", hostile(), "shards"),
        ("empty", empty.clone(), "members"),
        ("empty-shards", empty, "shards"),
    ]
}

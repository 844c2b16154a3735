//! What must not be in core, and what it may depend on.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn core_names_no_clock_socket_thread_or_hash_map() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 20, "looked at {} files only", found.len());
    let forbidden = [
        "std::net",
        "std::thread",
        "std::time::Instant",
        "SystemTime",
        "std::fs",
        "std::env",
        "std::process",
        "HashMap",
        "HashSet",
        "thread_local",
        "static mut",
        "async fn",
        "tokio",
    ];
    let mut wrong = Vec::new();
    // It names a thread-local only in builds that put bugs back for tests, `--cfg
    // tidegate_mutation`: which bug is the choice of each thread. Nothing else is behind that cfg.
    let exempt = found.iter().position(|path| path.ends_with("src/mutation.rs")).unwrap();
    found.remove(exempt);
    for path in &found {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(!text.contains("tidegate_mutation") || path.ends_with("src/lib.rs"), "{}", path.display());
        let mut only_in_tests = false;
        for (number, line) in text.lines().enumerate() {
            // The line after `#[cfg(test)]`: counters for tests of costs.
            if std::mem::replace(&mut only_in_tests, line.trim() == "#[cfg(test)]") {
                continue;
            }
            let code = line.split("//").next().unwrap_or_default();
            let named = forbidden.iter().filter(|word| code.contains(**word));
            wrong.extend(named.map(|word| format!("{}:{}: {word}", path.display(), number + 1)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn core_depends_on_what_the_design_lists() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", "tidegate-core", "-e", "normal", "--prefix", "none", "--depth", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let names: Vec<_> = text.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!names.is_empty(), "{text}");
    let allowed = [
        "bytes",
        "smallvec",
        "thiserror",
        "futures-core",
        "crc-fast",
        "lz4_flex",
        "snap",
        "flate2",
        "zstd",
        "regex-lite", // topics by pattern: linear time, no dependencies of its own
    ];
    for name in names {
        assert!(allowed.contains(&name), "core depends on {name}:\n{text}");
    }
}

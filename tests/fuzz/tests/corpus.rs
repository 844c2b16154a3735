//! Each target over its corpus, and over what once was a finding.

#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tidegate_fuzz::TARGETS;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// A corpus stays small: it is in everybody's checkout.
const FILES_MAX: usize = 300;
const BYTES_MAX: u64 = 300 << 10;

fn inputs(of: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(ROOT).join(of).join(target);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_corpus_is_there_and_nothing_in_it_is_a_finding() {
    let mut findings = Vec::new();
    for (name, target) in TARGETS {
        let corpus = inputs("corpus", name);
        let bytes: u64 = corpus.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        assert!(!corpus.is_empty(), "no corpus of {name}: make one with tests/fuzz/run {name} --corpus");
        assert!(corpus.len() <= FILES_MAX && bytes <= BYTES_MAX, "the corpus of {name} is too large");
        let regressions = inputs("regressions", name);
        let since = Instant::now();
        for file in corpus.iter().chain(&regressions) {
            let input = fs::read(file).unwrap();
            if catch_unwind(|| target(&input)).is_err() {
                findings.push(file.strip_prefix(ROOT).unwrap().to_owned());
            }
        }
        let (inputs, old) = (corpus.len(), regressions.len());
        println!("{name}: {inputs} inputs of {bytes} bytes and {old} old findings in {:?}", since.elapsed());
    }
    assert!(findings.is_empty(), "findings: {findings:?}");
}

/// So that no target is forgotten anywhere.
#[test]
fn each_target_is_known_to_the_fuzzer() {
    let manifest = fs::read_to_string(Path::new(ROOT).join("libfuzzer/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let file = format!("targets/{name}.rs");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"{file}\"")), "no [[bin]] for {name}");
        let source = fs::read_to_string(Path::new(ROOT).join("libfuzzer").join(file)).unwrap();
        assert!(source.contains(&format!("tidegate_fuzz::{name}(data)")), "{source}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    for of in ["corpus", "regressions"] {
        let Ok(folders) = fs::read_dir(Path::new(ROOT).join(of)) else { continue };
        for folder in folders {
            let name = folder.unwrap().file_name();
            assert!(TARGETS.iter().any(|(known, _)| *known == name), "{of}/{name:?} is of no target");
        }
    }
}

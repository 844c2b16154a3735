//! Where the command under test is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `tidegate` executable: what `TIDEGATE_BIN` names, else the one beside this test in the target
/// directory, brought up to date with `cargo build` once per test executable (cargo does not build
/// another package's command for a test). Panics with the command to run where that fails.
pub fn tidegate() -> &'static Path {
    // A failure is kept too, so that a command that does not compile is not compiled for every test.
    static READY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match READY.get_or_init(find) {
        Ok(path) => path,
        Err(missing) => panic!("{missing}"),
    }
}

fn find() -> Result<PathBuf, String> {
    match std::env::var_os("TIDEGATE_BIN").map(PathBuf::from) {
        Some(given) if given.is_file() => Ok(given),
        Some(given) => Err(format!("TIDEGATE_BIN names {}, which is not there", given.display())),
        None => build(),
    }
}

fn build() -> Result<PathBuf, String> {
    // target/<profile>/deps/<test>, or target/<profile>/examples/<example>
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile_dir = test.ancestors().nth(2).expect("a test lies in target/<profile>/deps");
    let target_dir = profile_dir.parent().expect("a profile's directory lies in the target directory");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "-p", "tidegate-cli", "--bin", "tidegate", "--profile", profile])
        .arg("--target-dir")
        .arg(target_dir)
        .output();
    let path = profile_dir.join("tidegate");
    let said = match built {
        Ok(output) if output.status.success() && path.is_file() => return Ok(path),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!(
        "the command under test is missing; run: cargo build -p tidegate-cli --profile {profile}\n{said}"
    ))
}

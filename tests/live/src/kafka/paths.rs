//! Where the jars are, and the Java programs of the tests.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A release of Apache Kafka.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// The newest one.
    #[default]
    Newest,
    /// The newest one of the series before.
    Old,
}

/// The first line is [`Version::Newest`], the second [`Version::Old`].
const VERSIONS: &str = include_str!("../../../kafka/versions");

const SOURCES: [(&str, &str); 5] = [
    ("Broker.java", include_str!("../../../kafka/helper/Broker.java")),
    ("Helper.java", include_str!("../../../kafka/helper/Helper.java")),
    ("Admins.java", include_str!("../../../kafka/helper/Admins.java")),
    ("Producers.java", include_str!("../../../kafka/helper/Producers.java")),
    ("Consumers.java", include_str!("../../../kafka/helper/Consumers.java")),
];

/// The newest release's number.
pub fn number() -> &'static str {
    VERSIONS.lines().next().unwrap_or_default()
}

/// The folder of Apache Kafka's jars: what `KAFKA_JARS` (`KAFKA_JARS_OLD`) names, else
/// `kafka/VERSION` in the target directory. Panics with what to run where it is missing.
pub fn jars(version: Version) -> PathBuf {
    let (variable, line) = match version {
        Version::Newest => ("KAFKA_JARS", 0),
        Version::Old => ("KAFKA_JARS_OLD", 1),
    };
    if let Some(given) = std::env::var_os(variable).map(PathBuf::from) {
        assert!(given.is_dir(), "{variable} names {}, which is not there", given.display());
        return given;
    }
    let number = VERSIONS.lines().nth(line).expect("tests/kafka/versions has two lines");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    [target_dir(), workspace]
        .into_iter()
        .map(|target| target.join("kafka").join(number))
        .find(|folder| folder.join("complete").is_file())
        .unwrap_or_else(|| {
            panic!(
                "Apache Kafka {number} is missing; run: tests/run live kafka (it fetches the jars once), \
                 or set {variable} to a folder of its jars"
            )
        })
}

/// The target directory that this executable was built in: target/<profile>/deps/<test>, or
/// target/<profile>/examples/<example>.
pub(super) fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().nth(3).expect("a test lies in target/<profile>/deps").to_owned()
}

/// The Java to run: `JAVA`, else the one in PATH.
pub(super) fn java() -> OsString {
    std::env::var_os("JAVA").unwrap_or_else(|| "java".into())
}

/// The class path for the Java programs of the tests with the jars of this version.
pub(super) fn class_path(version: Version) -> OsString {
    static CLASSES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let mut path = jars(version).join("*").into_os_string();
    match CLASSES.get_or_init(compile) {
        Ok(classes) => {
            path.push(":");
            path.push(classes);
            path
        }
        Err(error) => panic!("{error}"),
    }
}

/// Compiles the Java programs into a folder named after what they say, unless it is there.
fn compile() -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    (SOURCES, VERSIONS).hash(&mut hasher);
    let folder = target_dir().join("kafka").join(format!("helper-{:016x}", hasher.finish()));
    if folder.is_dir() {
        return Ok(folder);
    }
    // Other test executables may do the same at this moment: each in a folder of its own, and the
    // first whole one stays.
    let own = folder.with_extension(std::process::id().to_string());
    let failed = |error: std::io::Error| format!("the Java programs of the tests: {error}");
    std::fs::create_dir_all(&own).map_err(failed)?;
    let mut jars: Vec<PathBuf> = std::fs::read_dir(jars(Version::Newest))
        .map_err(failed)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jar"))
        .collect();
    jars.sort();
    let class_path = std::env::join_paths(jars).map_err(|error| error.to_string())?;
    let mut compiler = Command::new(java());
    compiler.args(["--module", "jdk.compiler/com.sun.tools.javac.Main", "-proc:none", "-cp"]).arg(class_path);
    compiler.arg("-d").arg(&own);
    for (name, text) in SOURCES {
        let file = own.join(name);
        std::fs::write(&file, text).map_err(failed)?;
        compiler.arg(file);
    }
    let done = compiler.output().map_err(|error| {
        format!("cannot run {}: {error}; install a JDK of version 17 or later", java().to_string_lossy())
    })?;
    if !done.status.success() {
        std::fs::remove_dir_all(&own).ok();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(format!("the Java programs of the tests do not compile (JDK 17 or later?):\n{said}"));
    }
    if std::fs::rename(&own, &folder).is_err() {
        std::fs::remove_dir_all(&own).ok();
    }
    Ok(folder)
}

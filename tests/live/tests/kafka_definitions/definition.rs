//! Kafka's message definitions out of a jar, and ours beside them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use tidegate_core::kafka::wire::{Field, Kind, Structure};

/// A file of `common/message/`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definition {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) api_key: Option<i16>,
    pub(crate) valid_versions: String,
    #[serde(default = "none")]
    pub(crate) flexible_versions: String,
    #[serde(default)]
    pub(crate) latest_version_unstable: bool,
    // Those of APIs that are gone have none.
    #[serde(default)]
    fields: Vec<Theirs>,
    #[serde(default)]
    common_structs: Vec<Common>,
}

#[derive(Deserialize)]
struct Common {
    name: String,
    fields: Vec<Theirs>,
}

/// A field of a definition. What is in a definition and not here is an error, so that nothing new
/// is overlooked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Theirs {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    versions: String,
    #[serde(default = "none")]
    nullable_versions: String,
    tagged_versions: Option<String>,
    tag: Option<u32>,
    flexible_versions: Option<String>,
    #[serde(default)]
    ignorable: bool,
    default: Option<serde_json::Value>,
    fields: Option<Vec<Theirs>>,
    // What doesn't reach the wire: words, and hints for Kafka's own classes.
    #[serde(rename = "about")]
    _about: Option<String>,
    #[serde(rename = "entityType")]
    _entity_type: Option<String>,
    #[serde(rename = "mapKey")]
    _map_key: Option<bool>,
    #[serde(rename = "zeroCopy")]
    _zero_copy: Option<bool>,
}

fn none() -> String {
    "none".into()
}

/// All definitions of a kafka-clients jar, by name.
pub(crate) fn read(jar: &Path) -> BTreeMap<String, Definition> {
    let file = std::fs::File::open(jar).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut definitions = BTreeMap::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).unwrap();
        let name = entry.name().unwrap().into_owned();
        if name.starts_with("common/message/") && name.ends_with(".json") {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let parsed = serde_json::from_str(&without_comments(&text));
            let definition: Definition = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
            definitions.insert(definition.name.clone(), definition);
        }
    }
    definitions
}

/// Without `//` to the end of a line, except in strings.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut inside = false;
        let comment = line.char_indices().find(|(at, char)| {
            inside ^= *char == '"';
            !inside && line[*at..].starts_with("//")
        });
        out.push_str(&line[..comment.map_or(line.len(), |(at, _)| at)]);
        out.push('\n');
    }
    out
}

impl Definition {
    /// All that differs between the definition and our description; the number of fields that
    /// were compared.
    pub(crate) fn differences(&self, ours: &Structure, found: &mut Vec<String>) -> usize {
        assert_eq!(self.name, ours.name);
        let common = self.common_structs.iter().map(|common| (&*common.name, &common.fields)).collect();
        Comparison { common, found, compared: 0 }.structure(&self.name, &self.fields, ours)
    }
}

struct Comparison<'a> {
    common: BTreeMap<&'a str, &'a Vec<Theirs>>,
    found: &'a mut Vec<String>,
    compared: usize,
}

impl Comparison<'_> {
    fn structure(&mut self, path: &str, theirs: &[Theirs], ours: &Structure) -> usize {
        let names = |fields: Vec<String>| fields.join(" ");
        let their_names = names(theirs.iter().map(|field| snake_case(&field.name)).collect());
        let our_names = names(ours.fields.iter().map(|field| field.name.to_owned()).collect());
        self.same(path, "fields", &our_names, &their_names);
        for (theirs, ours) in theirs.iter().zip(ours.fields) {
            self.field(&format!("{path}.{}", theirs.name), theirs, ours);
        }
        self.compared
    }

    fn field(&mut self, path: &str, theirs: &Theirs, ours: &Field) {
        self.compared += 1;
        self.same(path, "versions", &ours.versions.to_string(), &theirs.versions);
        self.same(path, "nullable versions", &ours.nullable.to_string(), &theirs.nullable_versions);
        self.same(path, "tag", &ours.tag, &theirs.tag);
        let tagged_versions = ours.tag.map(|_| ours.versions.to_string());
        self.same(path, "tagged versions", &tagged_versions, &theirs.tagged_versions);
        self.same(path, "ignorable", &ours.ignorable, &theirs.ignorable);
        let classic = ours.classic.then(none);
        self.same(path, "flexible versions", &classic, &theirs.flexible_versions);
        self.same(path, "type", &kind_name(ours.kind, &theirs.kind), &theirs.kind);
        let (our_default, their_default) = (default(ours), theirs.default());
        self.same(path, "default", &our_default, &their_default);

        let element = theirs.kind.trim_start_matches("[]");
        if let Some(structure) = structure(ours.kind) {
            let common = self.common.get(element).copied();
            match theirs.fields.as_ref().or(common) {
                Some(fields) => drop(self.structure(path, fields, structure)),
                None => self.found.push(format!("{path}: theirs is no structure")),
            }
        } else if theirs.fields.is_some() {
            self.found.push(format!("{path}: ours is no structure"));
        }
    }

    fn same<T: PartialEq + Debug>(&mut self, path: &str, what: &str, ours: &T, theirs: &T) {
        if ours != theirs {
            self.found.push(format!("{path}: {what}: ours {ours:?}, theirs {theirs:?}"));
        }
    }
}

impl Theirs {
    /// The default in one notation: nothing stands for zero, false and empty.
    fn default(&self) -> Option<String> {
        let text = match &self.default {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            // Records are the one type that is null unless the definition says otherwise.
            None if self.kind == "records" => "null".into(),
            None => return None,
        };
        match text.strip_prefix("0x") {
            Some(digits) => Some(i64::from_str_radix(digits, 16).unwrap().to_string()),
            None => Some(text).filter(|text| !["", "0", "false"].contains(&&**text)),
        }
    }
}

/// Our default in that notation.
fn default(field: &Field) -> Option<String> {
    field.default.map(|text| match text {
        "None" => "null".into(),
        "i32::MAX" => i32::MAX.to_string(),
        "i32::MIN" => i32::MIN.to_string(),
        "i64::MAX" => i64::MAX.to_string(),
        text => text.into(),
    })
}

/// A type's name in the definitions.
fn kind_name(kind: Kind, theirs: &str) -> String {
    match kind {
        Kind::Bool => "bool".into(),
        Kind::Int8 => "int8".into(),
        Kind::Int16 => "int16".into(),
        Kind::Uint16 => "uint16".into(),
        Kind::Int32 => "int32".into(),
        Kind::Int64 => "int64".into(),
        Kind::Float64 => "float64".into(),
        Kind::Uuid => "uuid".into(),
        Kind::Text => "string".into(),
        // Both look the same on the wire.
        Kind::Bytes if theirs == "records" => "records".into(),
        Kind::Bytes => "bytes".into(),
        Kind::Array(element) => format!("[]{}", kind_name(*element, theirs)),
        Kind::Structure(structure) => structure.name.into(),
        kind => panic!("{kind:?} is new"),
    }
}

fn structure(kind: Kind) -> Option<&'static Structure> {
    match kind {
        Kind::Array(element) => structure(*element),
        Kind::Structure(structure) => Some(structure),
        _ => None,
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for char in name.chars() {
        if char.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(char.to_ascii_lowercase());
    }
    out
}

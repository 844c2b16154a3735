//! Valid bytes of any message, out of its description and a tape of decisions.
//!
//! A second writer of the protocol, which shares nothing with the first but the declarations.

use tidegate_core::kafka::wire::{Field, Kind, Structure};

/// Where decisions come from; zeros when it is used up, which make the smallest values.
pub(crate) struct Random<'a> {
    tape: std::slice::Iter<'a, u8>,
    version: i16,
    flexible: bool,
    /// Whether to put tagged fields in that nobody knows.
    strange: bool,
}

impl<'a> Random<'a> {
    pub(crate) fn new(tape: &'a [u8], version: i16, flexible: bool, strange: bool) -> Self {
        Self { tape: tape.iter(), version, flexible, strange }
    }

    pub(crate) fn message(&mut self, structure: &Structure) -> Vec<u8> {
        let mut out = Vec::new();
        self.structure(structure, &mut out);
        out
    }

    fn next(&mut self) -> u8 {
        self.tape.next().copied().unwrap_or(0)
    }

    fn structure(&mut self, structure: &Structure, out: &mut Vec<u8>) {
        let mut tagged = Vec::new();
        let version = self.version;
        for field in structure.fields.iter().filter(|field| field.versions.contains(version)) {
            let Some(tag) = field.tag else {
                self.field(field, out);
                continue;
            };
            if self.next() % 2 == 1 {
                let mut value = Vec::new();
                self.field(field, &mut value);
                // A field at its default isn't written.
                if value != default(field, self.version) {
                    tagged.push((tag, value));
                }
            }
        }
        if self.flexible {
            if self.strange {
                tagged.push((1000, vec![0xff; 200]));
                tagged.push((u32::MAX, vec![]));
            }
            unsigned(tagged.len() as u32, out);
            for (tag, value) in tagged {
                unsigned(tag, out);
                unsigned(value.len() as u32, out);
                out.extend(value);
            }
        }
    }

    fn field(&mut self, field: &Field, out: &mut Vec<u8>) {
        let flexible = self.flexible;
        self.flexible &= !field.classic;
        let nullable = field.nullable.contains(self.version);
        let null = nullable && self.next() % 4 == 3;
        match (field.kind, null) {
            (Kind::Structure(_), true) => out.push(0xff),
            (kind, true) => self.length(kind, None, out),
            (kind, false) => {
                if nullable && matches!(kind, Kind::Structure(_)) {
                    out.push(1);
                }
                self.value(kind, out);
            }
        }
        self.flexible = flexible;
    }

    fn value(&mut self, kind: Kind, out: &mut Vec<u8>) {
        match kind {
            Kind::Bool => out.push(self.next() & 1),
            Kind::Int8 => self.number(1, out),
            Kind::Int16 | Kind::Uint16 => self.number(2, out),
            Kind::Int32 => self.number(4, out),
            Kind::Int64 | Kind::Float64 => self.number(8, out),
            Kind::Uuid => self.number(16, out),
            Kind::Text => {
                let text = match self.next() % 8 {
                    7 => "long".repeat(50),
                    count => {
                        (0..count).map(|_| ['a', '\0', 'é', '🦀'][usize::from(self.next() % 4)]).collect()
                    }
                };
                self.length(kind, Some(text.len()), out);
                out.extend(text.as_bytes());
            }
            Kind::Bytes => {
                let count = match self.next() % 8 {
                    7 => 20_000,
                    count => usize::from(count),
                };
                self.length(kind, Some(count), out);
                out.extend(std::iter::repeat_n(self.next(), count));
            }
            Kind::Array(element) => {
                let long = !matches!(element, Kind::Structure(_));
                let count = match self.next() % 16 {
                    15 if long => 200,
                    count => usize::from(count) % 4,
                };
                self.length(kind, Some(count), out);
                for _ in 0..count {
                    self.value(*element, out);
                }
            }
            Kind::Structure(structure) => self.structure(structure, out),
            kind => panic!("{kind:?} is new"),
        }
    }

    fn number(&mut self, bytes: usize, out: &mut Vec<u8>) {
        match self.next() % 4 {
            0 => out.extend(std::iter::repeat_n(0, bytes)),
            1 => out.extend(std::iter::repeat_n(0xff, bytes)),
            2 => {
                out.extend(std::iter::repeat_n(0, bytes - 1));
                out.push(self.next());
            }
            _ => out.extend((0..bytes).map(|_| self.next())),
        }
    }

    /// A length, or a null.
    fn length(&mut self, kind: Kind, length: Option<usize>, out: &mut Vec<u8>) {
        match (self.flexible, kind) {
            (true, _) => unsigned(length.map_or(0, |length| length as u32 + 1), out),
            (false, Kind::Text) => out.extend(length.map_or(-1, |length| length as i16).to_be_bytes()),
            (false, _) => out.extend(length.map_or(-1, |length| length as i32).to_be_bytes()),
        }
    }
}

/// The bytes of a tagged field at its default.
fn default(field: &Field, version: i16) -> Vec<u8> {
    match (field.kind, field.default) {
        (Kind::Text | Kind::Bytes | Kind::Array(_), Some("None")) => vec![0],
        (Kind::Text | Kind::Bytes | Kind::Array(_), None) => vec![1],
        (Kind::Bool, None) => vec![0],
        (Kind::Int16, None) => vec![0; 2],
        (Kind::Int32, default) => default.map_or(0, |text| text.parse::<i32>().unwrap()).to_be_bytes().into(),
        (Kind::Int64, Some("i64::MAX")) => i64::MAX.to_be_bytes().into(),
        (Kind::Int64, default) => default.map_or(0, |text| text.parse::<i64>().unwrap()).to_be_bytes().into(),
        (Kind::Uuid, None) => vec![0; 16],
        (Kind::Structure(structure), None) => {
            let fields = structure.fields.iter().filter(|field| field.versions.contains(version));
            let mut bytes: Vec<u8> = fields.flat_map(|field| default(field, version)).collect();
            bytes.push(0);
            bytes
        }
        (kind, default) => panic!("a tagged {kind:?} with default {default:?} is new"),
    }
}

fn unsigned(mut number: u32, out: &mut Vec<u8>) {
    while number > 127 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

//! The macro nodes in which Redis keeps a stream's entries.
//!
//! Trimming with `~` removes whole nodes only, and XINFO counts them; so the model has to know
//! where Redis would begin a new one: after 100 entries, or where 4,096 bytes would be passed.
//! Bytes are those of a listpack: a header, and for each element its encoding and its length
//! again, for walking backwards.

use std::collections::VecDeque;

use bytes::Bytes;
use tidegate_core::SeqNo;

/// Redis's own `stream-node-max-entries`.
const ENTRIES: u64 = 100;
/// Redis's own `stream-node-max-bytes`.
const BYTES: usize = 4096;

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Pack {
    /// The first entry that was put in; the node's key.
    pub(crate) first: SeqNo,
    /// The last one that was put in.
    pub(crate) last: SeqNo,
    pub(crate) live: u64,
    pub(crate) dead: u64,
    /// Where ids went back within the node, by XSETID: the first entry behind, and the last one
    /// before, which had been deleted.
    back: Vec<(SeqNo, SeqNo)>,
    bytes: usize,
    /// Entries with the same names don't repeat them.
    names: Vec<Bytes>,
}

impl Pack {
    /// Where trimming what is before `id` ends: there, or at a deleted entry that isn't before it.
    pub(crate) fn end_of_trim(&self, id: SeqNo) -> SeqNo {
        self.back.iter().find(|(_, last)| *last >= id).map_or(id, |(behind, _)| id.min(*behind))
    }
}

/// All nodes of a stream, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packs(VecDeque<Pack>);

impl Packs {
    /// An entry came, later than all others. `fields` are its names and values in turn.
    pub(crate) fn append<'a>(&mut self, id: SeqNo, fields: impl Iterator<Item = &'a [u8]> + Clone) {
        let plain: usize = fields.clone().map(<[u8]>::len).sum();
        let names = fields.clone().step_by(2);
        let count = names.clone().count() as i64;
        let full =
            self.0.back().is_none_or(|pack| pack.bytes + plain >= BYTES || pack.live + pack.dead >= ENTRIES);
        if full {
            // Header, end, the counts of live and dead ones, the names with their number, a zero.
            let bytes = 7 + 2 + 2 + of_int(count) + names.clone().map(of_text).sum::<usize>() + 2;
            let names = names.clone().map(Bytes::copy_from_slice).collect();
            self.0.push_back(Pack { first: id, last: id, live: 0, dead: 0, back: Vec::new(), bytes, names });
        }
        let Some(pack) = self.0.back_mut() else { return };
        let same = names.clone().eq(pack.names.iter().map(|name| &name[..]));
        let values: usize = fields.clone().skip(1).step_by(2).map(of_text).sum();
        let millis = id.high().wrapping_sub(pack.first.high()) as i64;
        let counter = id.low().wrapping_sub(pack.first.low()) as i64;
        // Flags, the id as a difference, names unless they are the same, values, and how many
        // elements that is.
        pack.bytes += 2 + of_int(millis) + of_int(counter) + values;
        pack.bytes += if same {
            of_int(count + 3)
        } else {
            of_int(count) + names.map(of_text).sum::<usize>() + of_int(2 * count + 4)
        };
        pack.live += 1;
        if id < pack.last {
            pack.back.push((id, pack.last));
        }
        pack.last = id;
    }

    /// An entry that was there was deleted.
    pub(crate) fn remove(&mut self, id: SeqNo) {
        let at = self.0.partition_point(|pack| pack.first <= id).saturating_sub(1);
        if let Some(pack) = self.0.get_mut(at) {
            pack.live -= 1;
            pack.dead += 1;
            if pack.live == 0 {
                self.0.remove(at);
            }
        }
    }

    pub(crate) fn front(&mut self) -> Option<&mut Pack> {
        self.0.front_mut()
    }

    pub(crate) fn pop_front(&mut self) {
        self.0.pop_front();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Live entries in all nodes together.
    pub(crate) fn live(&self) -> u64 {
        self.0.iter().map(|pack| pack.live).sum()
    }

    /// How many nodes a radix tree with compressed chains has that holds their keys.
    pub(crate) fn tree_nodes(&self) -> usize {
        let keys: Vec<[u8; 16]> = self
            .0
            .iter()
            .map(|pack| (u128::from(pack.first.high()) << 64 | u128::from(pack.first.low())).to_be_bytes())
            .collect();
        nodes_below(&keys, 0)
    }
}

/// `keys` are in order and agree in their first `depth` bytes.
fn nodes_below(keys: &[[u8; 16]], depth: usize) -> usize {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return 1;
    };
    // In order: what the outer two share is shared by all.
    let shared = first.iter().zip(last).skip(depth).take_while(|(one, other)| one == other).count();
    if shared > 0 {
        return 1 + if depth + shared == 16 { 1 } else { nodes_below(keys, depth + shared) };
    }
    // A node that branches, and what is below each of its bytes.
    1 + keys
        .chunk_by(|one, other| one[depth] == other[depth])
        .map(|part| if depth == 15 { 1 } else { nodes_below(part, depth + 1) })
        .sum::<usize>()
}

fn of_int(value: i64) -> usize {
    match value {
        0..=127 => 2,
        -4096..=4095 => 3,
        -32_768..=32_767 => 4,
        -8_388_608..=8_388_607 => 5,
        -2_147_483_648..=2_147_483_647 => 6,
        _ => 10,
    }
}

fn of_text(text: &[u8]) -> usize {
    if text.len() <= 20
        && let Some(value) = crate::redis::args::parse_int(text)
    {
        return of_int(value);
    }
    let encoded = text.len()
        + match text.len() {
            0..64 => 1,
            64..4096 => 2,
            _ => 5,
        };
    encoded
        + match encoded {
            0..=127 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        }
}

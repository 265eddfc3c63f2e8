//! Bringing leaves back across the blocks of a group, where a block alone cannot.
//!
//! A lost leaf needs one leaf of each other block of its group, at its own place: so much is read of a block that is lost, and no
//! more. Where that is not enough either, the column is decoded inside and across in turn, as far as it goes
//! ([`GroupDamage`](crate::plan::GroupDamage) says how far that is). What comes out is compared with its hash like everything else;
//! leaf tables that are gone with their blocks come out of outer parity, too, and their digests prove them.
//!
//! Kept are the leaves that were brought back, of a few columns: whoever brings several blocks back reads the others once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{BlockReader, decoding::choices, sums::Proving};
use crate::{
    archive::observer::{DamageKind, DamagePart},
    codec::OuterDecoder,
    geometry::GroupGeometry,
    merkle::LeafTable,
    plan::ColumnSet,
    units::{BlockIndex, ColumnIndex, LeafLen, ShardIndex, to_u64, to_usize},
};

/// Bytes of leaves that are kept when whole blocks are lost, but for one column or more.
const MOST_KEPT_LEN_BYTES: u64 = 64 << 20;

/// Choices of outer parity that are left out, where some of it is wrong.
const MOST_CHOICES: usize = 64;

/// The blocks of one group.
pub(in crate::archive) struct GroupReader {
    group: GroupGeometry,
    leaf: LeafLen,
    /// In the order of the code across the group.
    blocks: Vec<BlockReader>,
    columns: Mutex<BTreeMap<ColumnIndex, Arc<Mutex<Column>>>>,
    /// Blocks that something was missing of last.
    lost_before: Mutex<BTreeSet<u16>>,
    /// Held while tables are looked for.
    pub(super) tables: Mutex<Tables>,
    /// Columns whose damage somebody was told of.
    told: Mutex<BTreeSet<ColumnIndex>>,
    pub(super) proving: Mutex<Proving>,
}

/// What proves a leaf that was brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) enum Proof {
    /// It matches its hash.
    Leaf,
    /// It is of outer parity whose table is gone: the digest of its whole shard alone can tell.
    DigestAlone,
}

/// One column of all blocks.
#[derive(Default)]
pub(super) struct Column {
    /// Leaves that were brought back, by position and shard.
    restored: BTreeMap<(usize, ShardIndex), Vec<u8>>,
    /// Leaves of outer parity that came out of right ones and have no table.
    unproven: BTreeMap<(usize, ShardIndex), Vec<u8>>,
    /// Places at which it has been tried across.
    tried: BTreeSet<ShardIndex>,
    /// Everything was tried.
    is_settled: bool,
}

/// What decoding one place across the blocks has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Attempt {
    /// Nothing was missing, or too much.
    NotPossible,
    /// What came out is known already, or cannot be proven.
    Nothing,
    News,
    /// Leaves of the file do not match their hashes.
    Contradiction,
}

#[derive(Default)]
pub(super) struct Tables {
    pub(super) tried: BTreeSet<ShardIndex>,
    pub(super) is_settled: bool,
    /// The columns of outer parity that hold parity of tables.
    pub(super) columns: Vec<Column>,
}

impl GroupReader {
    /// Makes one of all blocks of a group, in order.
    pub(super) fn new(group: GroupGeometry, blocks: Vec<BlockReader>) -> Self {
        assert_eq!(
            blocks.len(),
            usize::from(group.code().total()),
            "a group has every block"
        );
        let leaf = blocks[0].geometry().leaf();
        Self {
            group,
            leaf,
            blocks,
            columns: Mutex::default(),
            lost_before: Mutex::default(),
            told: Mutex::default(),
            proving: Mutex::default(),
            tables: Mutex::new(Tables {
                columns: group.table_columns(leaf).map(|_| Column::default()).collect(),
                ..Tables::default()
            }),
        }
    }

    pub(in crate::archive) const fn group(&self) -> &GroupGeometry {
        &self.group
    }

    pub(super) const fn leaf_len(&self) -> LeafLen {
        self.leaf
    }

    pub(super) fn blocks(&self) -> &[BlockReader] {
        &self.blocks
    }

    /// Brings back the leaf of a data shard; says whether it could be, and is proven.
    pub(super) fn recover(
        &self,
        block: BlockIndex,
        place: (ShardIndex, ColumnIndex),
        into: &mut [u8],
    ) -> Option<Proof> {
        self.with_proof(|| self.recover_once(block, place, into))
    }

    /// Does the same without making tables of outer parity again.
    pub(super) fn recover_once(
        &self,
        block: BlockIndex,
        (shard, column): (ShardIndex, ColumnIndex),
        into: &mut [u8],
    ) -> Option<Proof> {
        let position = self.group.position(block).as_usize();
        self.find_table(position, shard);
        let kept = self.column(column);
        let mut kept = locked(&kept);
        let place = (position, shard);
        if !kept.restored.contains_key(&place) && kept.tried.insert(shard) {
            self.across((shard, column), &mut kept);
        }
        // Its block alone may have it, with tables that nobody but the group knows of.
        let mut found = self.leaf(position, (shard, column), &kept);
        if found.is_none() && !kept.is_settled {
            self.settle(column, &mut kept);
            found = self.leaf(position, (shard, column), &kept);
        }
        let found = found.map(|bytes| (bytes, Proof::Leaf));
        let unproven = || Some((kept.unproven.get(&place)?.clone(), Proof::DigestAlone));
        let (bytes, proof) = found.or_else(unproven)?;
        into.copy_from_slice(&bytes);
        Some(proof)
    }

    /// Says whether nobody was told of the damage in a column yet; from now on somebody was.
    pub(super) fn is_news(&self, column: ColumnIndex) -> bool {
        locked(&self.told).insert(column)
    }

    /// Returns the leaf table of a data shard, also where only outer parity has it.
    pub(super) fn table(&self, block: BlockIndex, shard: ShardIndex) -> Option<LeafTable> {
        let position = self.group.position(block).as_usize();
        self.with_proof(|| {
            self.find_table(position, shard);
            self.blocks[position].table(shard, &()).cloned()
        })
    }

    /// Forgets that something could not be had: there are tables that were not there before.
    pub(super) fn try_again(&self) {
        // Under the lock of the tables, so that nobody settles a new column with what they were.
        let mut tables = locked(&self.tables);
        tables.tried.clear();
        tables.is_settled = false;
        locked(&self.columns).clear();
    }

    fn column(&self, column: ColumnIndex) -> Arc<Mutex<Column>> {
        let mut columns = locked(&self.columns);
        if !columns.contains_key(&column) && columns.len() >= self.most_columns() {
            // Whoever goes through a block comes to the lowest first.
            columns.pop_first();
            // Blocks keep what was decoded beside a leaf until somebody reads it, which nobody does any more.
            let is_kept = |other: ColumnIndex| other == column || columns.contains_key(&other);
            self.blocks.iter().for_each(|block| block.forget_decoded(is_kept));
        }
        Arc::clone(columns.entry(column).or_default())
    }

    /// Returns of how many columns leaves are kept; workers are in different ones.
    fn most_columns(&self) -> usize {
        let (code, shape) = (self.group.code(), self.blocks[0].geometry().shape());
        let of_column = u64::from(code.parity()) * u64::from(shape.data()) * self.leaf.bytes();
        to_usize(MOST_KEPT_LEN_BYTES / of_column).max(1)
    }

    /// Returns a leaf that is right: as it stands, from its own block, or as it was brought back. The empty slice for one that is
    /// absent.
    pub(super) fn leaf(
        &self,
        position: usize,
        (shard, column): (ShardIndex, ColumnIndex),
        kept: &Column,
    ) -> Option<Vec<u8>> {
        let block = &self.blocks[position];
        if column.get() >= self.group.columns() && position < usize::from(self.group.code().data()) {
            return self.table_part(position, (shard, column));
        }
        let Some(range) = block.geometry().leaf_range(shard, column) else {
            return Some(Vec::new());
        };
        if let Some(bytes) = kept.restored.get(&(position, shard)) {
            return Some(bytes.clone());
        }
        let mut bytes = vec![0; to_usize(range.len())];
        let run = column.get()..column.get() + 1;
        block.read_run(shard, run, &mut bytes, &()).ok().map(|()| bytes)
    }

    /// Decodes one place of all blocks from outer parity, and keeps what matches its hash.
    ///
    /// Leaves of the file that do not match theirs were decoded from outer parity that was summed up wrongly: then it is done without
    /// one block of that, and another, until they do.
    fn across(&self, place: (ShardIndex, ColumnIndex), kept: &mut Column) {
        let (data, total) = (self.group.code().data(), self.group.code().total());
        let parity: Vec<usize> = (usize::from(data)..usize::from(total)).collect();
        let attempts = (0..=parity.len()).flat_map(|count| choices(&parity, count));
        for left_out in attempts.take(MOST_CHOICES) {
            match self.attempt(place, &left_out, kept) {
                Attempt::Contradiction => {}
                Attempt::NotPossible if !left_out.is_empty() => {}
                Attempt::News => return self.blame(place, &left_out),
                Attempt::Nothing | Attempt::NotPossible => return,
            }
        }
    }

    /// Tells that outer parity is wrong which others had to be decoded without.
    fn blame(&self, (shard, column): (ShardIndex, ColumnIndex), wrong: &[usize]) {
        let mut columns = ColumnSet::default();
        columns.insert(column);
        for position in wrong {
            let fault = (DamagePart::Payload, DamageKind::Encoding);
            self.blocks[*position].report(shard, fault, &columns, &());
        }
    }

    /// Decodes one place of all blocks once, without some of outer parity.
    fn attempt(
        &self,
        (shard, column): (ShardIndex, ColumnIndex),
        left_out: &[usize],
        kept: &mut Column,
    ) -> Attempt {
        let leaf = |position: usize| {
            (!left_out.contains(&position))
                .then(|| self.leaf(position, (shard, column), kept))
                .flatten()
        };
        let slice_len = to_usize(self.leaf.bytes());
        let Some(decoded) = self.decode_across(slice_len, leaf) else {
            return Attempt::NotPossible;
        };
        let mut attempt = Attempt::Nothing;
        for (position, mut bytes) in decoded {
            let block = &self.blocks[position];
            let Some(range) = block.geometry().leaf_range(shard, column) else {
                continue;
            };
            bytes.truncate(to_usize(range.len()));
            match block.table(shard, &()) {
                Some(table) if table.get(column) == Some(&block.hash(shard, column, &bytes)) => {
                    if kept.restored.insert((position, shard), bytes).is_none() {
                        attempt = attempt.max(Attempt::News);
                    }
                }
                None if block.geometry().is_outer_parity() => {
                    kept.unproven.insert((position, shard), bytes);
                }
                Some(_) if !block.geometry().is_outer_parity() => attempt = Attempt::Contradiction,
                Some(_) | None => {}
            }
        }
        attempt
    }

    /// Decodes what is missing of a code word across the group, one slice of each block; `None` when nothing is, or too much.
    ///
    /// Slices go by one after another: no more of them are held than are missing. Which those are has to be known before, so it begins
    /// with what was missing last, and begins again where that was not all; what was not missing at all is decoded for nothing.
    pub(super) fn decode_across(
        &self,
        slice_len: usize,
        slice: impl Fn(usize) -> Option<Vec<u8>>,
    ) -> Option<Vec<(usize, Vec<u8>)>> {
        let code = self.group.code();
        let most = usize::from(code.parity());
        let is_missing = |position: &u16| slice(usize::from(*position)).is_none();
        let mut lost = locked(&self.lost_before).clone();
        let mut is_exact = false;
        'again: loop {
            if lost.is_empty() || lost.len() > most {
                if is_exact {
                    return None;
                }
                lost = (0..code.total()).filter(is_missing).take(most + 1).collect();
                is_exact = true;
                continue;
            }
            let positions: Vec<u16> = lost.iter().copied().collect();
            let mut decoder = OuterDecoder::new(code, &positions).ok()?;
            decoder.begin(slice_len);
            // Also outer parity that is not needed now: where it is gone, whoever asks wants it back.
            for position in (0..code.total()).filter(|position| !positions.contains(position)) {
                let Some(bytes) = slice(usize::from(position)) else {
                    lost.insert(position);
                    continue 'again;
                };
                if decoder.is_needed(position) {
                    decoder.add(position, &bytes);
                }
            }
            let mut decoded = Vec::with_capacity(positions.len());
            decoder.finish(|position, bytes| decoded.push((usize::from(position), bytes.to_vec())));
            *locked(&self.lost_before) = lost;
            return Some(decoded);
        }
    }

    /// Decodes a column inside and across in turn, until that gives nothing more.
    fn settle(&self, column: ColumnIndex, kept: &mut Column) {
        self.settle_tables();
        // Those that were helped before, and those that are to be.
        let mut beyond: BTreeSet<usize> = kept.restored.keys().map(|(position, _)| *position).collect();
        let mut open: Vec<usize> = (0..self.blocks.len()).collect();
        let mut has_news = self.decode_once(column, kept, &mut open);
        beyond.extend(&open);
        while has_news {
            has_news = self.decode_once(column, kept, &mut open);
        }
        // What a block decodes alone nobody asks its group for.
        kept.restored.retain(|(position, _), _| beyond.contains(position));
        kept.is_settled = true;
    }

    /// Decodes a column of the `open` blocks once, then across every place at which something of them is lacking; leaves those open of
    /// which something was. Says whether that is anything new.
    pub(super) fn decode_once(&self, column: ColumnIndex, kept: &mut Column, open: &mut Vec<usize>) -> bool {
        let before = kept.restored.len();
        let mut places = BTreeSet::new();
        open.retain(|position| {
            let lacking = self.inside(*position, column, kept);
            places.extend(lacking.iter().copied());
            !lacking.is_empty()
        });
        for shard in places {
            self.across((shard, column), kept);
        }
        kept.restored.len() > before
    }

    pub(super) fn data_shards(&self) -> Vec<ShardIndex> {
        let data = self.blocks[0].geometry().shape().data();
        (0..data).map(ShardIndex::new).collect()
    }

    /// Decodes a column of one block with the leaves that were brought back; returns the data shards of which it is lacking still.
    fn inside(&self, position: usize, column: ColumnIndex, kept: &mut Column) -> Vec<ShardIndex> {
        let block = &self.blocks[position];
        let geometry = block.geometry();
        if column.get() >= geometry.column_count() {
            return Vec::new();
        }
        let slices: Vec<Option<Vec<u8>>> = geometry
            .shards()
            .map(|shard| match kept.restored.get(&(position, shard)) {
                Some(bytes) => Some(bytes.clone()),
                None => block.column_slice(shard, column, &()),
            })
            .collect();
        let present: Vec<Option<&[u8]>> = slices.iter().map(Option::as_deref).collect();
        if present.iter().all(Option::is_some) {
            return Vec::new();
        }
        let mut decoder = block.take_decoder();
        let restored = block.decode_column(&mut decoder, column, &present, &());
        block.give_decoder(decoder);
        for leaf in restored.into_iter().filter(|leaf| leaf.is_proven) {
            kept.restored.insert((position, leaf.shard), leaf.bytes);
        }
        let data = self.data_shards().into_iter().zip(&present);
        data.filter(|(shard, leaf)| leaf.is_none() && !kept.restored.contains_key(&(position, *shard)))
            .map(|(shard, _)| shard)
            .collect()
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl core::fmt::Debug for GroupReader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GroupReader")
            .field("group", &self.group)
            .field("blocks", &to_u64(self.blocks.len()))
            .finish_non_exhaustive()
    }
}

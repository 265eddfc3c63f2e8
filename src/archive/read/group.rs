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

use super::BlockReader;
use crate::{
    codec::OuterDecoder,
    geometry::GroupGeometry,
    merkle::{HASH_LEN_BYTES, LeafTable},
    units::{BlockIndex, ColumnIndex, LeafLen, ShardIndex, to_u64, to_usize},
};

/// Bytes of leaves that are kept when whole blocks are lost, but for one column or more.
const MOST_KEPT_LEN_BYTES: u64 = 64 << 20;

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
    tables: Mutex<Tables>,
    /// Columns whose damage somebody was told of.
    told: Mutex<BTreeSet<ColumnIndex>>,
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
struct Column {
    /// Leaves that were brought back, by position and shard.
    restored: BTreeMap<(usize, ShardIndex), Vec<u8>>,
    /// Leaves of outer parity that came out of right ones and have no table.
    unproven: BTreeMap<(usize, ShardIndex), Vec<u8>>,
    /// Places at which it has been tried across.
    tried: BTreeSet<ShardIndex>,
    /// Everything was tried.
    is_settled: bool,
}

#[derive(Default)]
struct Tables {
    tried: BTreeSet<ShardIndex>,
    is_settled: bool,
    /// The columns of outer parity that hold parity of tables.
    columns: Vec<Column>,
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
            tables: Mutex::new(Tables {
                columns: group.table_columns(leaf).map(|_| Column::default()).collect(),
                ..Tables::default()
            }),
        }
    }

    pub(super) const fn group(&self) -> &GroupGeometry {
        &self.group
    }

    pub(super) fn blocks(&self) -> &[BlockReader] {
        &self.blocks
    }

    /// Brings back the leaf of a data shard; says whether it could be, and is proven.
    pub(super) fn recover(
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
        if !kept.restored.contains_key(&place) && !kept.is_settled {
            self.settle(column, &mut kept);
        }
        let proven = kept.restored.get(&place).map(|bytes| (bytes, Proof::Leaf));
        let (bytes, proof) = proven.or_else(|| Some((kept.unproven.get(&place)?, Proof::DigestAlone)))?;
        into.copy_from_slice(bytes);
        Some(proof)
    }

    /// Says whether nobody was told of the damage in a column yet; from now on somebody was.
    pub(super) fn is_news(&self, column: ColumnIndex) -> bool {
        locked(&self.told).insert(column)
    }

    /// Returns the leaf table of a data shard, also where only outer parity has it.
    pub(super) fn table(&self, block: BlockIndex, shard: ShardIndex) -> Option<LeafTable> {
        let position = self.group.position(block).as_usize();
        self.find_table(position, shard);
        self.blocks[position].table(shard, &()).cloned()
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
    fn leaf(
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

    /// Returns what a block of the file has where outer parity has parity of leaf tables: a part of a table, or nothing where there
    /// is no shard.
    fn table_part(&self, position: usize, (shard, column): (ShardIndex, ColumnIndex)) -> Option<Vec<u8>> {
        let block = &self.blocks[position];
        if !block.geometry().is_present(shard) {
            return Some(Vec::new());
        }
        let table = block.table(shard, &())?.to_bytes();
        let leaf_len = to_usize(self.leaf.bytes());
        let start = to_usize(u64::from(column.get() - self.group.columns())) * leaf_len;
        Some(table[start.min(table.len())..(start + leaf_len).min(table.len())].to_vec())
    }

    /// Decodes one place of all blocks from outer parity, and keeps what matches its hash. Says whether that is anything new.
    fn across(&self, (shard, column): (ShardIndex, ColumnIndex), kept: &mut Column) -> bool {
        let leaf = |position: usize| self.leaf(position, (shard, column), kept);
        let slice_len = to_usize(self.leaf.bytes());
        let Some(decoded) = self.decode_across(slice_len, leaf) else {
            return false;
        };
        let mut has_news = false;
        for (position, mut bytes) in decoded {
            let block = &self.blocks[position];
            let Some(range) = block.geometry().leaf_range(shard, column) else {
                continue;
            };
            bytes.truncate(to_usize(range.len()));
            match block.table(shard, &()) {
                Some(table) if table.get(column) == Some(&block.hash(shard, column, &bytes)) => {
                    has_news |= kept.restored.insert((position, shard), bytes).is_none();
                }
                None if block.geometry().is_outer_parity() => {
                    kept.unproven.insert((position, shard), bytes);
                }
                Some(_) | None => {}
            }
        }
        has_news
    }

    /// Decodes what is missing of a code word across the group, one slice of each block; `None` when nothing is, or too much.
    ///
    /// Slices go by one after another: no more of them are held than are missing. Which those are has to be known before, so it begins
    /// with what was missing last, and begins again where that was not all; what was not missing at all is decoded for nothing.
    fn decode_across(
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
        while self.decode_once(column, kept) {}
        kept.is_settled = true;
    }

    /// Decodes a column of every block once, then every place of it across; says whether that is anything new.
    fn decode_once(&self, column: ColumnIndex, kept: &mut Column) -> bool {
        let before = kept.restored.len();
        for position in 0..self.blocks.len() {
            self.inside(position, column, kept);
        }
        for shard in self.data_shards() {
            self.across((shard, column), kept);
        }
        kept.restored.len() > before
    }

    fn data_shards(&self) -> Vec<ShardIndex> {
        let data = self.blocks[0].geometry().shape().data();
        (0..data).map(ShardIndex::new).collect()
    }

    /// Decodes a column of one block with the leaves that were brought back.
    fn inside(&self, position: usize, column: ColumnIndex, kept: &mut Column) {
        let block = &self.blocks[position];
        let geometry = block.geometry();
        if column.get() >= geometry.column_count() {
            return;
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
            return;
        }
        let mut decoder = block.take_decoder();
        let restored = block.decode_column(&mut decoder, column, &present, &());
        block.give_decoder(decoder);
        for leaf in restored.into_iter().filter(|leaf| leaf.is_proven) {
            kept.restored.insert((position, leaf.shard), leaf.bytes);
        }
    }

    /// Finds the leaf table of a data shard, if need be across the group.
    fn find_table(&self, position: usize, shard: ShardIndex) {
        if self.blocks[position].table(shard, &()).is_some() {
            return;
        }
        let mut tables = locked(&self.tables);
        if tables.is_settled || self.blocks[position].has_table(shard) {
            return;
        }
        if tables.tried.insert(shard) {
            self.tables_across(shard, &tables.columns);
        }
        drop(tables);
        if !self.blocks[position].has_table(shard) {
            self.settle_tables();
        }
    }

    /// Finds all leaf tables that can be had.
    fn settle_tables(&self) {
        let mut tables = locked(&self.tables);
        if std::mem::replace(&mut tables.is_settled, true) {
            return;
        }
        let shards = self.data_shards();
        loop {
            let mut has_news = false;
            for shard in &shards {
                has_news |= self.tables_across(*shard, &tables.columns);
            }
            for block in &self.blocks {
                for shard in &shards {
                    let is_lacking = block.geometry().is_present(*shard) && !block.has_table(*shard);
                    has_news |= is_lacking && block.decode_table_again(*shard);
                }
            }
            for (column, kept) in (self.group.columns()..)
                .map(ColumnIndex::new)
                .zip(&mut tables.columns)
            {
                has_news |= self.decode_once(column, kept);
            }
            if !has_news {
                return;
            }
        }
    }

    /// Decodes the leaf tables of all blocks at one shard from outer parity; says whether that is anything new.
    fn tables_across(&self, shard: ShardIndex, columns: &[Column]) -> bool {
        if !self.group.has_tables() {
            return false;
        }
        let data = usize::from(self.group.code().data());
        let leaf_len = to_usize(self.leaf.bytes());
        let is_lacking = |position: &usize| {
            let block = &self.blocks[*position];
            block.geometry().is_present(shard) && block.table(shard, &()).is_none()
        };
        let lacking: Vec<usize> = (0..data).filter(is_lacking).collect();
        if lacking.is_empty() || lacking.len() > usize::from(self.group.code().parity()) {
            return false;
        }
        let mut found: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for (column, kept) in (self.group.columns()..).map(ColumnIndex::new).zip(columns) {
            let slice = |position: usize| self.leaf(position, (shard, column), kept);
            let Some(decoded) = self.decode_across(leaf_len, slice) else {
                return false;
            };
            for (position, bytes) in decoded {
                found.entry(position).or_default().extend(bytes);
            }
        }
        let mut has_news = false;
        for position in lacking {
            let block = &self.blocks[position];
            let entries = to_usize(u64::from(block.geometry().leaf_count(shard)));
            let table = found.get(&position).and_then(|bytes| {
                let digest = block.shard(shard)?.digest;
                LeafTable::parse_verified(bytes.get(..entries * HASH_LEN_BYTES)?, entries, &digest)
            });
            has_news |= table.is_some_and(|table| block.learn_table(shard, table));
        }
        has_news
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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

//! What is missing of one column slice.

use super::{
    ColumnEncoder, GROUP_LEN_BYTES, add, assert_slice_len, copy_padded,
    matrix::{Element, Multiplier, ParityMatrix},
};
use crate::{
    error::DecodeError,
    units::{CodeShape, ShardIndex},
};
use core::{fmt, iter::zip};
use reed_solomon_simd::{
    engine::DefaultEngine,
    rate::{HighRateDecoder, RateDecoder as _},
};

/// Most missing data shards that are solved for; beyond, the general decoder takes over.
///
/// Solving takes an encode and one multiplication of a slice per pair of missing shards, the general decoder two
/// transforms over all shards and a fixed cost per call. At one to three losses solving is five times as fast.
const MAX_SOLVED: usize = 16;

/// Restores the missing shards of one column slice after another.
///
/// Few losses, which is what happens, are solved for: the survivors are encoded, the difference to the parity that is
/// there depends on the missing shards alone, and as many equations as unknowns give them. Holds one slice for each parity
/// shard and one for each missing data shard.
pub struct ColumnDecoder {
    shape: CodeShape,
    method: Method,
}

enum Method {
    /// Replication: any shard is the data, filled up with zeros here.
    Copy {
        padded: Vec<u8>,
    },
    Solve(Box<Solver>),
}

/// Which missing shards are handed out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Data,
    DataAndParity,
}

impl ColumnDecoder {
    /// Returns a decoder of `shape`; working space comes with the first slice.
    pub fn new(shape: CodeShape) -> Self {
        let method = if shape.is_replication() {
            Method::Copy { padded: Vec::new() }
        } else {
            Method::Solve(Box::new(Solver::new(shape)))
        };
        Self { shape, method }
    }

    /// Returns the shape of the code.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Restores the missing **data** shards of one column slice of `slice_len` bytes, a positive multiple of 64.
    ///
    /// `present` holds all `k + m` shards in shard order: `None` is a missing one, `Some` a **verified** slice of at most
    /// `slice_len` bytes. A shorter one counts as filled up with zeros; a data shard that is known to be zero is
    /// `Some(&[])`, never missing. `restored` gets each missing data shard once, in shard order, `slice_len` bytes with
    /// the zeros that fill it up.
    ///
    /// # Errors
    /// [`DecodeError::TooFewShards`] when fewer than `k` shards are present. Nothing is handed out then, not even where
    /// only parity is missing.
    ///
    /// # Panics
    /// When counts or lengths are not as described.
    pub fn decode(
        &mut self,
        slice_len: usize,
        present: &[Option<&[u8]>],
        mut restored: impl FnMut(ShardIndex, &[u8]),
    ) -> Result<(), DecodeError> {
        self.restore(Wanted::Data, slice_len, present, &mut restored)
    }

    /// Restores **all** missing shards, data first and then parity; otherwise like [`Self::decode`].
    ///
    /// Parity comes out of the same pass: it costs no second encode unless very many shards are missing.
    ///
    /// # Errors
    /// [`DecodeError::TooFewShards`] when fewer than `k` shards are present. Nothing is handed out then.
    ///
    /// # Panics
    /// When counts or lengths are not as described.
    pub fn reconstruct(
        &mut self,
        slice_len: usize,
        present: &[Option<&[u8]>],
        mut restored: impl FnMut(ShardIndex, &[u8]),
    ) -> Result<(), DecodeError> {
        self.restore(Wanted::DataAndParity, slice_len, present, &mut restored)
    }

    fn restore(
        &mut self,
        wanted: Wanted,
        slice_len: usize,
        present: &[Option<&[u8]>],
        restored: &mut dyn FnMut(ShardIndex, &[u8]),
    ) -> Result<(), DecodeError> {
        assert_slice_len(slice_len);
        assert_eq!(
            present.len(),
            usize::from(self.shape.total()),
            "one entry for every shard"
        );
        assert!(
            present.iter().flatten().all(|bytes| bytes.len() <= slice_len),
            "a shard is longer than the column slice"
        );
        let present_count = present.iter().flatten().count();
        let needed = self.shape.data();
        if present_count < usize::from(needed) {
            let present = u16::try_from(present_count).expect("shards are counted in 16 bits");
            return Err(DecodeError::TooFewShards { present, needed });
        }
        match &mut self.method {
            Method::Copy { padded } => {
                let whole = present.iter().flatten().next().expect("one shard is present");
                padded.resize(slice_len, 0);
                copy_padded(padded, whole);
                let wanted_count = match wanted {
                    Wanted::Data => self.shape.data(),
                    Wanted::DataAndParity => self.shape.total(),
                };
                for (shard, _) in (0..wanted_count)
                    .zip(present)
                    .filter(|(_, bytes)| bytes.is_none())
                {
                    restored(ShardIndex::new(shard), padded);
                }
            }
            Method::Solve(solver) => solver.restore(wanted, slice_len, present, restored),
        }
        Ok(())
    }
}

impl fmt::Debug for ColumnDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnDecoder")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Both ways of decoding a code that is no replication, and their working space.
struct Solver {
    shape: CodeShape,
    matrix: ParityMatrix,
    encoder: ColumnEncoder,
    multiplier: Multiplier,
    /// Missing data shards, the unknowns.
    lost: Vec<usize>,
    /// As many parity rows that are present, the equations.
    rows: Vec<usize>,
    /// Matrix part of `rows` and `lost`, and beside it its inverse.
    inverse: Vec<Element>,
    /// `m` slices: parity of the survivors alone, and in `rows` its difference to the parity that is there.
    parity: Vec<u8>,
    /// A slice for every one of `lost`.
    data: Vec<u8>,
    /// The general decoder, once it was needed, and the slice length that it is laid out for.
    general: Option<(HighRateDecoder<DefaultEngine>, usize)>,
}

impl Solver {
    fn new(shape: CodeShape) -> Self {
        Self {
            shape,
            matrix: ParityMatrix::of(shape),
            encoder: ColumnEncoder::new(shape),
            multiplier: Multiplier::new(),
            lost: Vec::new(),
            rows: Vec::new(),
            inverse: Vec::new(),
            parity: Vec::new(),
            data: Vec::new(),
            general: None,
        }
    }

    fn restore(
        &mut self,
        wanted: Wanted,
        slice_len: usize,
        present: &[Option<&[u8]>],
        restored: &mut dyn FnMut(ShardIndex, &[u8]),
    ) {
        let (data, parity) = present.split_at(usize::from(self.shape.data()));
        self.lost.clear();
        self.lost
            .extend((0..data.len()).filter(|&column| data[column].is_none()));
        self.rows.clear();
        self.rows.extend(
            (0..parity.len())
                .filter(|&row| parity[row].is_some())
                .take(self.lost.len()),
        );
        assert_eq!(
            self.rows.len(),
            self.lost.len(),
            "k present shards make an equation for every unknown"
        );

        let missing_parity = match wanted {
            Wanted::Data => &[],
            Wanted::DataAndParity => parity,
        };
        if self.lost.is_empty() && missing_parity.iter().all(Option::is_some) {
            return;
        }
        self.data.clear();
        self.data.resize(self.lost.len() * slice_len, 0);
        self.parity.resize(parity.len() * slice_len, 0);
        if self.lost.len() <= MAX_SOLVED {
            self.encode_survivors(slice_len, data, parity);
            self.solve(slice_len);
            self.complete_parity(slice_len, missing_parity);
        } else {
            self.decode_generally(slice_len, data, parity);
            if missing_parity.iter().any(Option::is_none) {
                self.encode_restored(slice_len, data);
            }
        }

        let shard =
            |index: usize| ShardIndex::new(u16::try_from(index).expect("shards are counted in 16 bits"));
        for (&column, bytes) in zip(&self.lost, self.data.chunks_exact(slice_len)) {
            restored(shard(column), bytes);
        }
        for (row, (there, bytes)) in zip(missing_parity, self.parity.chunks_exact(slice_len)).enumerate() {
            if there.is_none() {
                restored(shard(data.len() + row), bytes);
            }
        }
    }

    /// Fills `parity`: the parity of the survivors, in `rows` less the parity that is there.
    fn encode_survivors(&mut self, slice_len: usize, data: &[Option<&[u8]>], parity: &[Option<&[u8]>]) {
        let Self {
            encoder,
            rows,
            parity: sums,
            ..
        } = self;
        let survivor = |position: usize| data[position].unwrap_or(&[]);
        encoder.encode_each(slice_len, survivor, |row, start, bytes| {
            let sum = &mut sums[row * slice_len + start..][..bytes.len()];
            sum.copy_from_slice(bytes);
            if rows.contains(&row) {
                let stored = parity[row].unwrap_or(&[]);
                let end = stored.len().min(start + bytes.len());
                add(sum, &stored[start.min(end)..end]);
            }
        });
    }

    /// Solves for the missing data: every one is a sum of multiples of the differences in `rows`.
    fn solve(&mut self, slice_len: usize) {
        self.matrix.invert_part(&self.rows, &self.lost, &mut self.inverse);
        let lost_count = self.lost.len();
        for (i, target) in self.data.chunks_exact_mut(slice_len).enumerate() {
            let factors = &self.inverse[(2 * i + 1) * lost_count..][..lost_count];
            for (&row, &factor) in zip(&self.rows, factors) {
                self.multiplier
                    .add_product(target, &self.parity[row * slice_len..][..slice_len], factor);
            }
        }
    }

    /// Adds what the restored data shards are worth in the missing parity shards.
    fn complete_parity(&mut self, slice_len: usize, missing_parity: &[Option<&[u8]>]) {
        for row in (0..missing_parity.len()).filter(|&row| missing_parity[row].is_none()) {
            let target = &mut self.parity[row * slice_len..][..slice_len];
            for (&column, bytes) in zip(&self.lost, self.data.chunks_exact(slice_len)) {
                self.multiplier
                    .add_product(target, bytes, self.matrix.element(row, column));
            }
        }
    }

    /// Restores the missing data with the general decoder.
    fn decode_generally(&mut self, slice_len: usize, data: &[Option<&[u8]>], parity: &[Option<&[u8]>]) {
        let (general, laid_out_for) = self.general.get_or_insert_with(|| {
            let decoder = HighRateDecoder::new(
                data.len(),
                parity.len(),
                GROUP_LEN_BYTES,
                DefaultEngine::new(),
                None,
            );
            (
                decoder.expect("the high-rate code has room for every code shape"),
                GROUP_LEN_BYTES,
            )
        });
        if *laid_out_for != slice_len {
            general
                .reset(data.len(), parity.len(), slice_len)
                .expect("the shape was accepted before and a slice is whole groups");
            *laid_out_for = slice_len;
        }
        // The first slice of `data` is free until the results are in.
        let padded = &mut self.data[..slice_len];
        for (column, bytes) in data.iter().enumerate() {
            if let Some(bytes) = bytes {
                copy_padded(padded, bytes);
                general
                    .add_original_shard(column, &*padded)
                    .expect("each shard once, as long as the slice");
            }
        }
        for (row, bytes) in parity.iter().enumerate() {
            if let Some(bytes) = bytes {
                copy_padded(padded, bytes);
                general
                    .add_recovery_shard(row, &*padded)
                    .expect("each shard once, as long as the slice");
            }
        }
        let decoded = general.decode().expect("k shards or more were added");
        for (&column, target) in zip(&self.lost, self.data.chunks_exact_mut(slice_len)) {
            target.copy_from_slice(
                decoded
                    .restored_original(column)
                    .expect("a missing data shard is restored"),
            );
        }
    }

    /// Fills `parity` from the survivors and the restored data shards.
    fn encode_restored(&mut self, slice_len: usize, data: &[Option<&[u8]>]) {
        let Self {
            encoder,
            data: restored,
            parity: sums,
            lost,
            ..
        } = self;
        let whole = |position: usize| {
            data[position].unwrap_or_else(|| {
                let at = lost.binary_search(&position);
                let at = at.expect("every missing data shard was restored, in order");
                &restored[at * slice_len..][..slice_len]
            })
        };
        encoder.encode_each(slice_len, whole, |row, start, bytes| {
            sums[row * slice_len + start..][..bytes.len()].copy_from_slice(bytes);
        });
    }
}

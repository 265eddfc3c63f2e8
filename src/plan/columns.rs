//! Sets of columns.

use crate::units::ColumnIndex;

/// A set of columns, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnSet {
    words: Vec<u64>,
}

impl ColumnSet {
    /// Returns the set of the first `count` columns.
    pub fn first(count: u32) -> Self {
        let mut set = Self::default();
        (0..count).for_each(|column| set.insert(ColumnIndex::new(column)));
        set
    }

    /// Makes the set of columns whose bits are set, the first column in the lowest bit of the first byte.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        Self {
            words: words.collect(),
        }
    }

    /// Returns the set as bytes, as [`Self::from_bytes`] takes them; the last one is not zero.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let len = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        bytes.truncate(len);
        bytes
    }

    /// Adds a column.
    pub fn insert(&mut self, column: ColumnIndex) {
        let (word, bit) = (column.as_usize() / 64, column.get() % 64);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << bit;
    }

    /// Takes a column out.
    pub fn remove(&mut self, column: ColumnIndex) {
        if let Some(word) = self.words.get_mut(column.as_usize() / 64) {
            *word &= !(1 << (column.get() % 64));
        }
        // Equal sets have equal words.
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// Says whether the set holds a column.
    pub fn contains(&self, column: ColumnIndex) -> bool {
        let (word, bit) = (column.as_usize() / 64, column.get() % 64);
        self.words.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    /// Says whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Says whether a column is in both sets.
    pub fn intersects(&self, other: &Self) -> bool {
        self.words
            .iter()
            .zip(&other.words)
            .any(|(one, two)| one & two != 0)
    }

    /// Adds every column of `other`.
    pub fn union_with(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words
            .iter_mut()
            .zip(&other.words)
            .for_each(|(word, more)| *word |= more);
    }

    /// Returns the columns in order.
    pub fn iter(&self) -> impl Iterator<Item = ColumnIndex> {
        let bits = u32::try_from(self.words.len() * 64).expect("columns are 32 bits");
        (0..bits)
            .map(ColumnIndex::new)
            .filter(|&column| self.contains(column))
    }

    /// Returns the columns as half-open runs in order.
    pub fn runs(&self) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for column in self.iter() {
            match runs.last_mut() {
                Some(run) if run.1 == column.get() => run.1 += 1,
                _ => runs.push((column.get(), column.get() + 1)),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_neighbouring_columns() {
        let mut set = ColumnSet::first(3);
        set.insert(ColumnIndex::new(64));
        set.insert(ColumnIndex::new(63));
        set.insert(ColumnIndex::new(200));
        assert_eq!(set.runs(), [(0, 3), (63, 65), (200, 201)]);
    }

    #[test]
    fn sets_intersect_where_they_share_a_column_however_long_they_are() {
        let mut far = ColumnSet::default();
        far.insert(ColumnIndex::new(130));
        assert!(!far.intersects(&ColumnSet::first(130)) && !ColumnSet::first(130).intersects(&far));
        assert!(far.intersects(&ColumnSet::first(131)) && ColumnSet::first(131).intersects(&far));
        assert!(
            !ColumnSet::default().intersects(&ColumnSet::default()),
            "nothing is shared"
        );
    }
}

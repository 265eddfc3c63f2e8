//! What a scrub has seen and has not noted yet: chunks are noted together, so that many short extents cost one transaction.

use super::{
    Scrub,
    chunk::{MOST_BYTES, MOST_FRAMES},
};
use crate::{
    archive::inspect::{Inspection, ParityFound},
    catalog::{Access, CatalogWriter, DamageRecord, Knowledge, Look, Scrubbed, ShardPlace, TransactionSize},
    error::{CatalogError, ScrubError},
    units::{ByteRange, ExtentId, Timestamp, to_u64},
};

/// What of the archive a chunk has looked at, and what was known of its frames before.
pub(super) enum Seen {
    /// All of a range.
    Range {
        extent: ExtentId,
        range: ByteRange,
        at: Timestamp,
        read: Vec<ShardPlace>,
        before: Vec<DamageRecord>,
    },
    /// Frames here and there.
    Frames {
        read: Vec<ShardPlace>,
        before: Vec<DamageRecord>,
    },
    /// Headers only.
    Headers,
}

/// What chunks have come to.
#[derive(Default)]
pub(super) struct Notes {
    chunks: Vec<Note>,
    pub(super) bytes: u64,
    frames: usize,
}

struct Note {
    seen: Seen,
    damage: Vec<DamageRecord>,
    parity: ParityFound,
}

impl Scrub<'_> {
    /// Adds what a chunk has come to.
    pub(super) fn note(&mut self, mut found: Inspection, seen: Seen) -> Result<(), ScrubError> {
        self.notes.bytes += found.bytes_read;
        self.notes.frames += seen.frames() + found.found.len();
        self.notes.chunks.push(Note {
            seen,
            damage: std::mem::take(&mut found.found),
            parity: ParityFound {
                blocks: 0,
                wrong: std::mem::take(&mut found.parity.wrong),
                right: std::mem::take(&mut found.parity.right),
            },
        });
        self.total.merge(found);
        if self.notes.bytes >= MOST_BYTES || self.notes.frames >= MOST_FRAMES {
            self.write_down()?;
        }
        Ok(())
    }

    /// Lets the catalog know of what was noted, where it takes that, and tells of damage when it is much.
    pub(super) fn write_down(&mut self) -> Result<(), ScrubError> {
        let notes = std::mem::take(&mut self.notes);
        if notes.chunks.is_empty() {
            return Ok(());
        }
        if self.shared.takes_notes(notes.size()) {
            let mut writer = self.shared.catalog.write()?;
            for note in &notes.chunks {
                self.news += note.write_down(&mut writer)?;
            }
            // Behind all that was found right: parity of outer parity that is wrong agrees with it.
            for note in &notes.chunks {
                self.news += writer.record_damage(&note.parity.wrong, Knowledge::Part)?;
            }
            writer.commit()?;
            self.shared.met.forget();
        } else {
            if self.shared.access == Access::Write {
                self.unnoted += notes.chunks.iter().map(Note::damaged_shards).sum::<u64>();
            }
            self.is_forgetful = true;
        }
        self.tell_of_much()
    }
}

impl Notes {
    fn size(&self) -> TransactionSize {
        let frames = |note: &Note| to_u64(note.seen.frames());
        let verified = self.chunks.iter().filter(|note| note.seen.is_range());
        let here_and_there = self.chunks.iter().filter(|note| !note.seen.is_range());
        let damaged = self
            .chunks
            .iter()
            .map(|note| note.damaged_shards() + to_u64(note.parity.right.len()));
        TransactionSize {
            damaged_shards: damaged.sum::<u64>() + here_and_there.map(frames).sum::<u64>(),
            verified: verified.map(|note| 1 + frames(note)).sum(),
            ..TransactionSize::default()
        }
    }
}

impl Note {
    fn damaged_shards(&self) -> u64 {
        to_u64(self.damage.len() + self.parity.wrong.len())
    }

    /// Writes down all but what is encoded wrongly; returns of how many shards the damage is news.
    fn write_down(&self, writer: &mut CatalogWriter) -> Result<u64, CatalogError> {
        let damage = self.damage.as_slice();
        let news = match &self.seen {
            Seen::Range {
                extent,
                range,
                at,
                read,
                before,
            } => writer.record_scrub(&Scrubbed {
                extent: *extent,
                range: *range,
                at: *at,
                look: Look { read, damage, before },
            })?,
            Seen::Frames { read, before } => {
                let look = Look { read, damage, before };
                writer.record_look(&look)?.0
            }
            // What was not looked at may be as bad as it was.
            Seen::Headers => writer.record_damage(damage, Knowledge::Part)?,
        };
        writer.clear_encoding_damage(&self.parity.right)?;
        Ok(news)
    }
}

impl Seen {
    const fn is_range(&self) -> bool {
        matches!(self, Self::Range { .. })
    }

    fn frames(&self) -> usize {
        match self {
            Self::Range { read, .. } | Self::Frames { read, .. } => read.len(),
            Self::Headers => 0,
        }
    }
}

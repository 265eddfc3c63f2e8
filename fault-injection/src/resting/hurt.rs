//! What blows have come to, and what may be answered for it: by docs/durability.md, from the bytes alone.

use std::collections::BTreeSet;

use bfdb::error::{CatalogError, OpenError, PublicationError};

use super::{
    blow::{Blow, Harm, Target},
    edit,
    layout::{COPIES, SLOT_BYTES, slots},
    subject::{Kind, Subject},
};
use crate::SimulatedStorage;

/// What is wrong with an archive.
#[derive(Debug, Clone)]
pub(super) struct Hurt {
    /// The catalog is not what it was.
    pub(super) catalog: bool,
    /// These copies of the journal are not.
    pub(super) copies: BTreeSet<u8>,
    pub(super) slots: [Slot; 2],
    /// Something of another archive stands there.
    pub(super) is_mixed: bool,
    /// A catalog that knows less than the journal was put back, and every copy of that is hurt: publications may be lost, since
    /// nothing has them any more.
    pub(super) loss: Option<Loss>,
    /// An old catalog was put back, and two checkpoints may have let go what is between it and the journal.
    is_too_old: bool,
}

/// What became of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// It is as it was.
    Same,
    /// It is none any more.
    Invalid,
    /// It is a slot of another moment, or of another archive.
    Another,
}

/// What becomes of one last publication that is lost; more of them are reason to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It is named.
    Named,
    /// Nothing tells it from one that was announced and given up.
    Unseen,
}

impl Hurt {
    pub(super) fn of(subject: &Subject, blows: &[Blow], damaged: &SimulatedStorage) -> Self {
        let is_on = |meant: fn(&Target) -> bool| blows.iter().any(|blow| meant(&blow.target));
        let copies = blows.iter().flat_map(|blow| match &blow.target {
            Target::Journal(copies) => copies.clone(),
            Target::Catalog | Target::Slots(_) => Vec::new(),
        });
        let copies: BTreeSet<u8> = copies.collect();
        let has_no_journal = copies.len() == usize::from(COPIES);
        let loss = if blows.iter().any(|blow| looks_shorter(blow.harm)) {
            Loss::Unseen
        } else {
            Loss::Named
        };
        Self {
            catalog: is_on(|target| *target == Target::Catalog),
            loss: (subject.kind == Kind::OldCatalog && has_no_journal).then_some(loss),
            copies,
            slots: [0, SLOT_BYTES].map(|base| slot(subject, damaged, base)),
            is_too_old: subject.has_forgotten
                && is_on(|target| *target == Target::Catalog)
                && blows.iter().any(|blow| matches!(blow.harm, Harm::OldWhole(_))),
            is_mixed: blows.iter().any(|blow| blow.harm == Harm::Foreign),
        }
    }

    /// Says whether every copy of the journal is hurt.
    pub(super) fn has_no_journal(&self) -> bool {
        self.copies.len() == usize::from(COPIES)
    }

    /// Says whether an answer of an opened archive may be that its catalog is damaged.
    pub(super) fn excuses(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        self.catalog && names_damaged_catalog(error)
    }

    /// Says whether an archive may refuse to open for reading like this.
    pub(super) fn excuses_no_reader(&self, error: &OpenError) -> bool {
        if matches!(error, OpenError::VolumeForeign { .. }) {
            self.is_mixed
        } else if matches!(error, OpenError::CatalogMissing { .. }) {
            self.catalog
        } else {
            self.excuses(error)
        }
    }

    /// Says whether an archive may refuse to open for writing like this.
    pub(super) fn excuses_no_writer(&self, error: &OpenError) -> bool {
        let [first, second] = self.slots;
        let are_both_bad = first != Slot::Same && second != Slot::Same;
        let is_another = first == Slot::Another || second == Slot::Another;
        if matches!(error, OpenError::VolumeStale { .. }) {
            is_another
        } else if matches!(error, OpenError::VolumeSlots { .. } | OpenError::Volume { .. }) {
            are_both_bad || (is_another && self.is_mixed)
        } else if let OpenError::Journal { source } = error {
            // What an old catalog lacks is nowhere, or in a checkpoint.
            let is_gap = matches!(**source, PublicationError::Gap { .. });
            self.loss.is_some() || (is_gap && self.is_too_old)
        } else {
            self.excuses_no_reader(error)
        }
    }
}

/// Says whether a journal may end before a harm as if nothing had ever been behind: there are zeros, or whole records of another
/// time.
const fn looks_shorter(harm: Harm) -> bool {
    match harm {
        Harm::Zeros(_) | Harm::Moved(..) | Harm::Old(..) | Harm::OldWhole(_) | Harm::Cut(_) => true,
        Harm::Bit(_) | Harm::Noise(..) | Harm::Gone | Harm::Foreign => false,
    }
}

/// Says whether an error, or one of its causes, is that the catalog is damaged.
fn names_damaged_catalog(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error
            .downcast_ref::<CatalogError>()
            .is_some_and(CatalogError::is_damaged)
        {
            return true;
        }
        next = error.source();
    }
    false
}

fn slot(subject: &Subject, damaged: &SimulatedStorage, base: u64) -> Slot {
    let read = |disk: &SimulatedStorage| edit::read(disk, &slots(), (base, SLOT_BYTES)).unwrap_or_default();
    let found = read(damaged);
    if found == read(&subject.disk) {
        return Slot::Same;
    }
    let mut others = subject.past.iter().chain([&subject.other]);
    let is_slot = found.starts_with(b"bfdb-VOL");
    if is_slot && others.any(|other| read(other) == found) {
        Slot::Another
    } else {
        Slot::Invalid
    }
}

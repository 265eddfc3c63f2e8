//! The room of a commit: taken before a byte is written, named in the catalog only when every byte is synced.
//!
//! ```text
//! T0        one transaction: ids, the intent, and the extents that belong to it from now on      I2
//! extents   made or taken over, preallocated: a full disk shows here
//! frames    written into what the intent owns, nowhere else
//! sync      every extent that was touched                                                         I1
//! publish   journal record, then one transaction                                                  the moment of visibility
//! ```
//!
//! A failure anywhere gives everything back. A crash leaves an intent whose session is dead: the next writing open gives its
//! extents back, or keeps them where the commit can go on (`archive::intents`).

use core::ops::Deref;
use std::collections::BTreeSet;

use super::{
    batch::Metadata,
    leg_plan::{LegContents, LegPlanner, PlannedDescriptor, PlannedFile, PlannedLeg, descriptor_len_bytes},
    legs::{Leg, place_block},
    room::{RoomNeed, RoomWanted, check_room},
};
use crate::{
    archive::{
        ballast::settle,
        intents,
        owned::{OwnedExtents, Owner, own},
        shared::Shared,
        volumes::Volumes,
    },
    catalog::{
        CatalogWriter, EntryKind, ExtentRecord, FileRecord, IntentRecord, Replaces, ResumableRecord,
        SourceRecord,
    },
    error::{CommitError, VolumeError},
    format::FrameLayout,
    geometry::{BlockGeometry, FileGeometry},
    merkle::RootFolder,
    plan::{LaneLayout, Placement},
    units::{BlockId, BlockIndex, CommitId, FileName},
};

/// Times that a commit is planned because an open extent turned out to be damaged, which shows one at a time.
const ATTEMPTS_AFTER_DAMAGE: u32 = 64;

/// Times that a commit is planned because the disk has failed under its extents.
const ATTEMPTS_AFTER_FAILURE: u32 = 4;

/// An entry that room is to be taken for.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) name: FileName,
    pub(super) kind: EntryKind,
    pub(super) metadata: Metadata,
    pub(super) geometry: FileGeometry,
}

/// The room of one commit.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) files: Vec<PlannedFile>,
    /// The leg that is walked now; walking it again gives every frame its place.
    pub(super) leg: Leg,
    pub(super) descriptor: PlannedDescriptor,
    pub(super) owned: OwnedExtents,
}

impl Deref for Reservation {
    type Target = OwnedExtents;

    fn deref(&self) -> &OwnedExtents {
        &self.owned
    }
}

impl Reservation {
    /// Takes room for entries: T0 and the extents. With `resumable`, the intent outlives the process.
    pub(super) fn take(
        shared: &Shared,
        drafts: &[Draft],
        resumable: Option<&Resumable>,
    ) -> Result<Self, CommitError> {
        let wanted = Wanted {
            drafts,
            resumable,
            need: RoomNeed::of_drafts(drafts),
            text_len_bytes: None,
        };
        Self::take_wanted(shared, &wanted)
    }

    /// Takes room for a text of its own, which stands where else the descriptor of entries does.
    pub(super) fn take_for_text(
        shared: &Shared,
        (name, len_bytes): (&FileName, u64),
    ) -> Result<Self, CommitError> {
        let wanted = Wanted {
            drafts: &[],
            resumable: None,
            need: RoomNeed::of_entries(name.clone(), core::iter::empty()),
            text_len_bytes: Some(len_bytes),
        };
        Self::take_wanted(shared, &wanted)
    }

    fn take_wanted(shared: &Shared, wanted: &Wanted<'_>) -> Result<Self, CommitError> {
        let mut attempt = 1;
        loop {
            let mut reservation = match Self::reserve(shared, wanted) {
                Err(CommitError::Volume { source })
                    if attempt < ATTEMPTS_AFTER_FAILURE && shared.has_lost_volume(&source) =>
                {
                    attempt += 1;
                    continue;
                }
                reserved => reserved?,
            };
            match reservation.owned.open(shared) {
                Ok(()) => return Ok(reservation),
                Err(error) => {
                    let has_lost_volume = shared.has_lost_volume(&error);
                    // Giving back seals what is damaged, so that the next attempt goes elsewhere.
                    let given_back = reservation.give_back(shared);
                    let attempts = if has_lost_volume {
                        ATTEMPTS_AFTER_FAILURE
                    } else {
                        attempts_after(&error)
                    };
                    if attempt >= attempts || given_back.is_err() {
                        return Err(not_opened(error, &wanted.need));
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// T0: one transaction that takes ids and marks extents as owned. I2: from here every reserved byte has an owner.
    fn reserve(shared: &Shared, wanted: &Wanted<'_>) -> Result<Self, CommitError> {
        let need = &wanted.need;
        // Asked before anything is written, the session file included.
        check_room(shared, need, &RoomWanted::default())?;
        // One that was released on a full disk comes back with the room, so that the next full disk finds it.
        settle(&shared.layout);
        intents::end_left_behind(shared);
        let session = shared.session()?;
        let mut writer = shared.catalog.write()?;
        shared.keep_up_with(&writer)?;
        let volumes = shared.volumes();
        let commit = writer.allocate_commit_id();
        let files = plan_files(shared, &mut writer, commit, wanted.drafts);
        let descriptor = writer.allocate_block_ids(1).next().expect("one was asked for");
        let contents = LegContents {
            files: &files,
            first_block: BlockIndex::new(0),
            descriptor,
            descriptor_len_bytes: (wanted.text_len_bytes)
                .unwrap_or_else(|| descriptor_len_bytes(shared, &files)),
        };
        let (planned, extents) = plan_where_there_is_room(shared, &mut writer, (&volumes, need), contents)?;
        let PlannedLeg {
            leg,
            descriptor,
            filled,
        } = planned;
        own(&mut writer, (commit, &volumes), &extents, &filled)?;
        writer.put_intent(&IntentRecord {
            commit,
            session: Some(session),
            begun_at: files
                .first()
                .map_or_else(|| shared.now(), |file| file.record.committed_at),
            name: need.name.clone(),
            others: need.others,
            resumable: (wanted.resumable).map(|resumable| resumable.record(&files[0], &leg)),
        })?;
        writer.commit()?;
        let written = filled.clone();
        let owner = Owner {
            commit,
            session,
            volumes,
        };
        Ok(Self {
            files,
            leg,
            descriptor,
            owned: OwnedExtents::of_new_commit(shared, owner, (filled, written)),
        })
    }

    pub(super) fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    /// Returns the layout before the first frame of the leg.
    pub(super) fn layout(&self) -> LaneLayout {
        self.leg.layout()
    }

    /// Places the frames of the next block, in shard order; absent shards get none.
    pub(super) fn place(
        &self,
        block: &BlockGeometry,
        layout: &mut LaneLayout,
    ) -> impl Iterator<Item = Option<(Placement, FrameLayout)>> {
        place_block(block, &self.leg.lanes, layout)
    }

    /// Ends it: it is published, or may be.
    pub(super) fn end(self) {
        self.owned.end();
    }

    /// Gives everything back after a failure: files are cut, ownership and intent end. Where that fails it is left behind.
    pub(super) fn give_back(self, shared: &Shared) -> Result<(), CommitError> {
        self.owned.give_back(shared)
    }
}

/// Plans the first leg on the volumes that have room for it: one that turns out to be too full is left out, and the others
/// take what it would have taken.
fn plan_where_there_is_room(
    shared: &Shared,
    writer: &mut CatalogWriter,
    (volumes, need): (&Volumes, &RoomNeed),
    contents: LegContents<'_>,
) -> Result<(PlannedLeg, Vec<ExtentRecord>), CommitError> {
    let mut avoided = BTreeSet::new();
    let mut first_full = None;
    loop {
        let planner = match LegPlanner::new(shared, writer, (volumes, &avoided)) {
            // All of them are: the best one says what it lacks.
            Err(CommitError::NoVolume) => return Err(first_full.unwrap_or(CommitError::NoVolume)),
            planner => planner?,
        };
        let planned = planner.first_leg(writer, contents)?;
        let wanted = RoomWanted::of(volumes.lanes(), &planned.filled);
        match check_room(shared, need, &wanted) {
            Err(full @ CommitError::Full { volume, .. }) if avoided.insert(volume) => {
                first_full.get_or_insert(full);
            }
            checked => return checked.map(|()| (planned, planner.extents)),
        }
    }
}

/// What room is to be taken for.
struct Wanted<'a> {
    drafts: &'a [Draft],
    resumable: Option<&'a Resumable>,
    need: RoomNeed,
    /// Length of a text that is no descriptor of the drafts, in bytes.
    text_len_bytes: Option<u64>,
}

/// What lets a commit go on after its process has died.
#[derive(Debug, Clone)]
pub(super) struct Resumable {
    pub(super) source: SourceRecord,
    pub(super) replaces: Replaces,
}

impl Resumable {
    fn record(&self, file: &PlannedFile, leg: &Leg) -> ResumableRecord {
        ResumableRecord {
            source: self.source.clone(),
            file: file.record.id,
            first_block: BlockId::new(file.first_block),
            geometry: file.record.geometry,
            mode: file.record.mode,
            replaces: self.replaces,
            legs: vec![leg.to_record()],
            progress: Vec::new(),
        }
    }
}

/// Returns how often extents are tried for in all when it has come to this: nothing of the source was read yet, so others may
/// fare better.
const fn attempts_after(error: &VolumeError) -> u32 {
    let is_damage = matches!(error, VolumeError::Missing { .. } | VolumeError::Truncated { .. });
    let is_failure = matches!(
        error,
        VolumeError::Create { .. }
            | VolumeError::Preallocate { .. }
            | VolumeError::Sync { .. }
            | VolumeError::Write { .. }
            | VolumeError::Poisoned { .. }
    );
    match (is_damage, is_failure) {
        (true, _) => ATTEMPTS_AFTER_DAMAGE,
        (false, true) => ATTEMPTS_AFTER_FAILURE,
        (false, false) => 1,
    }
}

/// Says of a disk that somebody else has filled meanwhile what it lacks for which files.
fn not_opened(error: VolumeError, need: &RoomNeed) -> CommitError {
    let VolumeError::Full {
        volume,
        needed_bytes,
        free_bytes,
        ..
    } = error
    else {
        return error.into();
    };
    CommitError::Full {
        name: need.name.clone(),
        others: need.others,
        volume,
        needed_bytes,
        free_bytes,
    }
}

fn plan_files(
    shared: &Shared,
    writer: &mut CatalogWriter,
    commit: CommitId,
    drafts: &[Draft],
) -> Vec<PlannedFile> {
    let blocks = drafts.iter().map(|draft| draft.geometry.block_count()).sum();
    let mut next_block = writer.allocate_block_ids(blocks).next().map_or(0, BlockId::get);
    let committed_at = shared.now();
    let root = RootFolder::new(shared.policy().leaf()).finish();
    let plan = |draft: &Draft| {
        let first_block = next_block;
        next_block += draft.geometry.block_count();
        let record = FileRecord {
            kind: draft.kind.clone(),
            id: writer.allocate_file_id(),
            name: draft.name.clone(),
            mode: draft.metadata.mode,
            modified_at: draft.metadata.modified_at,
            committed_at,
            version: 1,
            is_kept: false,
            commit,
            geometry: draft.geometry,
            root,
            stored_bytes: 0,
        };
        PlannedFile { record, first_block }
    };
    drafts.iter().map(plan).collect()
}

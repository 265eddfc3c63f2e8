//! Checkpoints: what their slices say, and how long they are kept.

use proptest::prelude::*;

use super::golden::golden;
use super::published_bytes::{compact, hex};
use super::*;
use crate::catalog::rows::CheckpointsRow;
use crate::catalog::tables::META_CHECKPOINTS;
use crate::error::{CatalogBytesError, CatalogTable};
use crate::merkle::ChainHash;

/// Compares what is in slices, and so the same in a catalog that was made of them.
fn has_the_same_stored(made: &Dump, other: &Dump) {
    assert_eq!(made.totals, other.totals);
    assert_eq!(made.files, other.files);
    assert_eq!(made.shards, other.shards);
    assert_eq!(made.descriptors, other.descriptors);
}

fn slices_of(catalog: &Catalog, len_bytes: u64) -> Vec<Slice> {
    let reader = catalog.read().expect("reader");
    let mut slices = Slices::of(&reader, len_bytes);
    let mut all = Vec::new();
    while let Some(slice) = slices.next_slice().expect("sound") {
        all.push(slice);
    }
    all
}

#[test]
fn a_catalog_that_is_made_of_slices_of_any_length_knows_what_the_other_has_stored() {
    let world = furnished();
    let catalog = world.open(Access::Read);
    let before = Dump::of(&catalog.read().expect("reader")).expect("sound");
    let mut counts = Vec::new();
    for len_bytes in [1, 1000, 10_000, u64::MAX] {
        let slices = slices_of(&catalog, len_bytes);
        counts.push(slices.len());
        let new = World::new();
        let path = new.directory.path().join("made.redb");
        Catalog::create(
            &new.storage,
            &path,
            &archive(),
            &volumes(),
            CatalogOptions::default(),
        )
        .expect("created");
        let made = open(&path, Access::Write).expect("opened");
        for slice in slices {
            let bytes = slice.encode();
            assert_eq!(Slice::parse(&bytes).as_ref(), Ok(&slice));
            let mut writer = made.write().expect("writer");
            writer.take_slice(slice).expect("taken");
            writer.commit().expect("committed");
        }
        let mut writer = made.write().expect("writer");
        writer.set_epoch(before.epoch);
        writer.commit().expect("committed");
        let after = Dump::of(&made.read().expect("reader")).expect("sound");
        has_the_same_stored(&after, &before);
        assert_eq!(after.epoch, before.epoch);
        let extents = |dump: &Dump| -> Vec<ExtentRecord> {
            let unowned = dump.extents.iter().cloned();
            unowned
                .map(|extent| ExtentRecord {
                    owner: None,
                    ..extent
                })
                .collect()
        };
        assert_eq!(extents(&after), extents(&before));
    }
    assert!(counts.is_sorted_by(|more, fewer| more > fewer), "{counts:?}");
    assert_eq!(counts.last(), Some(&1));
}

#[test]
fn slices_have_their_golden_bytes_and_no_cut_one_is_read() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let mut descriptor = world.descriptor(&mut writer, CommitId::new(300), 700);
    descriptor.described = Described::Slice;
    let (file, blocks) = world.file(&mut writer, &name("a"), 10);
    let slice = Slice {
        extents: vec![PublishedExtent {
            id: ExtentId::new(300),
            volume: 2,
            lane: LaneIndex::new(32),
            state: ExtentState::Abandoned,
            end_bytes: 1 << 30,
        }],
        descriptors: vec![descriptor],
        entries: vec![(file, blocks)],
    };
    let bytes = slice.encode();
    let text = bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    assert_eq!(text, GOLDEN_SLICE.split_whitespace().collect::<String>());
    assert_eq!(Slice::parse(&bytes), Ok(slice));
    for end in 0..bytes.len() {
        assert!(Slice::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut newer = bytes;
    newer[8] = 2;
    assert_eq!(Slice::parse(&newer), Err(CatalogBytesError::Version { found: 2 }));
}

const GOLDEN_SLICE: &str = "62666462736c69630101ac02022003808080800401ac02000101010abc0502018020
    02802001fc06dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd01010000000000000001
    610100a4810000ffffffffffffffff0500000001f1536500000000050000000100000001000000000000000a00000000
    00000001010001000a01000000000000000000000000000000010000000100000000000000000000000000010101010101010101010101010101
    01010101010101010101010101010101019401000000000000010200000000000000010000000201000000000000007c
    1300000000000002000000000000007c1300000000000001ca000000000000000202020202020202020202020202020
    20202020202020202020202020202020200";

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_slices_are_refused_or_are_exactly_what_would_be_written(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let world = furnished();
        let catalog = world.open(Access::Read);
        let mut bytes = slices_of(&catalog, u64::MAX).remove(0).encode();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(parsed) = Slice::parse(&bytes) {
            prop_assert!(parsed.encode() == bytes);
        }
    }
}

impl World {
    fn publication(writer: &CatalogWriter) -> Publication {
        Publication::of_nothing(writer.next_ids().expect("sound"))
    }

    /// Stores a slice, as far as the catalog has to do with it.
    fn store_slice(&mut self, catalog: &Catalog) -> (CommitId, BlockRecord) {
        let mut writer = catalog.write().expect("writer");
        let commit = writer.allocate_commit_id();
        let block = self.descriptor(&mut writer, commit, 700).block;
        self.put_extents(&mut writer);
        let slice = Publication {
            commit: Some(commit),
            descriptor: Some(block.clone()),
            checkpoint: Some(CheckpointStep::Slice),
            ..Self::publication(&writer)
        };
        apply(writer, &slice).expect("applied");
        (commit, block)
    }
}

/// Applies what a record would have.
fn apply(mut writer: CatalogWriter, publication: &Publication) -> Result<(), CatalogError> {
    let parsed = Publication::parse(&publication.encode()).expect("what was written");
    assert_eq!(parsed, *publication);
    writer.apply(&parsed, Vec::new())?;
    writer.commit().map(drop)
}

fn checkpoint(writer: &CatalogWriter, slices: Vec<(CommitId, BlockRecord)>) -> Publication {
    let checkpoint = Checkpoint {
        founding: Founding {
            archive: archive(),
            volumes: Vec::new(),
        },
        epoch: writer.epoch().expect("sound"),
        hash: ChainHash::from_bytes([7; 32]),
        next_ids: writer.next_ids().expect("sound"),
        journal_bytes: 4096,
        known: writer.checkpoints().expect("sound"),
        slices,
    };
    Publication {
        checkpoint: Some(CheckpointStep::Complete(Box::new(checkpoint))),
        ..World::publication(writer)
    }
}

#[test]
fn two_checkpoints_are_kept_and_slices_that_belong_to_none_go_with_the_next() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut all = Vec::new();
    for _ in 0..4 {
        let forgotten = world.store_slice(&catalog);
        let slices = vec![world.store_slice(&catalog), world.store_slice(&catalog)];
        let reader = catalog.read().expect("reader");
        let pending: Vec<CommitId> = [&forgotten]
            .into_iter()
            .chain(&slices)
            .map(|(commit, _)| *commit)
            .collect();
        assert_eq!(reader.checkpoints().expect("sound").pending, pending);
        drop(reader);
        all.extend([slices[0].0, slices[1].0]);
        let writer = catalog.write().expect("writer");
        let publication = checkpoint(&writer, slices);
        apply(writer, &publication).expect("applied");
        let dump = Dump::of(&catalog.read().expect("reader")).expect("sound");
        let left: Vec<CommitId> = dump.descriptors.iter().map(|found| found.commit).collect();
        assert_eq!(left, all[all.len().saturating_sub(4)..]);
        assert_eq!(dump.shards.len(), left.len() * 2, "nothing else lives");
    }
    let known = catalog.read().expect("reader").checkpoints().expect("sound");
    assert_eq!(known.pending, []);
    assert_eq!(known.generations.len(), 2);
    let newest = known.newest().expect("one");
    assert_eq!((newest.len_bytes, newest.journal_bytes), (1400, 4096));
}

#[test]
fn publications_of_checkpoints_have_their_golden_bytes() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let slice = world.store_slice(&catalog);
    let writer = catalog.write().expect("writer");
    let publication = checkpoint(&writer, vec![slice]);
    let text = hex(&publication.encode());
    // Nothing else, the ids that come next, and a checkpoint.
    let expected = "01000000000000000000000000000001020602010001";
    assert_eq!(text, [expected, &compact(GOLDEN_CHECKPOINT)].concat());
    assert_eq!(Publication::parse(&publication.encode()), Ok(publication));
}

const GOLDEN_CHECKPOINT: &str =
    "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5010080c49fd50c050a80200101808001010280100302801080c8afa025030280
    808002034a00000107070707070707070707070707070707070707070707070707070707070707070102060280200001
    0101010101010abc050201802002802001fc06dddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
    dddddd";

#[test]
fn slices_that_are_given_up_go_and_others_are_not_touched() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let (given_up, other) = (world.store_slice(&catalog), world.store_slice(&catalog));
    let completed = world.store_slice(&catalog);
    let writer = catalog.write().expect("writer");
    let publication = Publication {
        checkpoint: Some(CheckpointStep::GiveUp(vec![given_up.0])),
        ..World::publication(&writer)
    };
    apply(writer, &publication).expect("applied");
    let dump = Dump::of(&catalog.read().expect("reader")).expect("sound");
    assert_eq!(dump.checkpoints.pending, [other.0, completed.0]);
    assert_eq!(dump.shards.len(), 4);
    let error = apply(catalog.write().expect("writer"), &publication).expect_err("it is gone");
    assert!(matches!(error, CatalogError::UnknownSlice { commit } if commit == given_up.0));
    let writer = catalog.write().expect("writer");
    let complete = checkpoint(&writer, vec![completed.clone()]);
    apply(writer, &complete).expect("applied");
    let in_use = Publication {
        checkpoint: Some(CheckpointStep::GiveUp(vec![completed.0])),
        ..World::publication(&catalog.write().expect("writer"))
    };
    let error = apply(catalog.write().expect("writer"), &in_use).expect_err("a checkpoint has it");
    assert!(matches!(error, CatalogError::UnknownSlice { .. }), "{error:?}");
}

#[test]
fn a_checkpoint_whose_slices_are_gone_or_are_none_is_not_completed() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let slice = world.store_slice(&catalog);
    let other = world.store_slice(&catalog);
    let writer = catalog.write().expect("writer");
    let completed = checkpoint(&writer, vec![other]);
    apply(writer, &completed).expect("applied");
    let writer = catalog.write().expect("writer");
    let overtaken = checkpoint(&writer, vec![slice.clone()]);
    let error = apply(writer, &overtaken).expect_err("it is gone");
    assert!(matches!(error, CatalogError::UnknownSlice { commit } if commit == slice.0));
    let mut writer = catalog.write().expect("writer");
    world.insert(&mut writer, &name("a"), 10);
    world.insert_descriptor(&mut writer, &name("a"), 700);
    let commit = world.files[&name("a")].0.commit;
    let no_slice = checkpoint(&writer, vec![(commit, slice.1)]);
    let error = apply(writer, &no_slice).expect_err("it describes what is stored");
    assert!(matches!(error, CatalogError::UnknownSlice { .. }), "{error:?}");
}

#[test]
fn what_is_known_of_checkpoints_has_its_golden_bytes() {
    let known = Checkpoints {
        generations: vec![Generation {
            epoch: Epoch::new(300),
            journal_bytes: 4096,
            len_bytes: 5,
            slices: vec![CommitId::new(7), CommitId::new(300)],
        }],
        pending: vec![CommitId::new(9)],
    };
    let row = golden(
        CatalogTable::Meta,
        META_CHECKPOINTS,
        &CheckpointsRow::new(&known),
        "636865636b706f696e7473:0101ac028020050207ac020109e64c8186",
    );
    assert_eq!(row.parse(), Ok(known));
}

//! What commits intend: rows that come back as they were put, and nothing else.

use super::*;
use crate::error::CatalogTable;
use crate::merkle::{FolderState, LeafHash, RootFolder};
use crate::units::SessionId;

impl World {
    pub(super) fn insert_intent(&mut self, writer: &mut CatalogWriter, name: &FileName) {
        let commit = writer.allocate_commit_id();
        let resumable = resumable(writer.allocate_file_id());
        let intent = IntentRecord {
            name: name.clone(),
            resumable: Some(resumable),
            ..intent(commit)
        };
        writer.put_intent(&intent).expect("a possible intent");
        self.intents.insert(commit, intent);
    }
}

/// Asks for all intents, and for each by its commit.
pub(super) fn all(reader: &CatalogReader) -> Result<Vec<IntentRecord>, CatalogError> {
    let intents = reader.intents()?;
    for found in &intents {
        assert_eq!(reader.intent(found.commit)?.as_ref(), Some(found));
    }
    Ok(intents)
}

/// What a batch of files intends.
pub(super) fn intent(commit: CommitId) -> IntentRecord {
    IntentRecord {
        commit,
        session: Some(SessionId::new(77)),
        begun_at: time(1_700_000_002),
        name: name("a/b"),
        others: 4095,
        resumable: None,
    }
}

/// What a file of 40 000 bytes intends, of which three of seven blocks are done.
pub(super) fn resumable(file: FileId) -> ResumableRecord {
    let geometry = FileGeometry::new(40_000, &policy());
    let lanes = |lanes: [u16; 5]| lanes.map(LaneIndex::new).to_vec();
    let leg = |first_block, lanes, new_extent| LegRecord {
        first_block: BlockIndex::new(first_block),
        lanes,
        positions: vec![LegPosition {
            lane: LaneIndex::new(1),
            extent: ExtentId::new(2),
            end_bytes: 4096,
        }],
        new_extents: vec![ExtentId::new(new_extent), ExtentId::new(new_extent + 1)],
        extent_limit_bytes: 1 << 30,
    };
    let progress = |blocks| ProgressRecord {
        blocks,
        folder: folder_after(&geometry, blocks),
    };
    ResumableRecord {
        source: SourceRecord {
            path: b"/home/\xff/large".to_vec(),
            len_bytes: 40_000,
            modified_at: time(-3),
            changed_at: time(1_600_000_000),
            device: 66_306,
            inode: 1 << 40,
        },
        file,
        first_block: BlockId::new(500),
        geometry,
        mode: 0o100_600,
        replaces: Replaces::Existing { kept_versions: 300 },
        legs: vec![
            leg(0, lanes([0, 1, 2, 3, 4]), 8),
            leg(3, lanes([4, 3, 2, 1, 0]), 10),
        ],
        progress: vec![progress(2), progress(3)],
    }
}

fn folder_after(geometry: &FileGeometry, blocks: u64) -> FolderState {
    let mut folder = RootFolder::new(geometry.leaf());
    let end = (blocks.checked_sub(1)).map_or(0, |last| geometry.block(BlockIndex::new(last)).range().end());
    for leaf in 0..geometry.leaf().count_for(end) {
        folder.push(LeafHash::from_bytes([u8::try_from(leaf).expect("few"); 32]));
    }
    folder.state()
}

/// A row that has no byte to spare.
pub(super) fn longest_intent(commit: CommitId) -> IntentRecord {
    let mut resumable = resumable(FileId::new(1));
    let with_path = |resumable: &ResumableRecord, len: usize| {
        let mut resumable = resumable.clone();
        resumable.source.path = vec![b'/'; len];
        IntentRecord {
            resumable: Some(resumable),
            ..intent(commit)
        }
    };
    // Numbers have varying lengths, so the row says how long it is.
    resumable.legs.truncate(1);
    let row_len = |intent: &IntentRecord| {
        let key = tables::commit_key(commit);
        let row = rows::IntentRow::new(intent);
        tables::seal(CatalogTable::Intents, &key, &row).len()
    };
    let left = 64 * 1024 - row_len(&with_path(&resumable, 60_000));
    with_path(&resumable, 60_000 + left)
}

#[test]
fn an_intent_comes_back_changes_and_ends() {
    let world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let commit = writer.allocate_commit_id();
    let begun = IntentRecord {
        resumable: Some(resumable(FileId::new(9))),
        ..intent(commit)
    };
    writer.put_intent(&begun).expect("possible");
    let waiting = IntentRecord {
        session: None,
        ..begun.clone()
    };
    assert_eq!(writer.intent(commit).expect("sound"), Some(begun));
    writer.put_intent(&waiting).expect("possible");
    writer.commit().expect("committed");
    let reader = catalog.read().expect("reader");
    assert_eq!(reader.intents().expect("sound"), [waiting]);
    assert_eq!(reader.intent(CommitId::new(99)).expect("sound"), None);
    let mut writer = catalog.write().expect("writer");
    assert_eq!(
        writer.allocate_file_id(),
        FileId::new(10),
        "ids of intents are taken"
    );
    let blocks = FileGeometry::new(40_000, &policy()).block_count();
    assert_eq!(
        writer.allocate_block_ids(1).next(),
        Some(BlockId::new(500 + blocks))
    );
    assert!(writer.remove_intent(commit).expect("sound"), "it was there");
    assert!(!writer.remove_intent(commit).expect("sound"), "it is gone");
    writer.commit().expect("committed");
    assert_eq!(catalog.read().expect("reader").intents().expect("sound"), []);
}

#[test]
fn an_intent_longer_than_a_row_is_refused_and_spoils_nothing() {
    let world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let commit = writer.allocate_commit_id();
    let mut intent = longest_intent(commit);
    writer.put_intent(&intent).expect("it just fits");
    let resumable = intent.resumable.as_mut().expect("it is resumable");
    resumable.source.path.push(b'x');
    let error = writer.put_intent(&intent).expect_err("one byte more");
    assert!(
        matches!(
            error,
            CatalogError::RowTooLong {
                len_bytes: 65_537,
                limit_bytes: 65_536,
                ..
            }
        ),
        "{error:?}"
    );
    writer.commit().expect("nothing was spoilt");
}

#[test]
fn what_no_commit_intends_is_refused_and_spoils_nothing() {
    type Spoil = fn(&mut ResumableRecord);
    let spoilers: [(&str, Spoil); 16] = [
        ("path of a source", |it| it.source.path.clear()),
        ("path of a source", |it| it.source.path = b"relative".to_vec()),
        ("path of a source", |it| it.source.path.push(0)),
        ("length of a source", |it| it.source.len_bytes += 1),
        ("first block", |it| it.first_block = BlockId::new(u64::MAX)),
        ("way of the frames", |it| {
            it.legs.remove(0);
        }),
        ("way of the frames", |it| it.legs.reverse()),
        ("way of the frames", |it| {
            it.legs[1].first_block = BlockIndex::new(it.geometry.block_count() + 1);
        }),
        ("way of the frames", |it| it.legs[1].lanes.truncate(4)),
        ("way of the frames", |it| {
            it.legs[1].lanes[0] = it.legs[1].lanes[1];
        }),
        ("way of the frames", |it| {
            let position = it.legs[0].positions[0];
            it.legs[0].positions.push(position);
        }),
        ("progress", |it| it.progress.reverse()),
        ("progress", |it| it.progress.push(it.progress[1].clone())),
        ("progress", |it| it.progress[1].blocks += 1),
        ("progress", |it| it.progress[1].blocks = u64::MAX),
        ("progress", |it| {
            it.progress[1].folder = it.progress[0].folder.clone();
        }),
    ];
    let world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let commit = writer.allocate_commit_id();
    for (position, (wanted, spoil)) in spoilers.into_iter().enumerate() {
        let mut resumable = resumable(FileId::new(9));
        spoil(&mut resumable);
        let intent = IntentRecord {
            resumable: Some(resumable),
            ..intent(commit)
        };
        match writer.put_intent(&intent) {
            Err(CatalogError::ImpossibleIntent { field, .. }) => {
                assert_eq!(field, wanted, "spoiler {position}");
            }
            other => panic!("spoiler {position}: {other:?}"),
        }
    }
    assert_eq!(writer.intents().expect("sound"), []);
    writer.commit().expect("nothing was spoilt");
}

#[test]
fn every_count_of_whole_blocks_is_progress() {
    let world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let commit = writer.allocate_commit_id();
    for len_bytes in LENGTHS {
        let geometry = FileGeometry::new(len_bytes, &policy());
        for blocks in 0..=geometry.block_count() {
            let mut resumable = resumable(FileId::new(9));
            let folder = folder_after(&geometry, blocks);
            resumable.geometry = geometry;
            resumable.source.len_bytes = len_bytes;
            resumable.legs.clear();
            resumable.progress = vec![ProgressRecord { blocks, folder }];
            let intent = IntentRecord {
                resumable: Some(resumable),
                ..intent(commit)
            };
            writer.put_intent(&intent).expect("possible");
            assert_eq!(writer.intent(commit).expect("sound"), Some(intent));
        }
    }
}

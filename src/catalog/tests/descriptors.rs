//! Descriptors live as long as an entry of their commit, and their frames count as all others.

use super::*;
use crate::geometry::{BlockGeometry, BlockGeometryParts, FileLeaves};

impl World {
    /// Makes up where the descriptor of a commit lies, behind everything else.
    pub(super) fn descriptor(
        &mut self,
        writer: &mut CatalogWriter,
        commit: CommitId,
        len_bytes: u64,
    ) -> DescriptorRecord {
        let policy = policy();
        let geometry = BlockGeometry::from_parts(BlockGeometryParts {
            shape: policy.parts().tiny_shape,
            leaf: policy.leaf(),
            file_leaves: if len_bytes <= policy.leaf().bytes() {
                FileLeaves::One
            } else {
                FileLeaves::Many
            },
            base_offset: 0,
            data_len_bytes: len_bytes,
        })
        .expect("a block");
        let shards = geometry.shards().map(|shard| {
            let lane = usize::from(shard.get());
            let offset = self.ends[lane];
            self.ends[lane] += len_bytes + 192;
            Some(ShardRecord {
                extent: ExtentId::new(u64::from(shard.get()) + 1),
                offset,
                frame_len_bytes: len_bytes + 192,
                digest: ShardDigest::from_bytes([0xdd; 32]),
            })
        });
        let block = BlockRecord {
            id: writer.allocate_block_ids(1).next().expect("one"),
            file: FileId::new(0),
            index: BlockIndex::new(0),
            reference_count: 1,
            geometry,
            shards: shards.collect(),
        };
        DescriptorRecord {
            commit,
            described: Described::Entries(1),
            block,
        }
    }

    /// Adds a descriptor for the commit of a file that is stored.
    pub(super) fn insert_descriptor(&mut self, writer: &mut CatalogWriter, name: &FileName, len_bytes: u64) {
        let commit = self.files[name].0.commit;
        let descriptor = self.descriptor(writer, commit, len_bytes);
        self.put_extents(writer);
        writer.put_descriptor(&descriptor).expect("a new descriptor");
        self.descriptors.insert(commit, descriptor);
    }
}

#[test]
fn a_descriptor_goes_with_the_last_entry_of_its_commit() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let commit = writer.allocate_commit_id();
    for (text, len_bytes) in [("a", 0), ("b", 10), ("c", 9000), ("other", 10)] {
        let (mut file, blocks) = world.file(&mut writer, &name(text), len_bytes);
        if text != "other" {
            file.commit = commit;
        }
        world.put_extents(&mut writer);
        writer.insert_file(&file, blocks.clone()).expect("inserted");
        world.files.insert(file.name.clone(), (file, blocks));
    }
    let mut descriptor = world.descriptor(&mut writer, commit, 5000);
    descriptor.described = Described::Entries(3);
    world.put_extents(&mut writer);
    writer.put_descriptor(&descriptor).expect("a new descriptor");
    let owner = ShardOwner::Descriptor(commit);
    assert_eq!(
        writer.block_by_owner(owner).expect("sound"),
        Some(descriptor.block.clone())
    );
    world.descriptors.insert(commit, descriptor);
    assert_eq!(Dump::of(&writer).expect("sound"), world.expected(0));
    for (text, left) in [("b", 2), ("other", 2), ("a", 1), ("c", 0)] {
        let removed = writer.remove_file(&name(text)).expect("sound");
        assert_eq!(removed, world.files.remove(&name(text)).map(|(file, _)| file));
        world.descriptors.get_mut(&commit).expect("it is there").described = Described::Entries(left);
        if left == 0 {
            world.descriptors.clear();
        }
        assert_eq!(
            Dump::of(&writer).expect("sound"),
            world.expected(0),
            "without {text}"
        );
    }
    assert_eq!(writer.block_by_owner(owner).expect("sound"), None);
}

#[test]
fn descriptors_that_cannot_be_are_refused_and_spoil_nothing() {
    type Spoil = fn(&mut DescriptorRecord);
    let mut world = furnished();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let commit = writer.allocate_commit_id();
    let sound = world.descriptor(&mut writer, commit, 100);
    let spoilers: [(&str, Spoil); 7] = [
        ("count of live entries", |it| it.described = Described::Entries(0)),
        ("block", |it| it.block.file = FileId::new(1)),
        ("block", |it| it.block.index = BlockIndex::new(1)),
        ("block", |it| it.block.reference_count = 2),
        ("block", |it| it.block.shards[1] = None),
        ("block", |it| {
            it.block.shards[1].as_mut().expect("a copy").frame_len_bytes += 1;
        }),
        ("block", |it| {
            it.block.geometry = FileGeometry::new(9000, &policy()).block(BlockIndex::new(1));
        }),
    ];
    for (position, (wanted, spoil)) in spoilers.into_iter().enumerate() {
        let mut spoilt = sound.clone();
        spoil(&mut spoilt);
        match writer.put_descriptor(&spoilt) {
            Err(CatalogError::ImpossibleDescriptor { field, .. }) => {
                assert_eq!(field, wanted, "spoiler {position}");
            }
            other => panic!("spoiler {position}: {other:?}"),
        }
    }
    world.put_extents(&mut writer);
    writer.put_descriptor(&sound).expect("a new descriptor");
    let error = writer.put_descriptor(&sound).expect_err("a second one");
    assert!(matches!(error, CatalogError::DescriptorTaken { .. }), "{error:?}");
    world.descriptors.insert(commit, sound.clone());
    assert_eq!(Dump::of(&writer).expect("sound"), world.expected(3));
    let overlapping = DescriptorRecord {
        commit: writer.allocate_commit_id(),
        ..sound
    };
    let error = writer
        .put_descriptor(&overlapping)
        .expect_err("its place is taken");
    assert!(matches!(error, CatalogError::AddressTaken { .. }), "{error:?}");
    assert!(
        matches!(writer.commit(), Err(CatalogError::Incomplete)),
        "half of it was done"
    );
}

//! One publication, sound, half done and impossible.

use super::*;
use crate::catalog::descriptor::Entry;
use crate::units::ShardIndex;

/// A world with one stored version of `a`, and a commit that replaces it.
pub(super) fn about_to_replace() -> (World, Catalog, Publication, Vec<Entry>) {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    world.insert(&mut writer, &name("a"), 10);
    let commit = writer.allocate_commit_id();
    let entries = [("a", 1024), ("b", 9000)].map(|(text, len_bytes)| {
        let (mut file, blocks) = world.file(&mut writer, &name(text), len_bytes);
        file.commit = commit;
        (file, blocks)
    });
    let descriptor = world.descriptor(&mut writer, commit, 900).block;
    world.put_extents(&mut writer);
    let next_ids = writer.next_ids().expect("sound");
    writer.commit().expect("committed");
    let publication = Publication {
        founding: None,
        commit: Some(commit),
        descriptor: Some(descriptor),
        skipped: Vec::new(),
        removed: vec![world.files[&name("a")].0.id],
        retired: Vec::new(),
        touched: Vec::new(),
        renamed: Vec::new(),
        relocated: Vec::new(),
        volumes: Vec::new(),
        announced: Vec::new(),
        forgotten: Vec::new(),
        versions: Vec::new(),
        extents: Vec::new(),
        next_ids,
        checkpoint: None,
    };
    (world, catalog, publication, entries.to_vec())
}

fn renaming(from: &str, to: &str) -> Renaming {
    Renaming {
        from: name(from),
        to: name(to),
    }
}

#[test]
fn versions_follow_what_is_replaced_whatever_the_records_say() {
    let (_world, catalog, publication, mut entries) = about_to_replace();
    entries[0].0.version = 77;
    entries[1].0.version = 78;
    let mut writer = catalog.write().expect("writer");
    let epoch = writer.apply(&publication, entries).expect("applied");
    assert_eq!(epoch, Epoch::new(1));
    let version = |text| {
        writer
            .file_by_name(&name(text))
            .expect("sound")
            .map(|file| file.version)
    };
    assert_eq!((version("a"), version("b")), (Some(2), Some(1)));
}

#[test]
fn a_descriptor_of_which_nothing_is_published_gets_no_row() {
    let (_world, catalog, mut publication, entries) = about_to_replace();
    publication.skipped = vec![0, 1];
    let mut writer = catalog.write().expect("writer");
    writer.apply(&publication, entries).expect("applied");
    let commit = publication.commit.expect("one");
    assert_eq!(writer.descriptor(commit).expect("sound"), None);
    assert_eq!(writer.totals().expect("sound"), Totals::default());
    assert_eq!(writer.shards_page(None, 10).expect("sound"), []);
}

#[test]
fn a_publication_that_fails_half_way_is_never_committed() {
    type Spoil = fn(&mut Publication);
    let spoilers: [(&str, Spoil); 9] = [
        ("is unknown", |it| it.retired.push(it.removed[0])),
        ("nothing is named c", |it| it.renamed.push(renaming("c", "d"))),
        ("named a exists already", |it| it.renamed.push(renaming("b", "a"))),
        ("no shard 1", |it| {
            let address = |offset| ShardAddress {
                extent: ExtentId::new(2),
                offset,
            };
            it.relocated.push(Relocation {
                owner: ShardOwner::InlineBlockOf(it.removed[0]),
                shard: ShardIndex::new(1),
                from: address(4095),
                to: address(0),
                digest: None,
            });
        }),
        ("is unknown", |it| it.removed.push(FileId::new(999))),
        ("exists already", |it| it.removed.clear()),
        ("is unknown", |it| {
            it.touched.push(Touch {
                file: it.removed[0],
                mode: 0,
                modified_at: time(0),
            });
        }),
        ("is unknown", |it| {
            it.extents.push(PublishedExtent {
                id: ExtentId::new(50),
                volume: 9,
                lane: LaneIndex::new(0),
                state: ExtentState::Open,
                end_bytes: 4096,
            });
        }),
        ("behind the committed end", |it| {
            let block = it.descriptor.as_mut().expect("one");
            block.shards[0].as_mut().expect("a copy").offset = 1 << 40;
        }),
    ];
    let (_world, catalog, publication, entries) = about_to_replace();
    let before = Dump::of(&catalog.read().expect("reader")).expect("sound");
    for (position, (wanted, spoil)) in spoilers.into_iter().enumerate() {
        let mut spoilt = publication.clone();
        spoil(&mut spoilt);
        let mut writer = catalog.write().expect("writer");
        let error = writer.apply(&spoilt, entries.clone()).expect_err("spoilt");
        assert!(error.to_string().contains(wanted), "spoiler {position}: {error}");
        assert!(
            matches!(writer.commit(), Err(CatalogError::Incomplete)),
            "{position}"
        );
        assert_eq!(Dump::of(&catalog.read().expect("reader")).expect("sound"), before);
    }
}

#[test]
fn an_impossible_publication_spoils_nothing() {
    type Spoil = fn(&mut Publication);
    let spoilers: [(&str, Spoil); 8] = [
        ("renaming of a name to one below it", |it| {
            it.renamed.push(renaming("b", "b"));
        }),
        ("renaming of a name to one below it", |it| {
            it.renamed.push(renaming("b", "b/c"));
        }),
        ("list of skipped entries", |it| it.skipped = vec![1, 0]),
        ("list of skipped entries", |it| it.skipped = vec![0, 0]),
        ("list of skipped entries", |it| it.skipped = vec![2]),
        ("descriptor without a commit", |it| it.commit = None),
        ("entry of another commit", |it| {
            it.commit = Some(CommitId::new(99));
        }),
        ("block of a descriptor", |it| {
            it.descriptor.as_mut().expect("one").file = FileId::new(1);
        }),
    ];
    let (_world, catalog, publication, entries) = about_to_replace();
    let mut writer = catalog.write().expect("writer");
    for (position, (wanted, spoil)) in spoilers.into_iter().enumerate() {
        let mut spoilt = publication.clone();
        spoil(&mut spoilt);
        match writer.apply(&spoilt, entries.clone()) {
            Err(CatalogError::ImpossiblePublication { field }) => {
                assert_eq!(field, wanted, "spoiler {position}");
            }
            other => panic!("spoiler {position}: {other:?}"),
        }
    }
    writer.apply(&publication, entries).expect("applied");
    writer.commit().expect("nothing was spoilt");
}

//! What is published as bytes: descriptors, and the bodies of records.

use proptest::prelude::*;

use super::one_publication::about_to_replace;
use super::publications::{encode, encoded_len_bytes};
use super::*;
use crate::catalog::descriptor::{Descriptor, Entry, parse};
use crate::error::CatalogBytesError;
use crate::units::ShardIndex;

/// Every tier, a directory and a link, in one commit.
fn entries_of_all_kinds() -> Vec<Entry> {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let mut entries: Vec<Entry> = LENGTHS
        .iter()
        .map(|&len_bytes| world.file(&mut writer, &name(&format!("f/{len_bytes}")), len_bytes))
        .collect();
    entries[6].1[1].reference_count = 2;
    for (text, kind) in [("d", EntryKind::Directory), ("l", link_to(b"../\xff"))] {
        entries.push((world.entry(&mut writer, &name(text), kind), Vec::new()));
    }
    entries
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

pub(super) fn compact(expected: &str) -> String {
    expected.split_whitespace().collect()
}

#[test]
fn descriptors_have_their_golden_bytes() {
    assert_eq!(
        hex(&encode(&[])),
        compact(
            "626664626465736301
             a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5010080c49fd50c050a80200101808001010280100302801080c8afa025030280808002034a00 00"
        )
    );
    let all = entries_of_all_kinds();
    let entries = [all[1].clone(), all[10].clone()];
    assert_eq!(
        hex(&encode(&entries)),
        compact(
            "626664626465736301
             a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5010080c49fd50c050a80200101808001010280100302801080c8afa025030280808002034a00
             02020000000000000003662f310100a4810000ffffffffffffffff0500000001f1536500000000
             05000000010000000200000000000000010000000000000001010001000a010000000000000000000000000000000100
             00000100000000000000000000000000020202020202020202020202020202020202020202020202020202020202020282010000000000000101
             000000000000000100000002010000000000000000100000000000000200000000000000001000000000000001c10000
             000000000001010101010101010101010101010101010101010101010101010101010101010b00000000000000016c03
             042e2e2fffa4810000ffffffffffffffff0500000001f153650000000005000000010000000b00000000000000000000
             000000000001010001000a00000000000000000000000000000000000000000000000000000000000000000000af1349b9f5f9a1a6a0404dea36
             dcc9499bcb25c9adc112b7cc9a93cae41f3262000000000000000000"
        )
    );
}

/// One of each kind of owner.
fn relocations() -> Vec<Relocation> {
    let address = |extent, offset| ShardAddress {
        extent: ExtentId::new(extent),
        offset,
    };
    let relocation = |owner, shard| Relocation {
        owner,
        shard: ShardIndex::new(shard),
        from: address(1, 4096),
        to: address(300, 1 << 30),
        digest: None,
    };
    vec![
        Relocation {
            digest: Some(ShardDigest::from_bytes([0xdd; 32])),
            ..relocation(ShardOwner::Block(BlockId::new(300)), 255)
        },
        relocation(ShardOwner::InlineBlockOf(FileId::new(7)), 0),
        relocation(ShardOwner::Descriptor(CommitId::new(9)), 1),
    ]
}

#[test]
fn the_first_publication_says_what_it_founds_in_its_golden_bytes() {
    let (_world, _catalog, publication, _) = about_to_replace();
    let volumes = vec![VolumeChange {
        number: 300,
        id: VolumeId::from_bytes([7; 16]),
        state: VolumeState::Draining,
        path: b"/a".to_vec(),
    }];
    let first = Publication {
        founding: Some(Founding {
            archive: archive(),
            volumes,
        }),
        ..publication.clone()
    };
    let (founding, rest) = (hex(&first.encode()), hex(&publication.encode()));
    // Between the version and everything else.
    let founding = founding
        .strip_suffix(&rest[4..])
        .expect("the rest stays as it is");
    assert_eq!(
        founding,
        compact(
            "0101a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5010080c49fd50c050a80200101808001010280100302801080c8afa025030280808002034a0001ac0207
             07070707070707070707070707070702022f61"
        )
    );
    assert_eq!(Publication::parse(&first.encode()), Ok(first));
}

/// Something of everything but relocations and what follows.
fn full(publication: Publication) -> Publication {
    Publication {
        skipped: vec![1, 300],
        removed: vec![FileId::new(300), FileId::new(2)],
        retired: vec![FileId::new(301)],
        touched: vec![Touch {
            file: FileId::new(7),
            mode: 0o100_644,
            modified_at: Timestamp::new(-2, 999_999_999).expect("valid"),
        }],
        renamed: vec![Renaming {
            from: name("a/b"),
            to: name("c"),
        }],
        extents: vec![PublishedExtent {
            id: ExtentId::new(300),
            volume: 2,
            lane: LaneIndex::new(32),
            state: ExtentState::Abandoned,
            end_bytes: 1 << 30,
        }],
        volumes: vec![VolumeChange {
            number: 300,
            id: VolumeId::from_bytes([7; 16]),
            state: VolumeState::Draining,
            path: b"/a".to_vec(),
        }],
        announced: vec![1, 300],
        ..publication
    }
}

#[test]
fn publications_have_their_golden_bytes() {
    let (_world, _catalog, publication, _) = about_to_replace();
    let mut publication = full(publication);
    assert_eq!(
        hex(&publication.encode()),
        compact(
            "01000102010801010a84070201f27802f27801c408dddddddddddddddddddddddddddddddddddddddddddddddddddddddd
             dddddddd0201ac0202ac0202
             01ad02
             0107a4830203ff93ebdc03
             0103612f620163
             00
             01ac020707070707070707070707070707070702022f61
             01ac020220038080808004
             0201ac02
             0000
             0409060500"
        )
    );
    assert_eq!(Publication::parse(&publication.encode()), Ok(publication.clone()));
    publication.relocated = relocations();
    publication.forgotten = vec![CommitId::new(3), CommitId::new(300)];
    publication.versions = vec![GivenVersion {
        position: 300,
        version: 2,
    }];
    assert_eq!(
        hex(&publication.encode()),
        compact(
            "01000102010801010a84070201f27802f27801c408dddddddddddddddddddddddddddddddddddddddddddddddddddddddd
             dddddddd0201ac0202ac0202
             01ad02
             0107a4830203ff93ebdc03
             0103612f620163
             03
             01ac02ff01018020ac02808080800401dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
             020700018020ac02808080800400
             030901018020ac02808080800400
             01ac020707070707070707070707070707070702022f61
             01ac020220038080808004
             0201ac02
             0203ac02
             01ac0202
             0409060500"
        )
    );
    assert_eq!(Publication::parse(&publication.encode()), Ok(publication.clone()));
    publication.commit = None;
    publication.descriptor = None;
    assert_eq!(Publication::parse(&publication.encode()), Ok(publication));
}

#[test]
fn how_long_a_descriptor_is_follows_from_names_and_geometries_alone() {
    let mut entries = entries_of_all_kinds();
    let expected = encoded_len_bytes(
        entries
            .iter()
            .map(|(file, _)| (&file.name, &file.kind, &file.geometry)),
    );
    let len_of = |entries: &[Entry]| u64::try_from(encode(entries).len()).expect("short");
    let parsed = Descriptor {
        archive: archive(),
        entries: entries.clone(),
    };
    assert_eq!(parse(&encode(&entries)), Ok(parsed));
    assert_eq!(len_of(&entries), expected);
    for (file, blocks) in &mut entries {
        (file.id, file.commit) = (FileId::new(u64::MAX), CommitId::new(u64::MAX));
        (file.mode, file.version, file.stored_bytes) = (u32::MAX, u32::MAX, u64::MAX);
        file.root = RootHash::from_bytes([0; 32]);
        let latest = Timestamp::new(i64::MAX, 999_999_999).expect("valid");
        (file.modified_at, file.committed_at) = (latest, latest);
        for block in blocks {
            (block.id, block.reference_count) = (BlockId::new(u64::MAX), u32::MAX);
            for shard in block.shards.iter_mut().flatten() {
                (shard.extent, shard.offset) = (ExtentId::new(u64::MAX), u64::MAX / 2);
                shard.digest = ShardDigest::from_bytes([0; 32]);
                shard.frame_len_bytes = u64::MAX / 2;
            }
        }
    }
    assert_eq!(len_of(&entries), expected);
    for count in [0, 1, 127, 128, 300] {
        let many: Vec<Entry> = (0..count).map(|_| entries[0].clone()).collect();
        let named = many
            .iter()
            .map(|(file, _)| (&file.name, &file.kind, &file.geometry));
        assert_eq!(len_of(&many), encoded_len_bytes(named), "{count} entries");
    }
}

#[test]
fn a_descriptor_of_another_kind_or_version_is_refused_as_such() {
    let sound = encode(&entries_of_all_kinds());
    assert_eq!(parse(b""), Err(CatalogBytesError::Magic));
    assert_eq!(parse(&sound[1..]), Err(CatalogBytesError::Magic));
    let mut newer = sound;
    newer[8] = 2;
    assert_eq!(parse(&newer), Err(CatalogBytesError::Version { found: 2 }));
    assert_eq!(Publication::parse(b""), Err(CatalogBytesError::Unparsable));
    assert_eq!(
        Publication::parse(&[2]),
        Err(CatalogBytesError::Version { found: 2 })
    );
}

/// Whatever parses is what an encoder has made.
fn check_parsers(bytes: &[u8]) {
    if let Ok(Descriptor { archive, entries }) = parse(bytes) {
        assert_eq!(descriptor::encode(&archive, &entries), bytes);
    }
    if let Ok(publication) = Publication::parse(bytes) {
        assert_eq!(publication.encode(), bytes);
    }
}

#[test]
fn parsers_accept_what_encoders_write_whatever_bit_is_flipped_or_byte_is_missing() {
    let (_world, _catalog, mut publication, entries) = about_to_replace();
    publication.relocated = relocations();
    publication.retired = vec![FileId::new(300)];
    publication.renamed = vec![Renaming {
        from: name("d/e"),
        to: name("d/f"),
    }];
    for sound in [publication.encode(), encode(&entries)] {
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            check_parsers(&bytes);
        }
        for len in 0..sound.len() {
            assert!(parse(&sound[..len]).is_err() && Publication::parse(&sound[..len]).is_err());
        }
        let longer = [sound.as_slice(), &[0]].concat();
        assert!(parse(&longer).is_err() && Publication::parse(&longer).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsers_survive_mutated_bytes(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        spliced in (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..12)),
    ) {
        let (_world, _catalog, publication, _) = about_to_replace();
        for sound in [publication.encode(), encode(&entries_of_all_kinds())] {
            let mut bytes = sound.clone();
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            check_parsers(&bytes);
            let at = spliced.0.index(bytes.len());
            bytes.splice(at..at, spliced.1.iter().copied());
            check_parsers(&bytes);
        }
    }

    #[test]
    fn parsers_survive_any_bytes(body in prop::collection::vec(any::<u8>(), 0..300)) {
        check_parsers(&[b"bfdbdesc\x01".as_slice(), &body].concat());
        check_parsers(&[[1].as_slice(), &body].concat());
    }
}

use super::*;
use crate::units::{ColumnIndex, LeafLen, to_u64, to_usize};
use blake3::hazmat::{Mode, merge_subtrees_non_root, merge_subtrees_root};

/// The 251-byte pattern of the published BLAKE3 test vectors.
fn painted(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

fn leaf_len(log2: u8) -> LeafLen {
    LeafLen::from_log2(log2).expect("a leaf length between 1 KiB and 1 MiB")
}

fn leaf_hashes(bytes: &[u8], leaf: LeafLen) -> Vec<LeafHash> {
    let kind = DataLeaves::of_file(to_u64(bytes.len()), leaf);
    let offsets = (0..).map(|index: u64| index * leaf.bytes());
    bytes
        .chunks(to_usize(leaf.bytes()))
        .zip(offsets)
        .map(|(bytes, offset)| hash_data_leaf(kind, offset, bytes))
        .collect()
}

fn fold(hashes: &[LeafHash], leaf: LeafLen) -> RootHash {
    let mut folder = RootFolder::new(leaf);
    hashes.iter().for_each(|&hash| folder.push(hash));
    folder.finish()
}

fn blake3_of(bytes: &[u8]) -> RootHash {
    RootHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// The definition: the left part is the largest power of two of leaves that leaves something for the right.
fn subtree_by_definition(hashes: &[[u8; 32]]) -> [u8; 32] {
    if let [only] = hashes {
        return *only;
    }
    let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
    merge_subtrees_non_root(
        &subtree_by_definition(left),
        &subtree_by_definition(right),
        Mode::Hash,
    )
}

fn root_by_definition(hashes: &[LeafHash]) -> RootHash {
    let hashes: Vec<[u8; 32]> = hashes.iter().map(|hash| hash.to_bytes()).collect();
    let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
    let root = merge_subtrees_root(
        &subtree_by_definition(left),
        &subtree_by_definition(right),
        Mode::Hash,
    );
    RootHash::from_bytes(*root.as_bytes())
}

#[test]
fn folding_gives_the_published_blake3_of_the_test_vectors() {
    let vectors = [
        (
            0,
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        ),
        (
            1,
            "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
        ),
        (
            1024,
            "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
        ),
        (
            1025,
            "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
        ),
        (
            2048,
            "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a",
        ),
        (
            102_400,
            "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
        ),
    ];
    for (len, expected) in vectors {
        for log2 in [10, 11, 13, 16, 20] {
            let root = fold(&leaf_hashes(&painted(len), leaf_len(log2)), leaf_len(log2));
            assert_eq!(root.to_string(), expected, "{len} bytes in leaves of 2^{log2}");
        }
    }
}

#[test]
fn folding_gives_blake3_for_every_length_around_every_leaf_count() {
    for log2 in [10, 11, 12, 16] {
        let leaf = leaf_len(log2);
        let leaf_bytes = to_usize(leaf.bytes());
        let bytes = painted(67 * leaf_bytes);
        let counts = if log2 == 16 { 0..=18 } else { 0..=66 };
        for whole in counts.map(|count| count * leaf_bytes) {
            let lens = [
                whole.saturating_sub(1),
                whole,
                whole + 1,
                whole + 63,
                whole + leaf_bytes / 2,
                whole + leaf_bytes - 1,
            ];
            for bytes in lens.map(|len| &bytes[..len]) {
                let hashes = leaf_hashes(bytes, leaf);
                let root = fold(&hashes, leaf);
                assert_eq!(
                    root,
                    blake3_of(bytes),
                    "{} bytes in leaves of 2^{log2}",
                    bytes.len()
                );
                if hashes.len() > 1 {
                    assert_eq!(
                        root,
                        root_by_definition(&hashes),
                        "{} leaves by definition",
                        hashes.len()
                    );
                }
            }
        }
    }
}

#[test]
fn every_length_up_to_five_small_leaves_folds_to_blake3() {
    let (leaf, bytes) = (leaf_len(10), painted(5 * 1024 + 2));
    for len in 0..=bytes.len() {
        assert_eq!(
            fold(&leaf_hashes(&bytes[..len], leaf), leaf),
            blake3_of(&bytes[..len]),
            "{len} bytes"
        );
    }
}

#[test]
fn folding_from_the_state_after_any_push_gives_the_same_root() {
    let (leaf, bytes) = (leaf_len(10), painted(40 * 1024 + 7));
    for len in (0..=41).map(|count: usize| (count * 1024).min(bytes.len())) {
        let hashes = leaf_hashes(&bytes[..len], leaf);
        let mut folder = RootFolder::new(leaf);
        for pushed in 0..=hashes.len() {
            let state = folder.state();
            assert_eq!(state.leaf_count(), to_u64(pushed));
            assert_eq!(folder.next_offset(), to_u64(pushed) * 1024);
            let parts = FolderState::from_parts(leaf, state.leaf_count(), state.hashes().to_vec());
            assert_eq!(parts.as_ref(), Some(&state), "parts of {pushed} leaves");
            let mut resumed = RootFolder::from_state(leaf, state);
            hashes[pushed..].iter().for_each(|&hash| resumed.push(hash));
            assert_eq!(
                resumed.finish(),
                blake3_of(&bytes[..len]),
                "resumed after {pushed} leaves of {}",
                hashes.len()
            );
            if let Some(&hash) = hashes.get(pushed) {
                folder.push(hash);
            }
        }
    }
}

#[test]
fn a_state_with_the_wrong_number_of_hashes_or_too_many_leaves_is_refused() {
    let leaf = LeafLen::DEFAULT;
    for count in 0..200 {
        let mut folder = RootFolder::new(leaf);
        (0..count).for_each(|_| folder.push(LeafHash::from_bytes([7; 32])));
        let hashes = folder.state().hashes().to_vec();
        assert!(
            hashes.len() <= 9,
            "{count} leaves stand in {} hashes",
            hashes.len()
        );
        for wrong in (0..12).filter(|&wrong| wrong != hashes.len()) {
            assert_eq!(
                FolderState::from_parts(leaf, count, vec![[7; 32]; wrong]),
                None,
                "{count} leaves, {wrong} hashes"
            );
        }
    }
    let most = u64::MAX >> 16;
    assert!(
        FolderState::from_parts(leaf, most, vec![[7; 32]; 48]).is_some(),
        "2^64 bytes but one leaf"
    );
    assert_eq!(
        FolderState::from_parts(leaf, most + 1, vec![[7; 32]; 49]),
        None,
        "2^64 bytes"
    );
    assert_eq!(
        FolderState::from_parts(leaf, u64::MAX, vec![[7; 32]; 64]),
        None,
        "2^80 bytes"
    );
}

#[test]
fn files_of_at_most_one_leaf_have_the_root_for_their_leaf_hash() {
    let leaf = LeafLen::DEFAULT;
    for (len, expected) in [
        (0, DataLeaves::Root),
        (1, DataLeaves::Root),
        (leaf.bytes(), DataLeaves::Root),
        (leaf.bytes() + 1, DataLeaves::Subtree),
        (u64::MAX, DataLeaves::Subtree),
    ] {
        assert_eq!(DataLeaves::of_file(len, leaf), expected, "{len} bytes");
    }
    let bytes = painted(to_usize(leaf.bytes()));
    let root = hash_data_leaf(DataLeaves::Root, 0, &bytes);
    assert_eq!(root.as_bytes(), blake3_of(&bytes).as_bytes());
    assert_ne!(
        root,
        hash_data_leaf(DataLeaves::Subtree, 0, &bytes),
        "a root is no chaining value"
    );
}

#[test]
fn a_data_leaf_verifies_only_with_its_bytes_at_its_offset_in_its_kind() {
    let bytes = painted(4096);
    let hash = hash_data_leaf(DataLeaves::Subtree, 8192, &bytes);
    assert!(verify_data_leaf(DataLeaves::Subtree, 8192, &bytes, &hash));
    assert!(
        !verify_data_leaf(DataLeaves::Subtree, 4096, &bytes, &hash),
        "a leaf in another's place"
    );
    assert!(
        !verify_data_leaf(DataLeaves::Root, 0, &bytes, &hash),
        "a chaining value is no root"
    );
    assert!(
        !verify_data_leaf(DataLeaves::Subtree, 8192, &bytes[..4095], &hash),
        "a byte short"
    );
    assert!(
        !verify_data_leaf(DataLeaves::Subtree, 8192, b"", &hash),
        "no bytes at all"
    );
    for bit in (0..4096 * 8).step_by(1021) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            !verify_data_leaf(DataLeaves::Subtree, 8192, &flipped, &hash),
            "bit {bit}"
        );
    }
}

#[test]
fn a_parity_leaf_is_plain_blake3_of_its_bytes() {
    let mut bytes = painted(65_536);
    let hash = hash_parity_leaf(&bytes);
    assert_eq!(hash.as_bytes(), blake3::hash(&bytes).as_bytes());
    assert!(verify_parity_leaf(&bytes, &hash));
    bytes[65_535] ^= 0x80;
    assert!(!verify_parity_leaf(&bytes, &hash));
}

#[test]
#[should_panic(expected = "a subtree of nothing has no hash")]
fn hashing_an_empty_subtree_is_a_bug() {
    hash_data_leaf(DataLeaves::Subtree, 1024, b"");
}

#[test]
#[should_panic(expected = "the only leaf of a file begins with it")]
fn hashing_a_root_at_an_offset_is_a_bug() {
    hash_data_leaf(DataLeaves::Root, 1024, b"x");
}

fn table(entries: u8) -> LeafTable {
    LeafTable::new((0..entries).map(|entry| hash_parity_leaf(&[entry])).collect())
}

#[test]
fn the_digest_of_one_leaf_is_its_hash_and_of_more_a_golden_derived_one() {
    assert_eq!(table(1).digest().as_bytes(), hash_parity_leaf(&[0]).as_bytes());
    // These are bytes on disk: a change here is a change of the format.
    assert_eq!(
        table(2).digest().to_string(),
        "b1de36566794cb3e286eb36b76db2859b7f8158bcce976d47cd01e1249e59805"
    );
    assert_eq!(
        table(128).digest().to_string(),
        "31245aec336fdbe65910835bcbbff2cf39d10f1a271cfea4216fd29788556859"
    );
    assert_ne!(
        table(2).digest().as_bytes(),
        blake3::hash(&table(2).to_bytes()).as_bytes(),
        "no hash of a user's file"
    );
}

#[test]
fn a_table_parses_back_with_its_own_digest_and_entry_count_alone() {
    for entries in [1, 2, 3, 128] {
        let (table, bytes) = (table(entries), table(entries).to_bytes());
        let count = usize::from(entries);
        assert_eq!((table.len(), bytes.len()), (count, 32 * count));
        assert_eq!(
            LeafTable::parse_verified(&bytes, count, &table.digest()).as_ref(),
            Some(&table)
        );
        for wrong in [0, count - 1, count + 1, usize::MAX] {
            assert_eq!(
                LeafTable::parse_verified(&bytes, wrong, &table.digest()),
                None,
                "{wrong} entries of {count}"
            );
        }
        for wrong in [0, 1, 31, bytes.len() - 32, bytes.len() - 1] {
            assert_eq!(
                LeafTable::parse_verified(&bytes[..wrong], count, &table.digest()),
                None,
                "{wrong} bytes"
            );
            let entries = wrong / 32;
            assert_eq!(
                LeafTable::parse_verified(&bytes[..wrong], entries, &table.digest()),
                None,
                "{wrong} bytes"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(
            LeafTable::parse_verified(&longer, count, &table.digest()),
            None,
            "a byte too many"
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_table_is_noticed() {
    for entries in [1_u8, 2, 5] {
        let (mut bytes, digest) = (table(entries).to_bytes(), table(entries).digest());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                LeafTable::parse_verified(&bytes, usize::from(entries), &digest),
                None,
                "bit {bit} of {entries}"
            );
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(
            LeafTable::parse_verified(&bytes, usize::from(entries), &digest).is_some(),
            "whole again"
        );
    }
}

#[test]
fn swapped_entries_are_noticed() {
    let mut hashes: Vec<LeafHash> = table(9).iter().copied().collect();
    hashes.swap(3, 7);
    assert_ne!(LeafTable::new(hashes).digest(), table(9).digest());
}

#[test]
fn the_table_of_a_single_leaf_comes_out_of_its_digest() {
    let digest = table(1).digest();
    assert_eq!(LeafTable::from_single(&digest), table(1));
    assert_eq!(LeafTable::from_single(&digest).digest(), digest);
}

#[test]
fn tables_give_their_hashes_by_column_and_none_beyond() {
    let table = table(3);
    assert_eq!(table.get(ColumnIndex::new(2)), Some(&hash_parity_leaf(&[2])));
    assert_eq!(table.get(ColumnIndex::new(3)), None);
    assert_eq!(table.get(ColumnIndex::new(u32::MAX)), None);
    assert_eq!((&table).into_iter().count(), 3);
}

#[test]
fn roots_print_and_parse_as_b3sum_writes_them() {
    let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    let root: RootHash = text.parse().expect("64 hexadecimal digits");
    assert_eq!(root, blake3_of(b""));
    assert_eq!(root.to_string(), text);
    assert_eq!(format!("{root:?}"), format!("RootHash({text})"));
    assert_eq!(text.to_uppercase().parse(), Ok(root));
    assert_eq!(RootHash::from_bytes(root.to_bytes()), root);
    assert_eq!(ShardDigest::from_bytes(root.to_bytes()).to_string(), text);
}

#[test]
fn text_that_is_no_root_says_where() {
    use crate::error::RootHashError;
    let parse = |text: &str| text.parse::<RootHash>();
    assert_eq!(parse(""), Err(RootHashError::Length { found: 0 }));
    assert_eq!(parse(&"a".repeat(63)), Err(RootHashError::Length { found: 63 }));
    assert_eq!(parse(&"a".repeat(65)), Err(RootHashError::Length { found: 65 }));
    assert_eq!(
        parse(&format!("{}g{}", "0".repeat(40), "0".repeat(23))),
        Err(RootHashError::Digit { index: 40 })
    );
    assert_eq!(
        parse(&format!("+{}", "0".repeat(63))),
        Err(RootHashError::Digit { index: 0 })
    );
    assert_eq!(
        parse(&"\u{e9}".repeat(32)),
        Err(RootHashError::Digit { index: 0 }),
        "64 bytes, 32 characters"
    );
}

#[test]
fn everything_public_can_be_sent_and_printed_for_debugging() {
    fn check<T: Send + Sync + core::fmt::Debug>() {}
    check::<(
        LeafHash,
        RootHash,
        ShardDigest,
        DataLeaves,
        LeafTable,
        RootFolder,
        FolderState,
    )>();
}

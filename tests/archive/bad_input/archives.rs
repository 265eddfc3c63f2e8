//! Directories that are no archive, and catalogs that are not what was written.

use std::{
    collections::BTreeMap,
    fs::{self},
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{Archive, ArchiveOptions},
    catalog::{Access, ArchiveRecord, Catalog, CatalogOptions},
    error::{CatalogError, OpenError, ReadError},
    host::Machine,
    units::{ArchiveId, Timestamp},
};
use bfdb_fault_injection::Seeded;

use crate::support::{Store, copy_dir, get, painted, small_policy, try_open};

use super::*;

#[test]
fn a_directory_that_is_no_archive_is_named_for_what_it_is_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |text: &str| dir.path().join(text);
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("foreign")).unwrap();
    fs::write(at("foreign/letter.txt"), "dear").unwrap();
    fs::write(at("file"), "a file").unwrap();
    let store = store_with_files();
    copy_dir(&store.root(), &at("remains"));
    fs::remove_file(at("remains/catalog.redb")).unwrap();
    copy_dir(&store.root(), &at("archive"));
    for access in [Access::Read, Access::Write] {
        let opened = |text: &str| try_open(&at(text), access).unwrap_err();
        assert!(matches!(opened("missing"), OpenError::NotFound { .. }));
        assert!(matches!(opened("empty"), OpenError::NotFound { .. }));
        assert!(matches!(opened("foreign"), OpenError::NotAnArchive { .. }));
        assert!(matches!(opened("remains"), OpenError::CatalogMissing { .. }));
        drop(opened("file"));
    }
    let options = ArchiveOptions {
        policy: small_policy(),
        ..ArchiveOptions::default()
    };
    for taken in ["foreign", "remains", "archive"] {
        let before = tree(&at(taken));
        let created = Archive::create(&at(taken), &options);
        assert!(
            matches!(
                created,
                Err(OpenError::Exists { .. } | OpenError::NotEmpty { .. })
            ),
            "{taken}: {created:?}"
        );
        assert!(tree(&at(taken)) == before, "{taken} is as it was");
    }
    assert!(Archive::create(&at("file"), &options).is_err());
    assert_eq!(fs::read(at("file")).unwrap(), b"a file");
    for free in ["missing", "empty"] {
        drop(Archive::create(&at(free), &options).unwrap());
    }
}

/// Every file below a directory.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// An archive that nobody has open, and its catalog.
pub struct Closed {
    pub _dir: tempfile::TempDir,
    pub root: PathBuf,
    pub catalog: Vec<u8>,
}

impl Closed {
    pub fn new() -> Self {
        let store = store_with_files();
        let root = store.root();
        let Store { dir, archive } = store;
        archive.close().unwrap();
        let catalog = fs::read(root.join("catalog.redb")).unwrap();
        Self {
            _dir: dir,
            root,
            catalog,
        }
    }

    /// Puts `catalog` in the place of the real one, reads everything, and says whether all of it was there.
    pub fn reads_with(&self, catalog: &[u8], access: Access, story: &str) -> bool {
        fs::write(self.root.join("catalog.redb"), catalog).unwrap();
        let is_damage = |error: &CatalogError| error.is_damaged() || error.is_newer_format();
        let archive = match try_open(&self.root, access) {
            Ok((archive, _)) => archive,
            Err(OpenError::Catalog { source }) => {
                assert!(is_damage(&source), "{story}: {source:?}");
                return false;
            }
            Err(other) => panic!("{story}: {other:?}"),
        };
        let mut all = true;
        for (index, len) in LENGTHS.into_iter().enumerate() {
            match get(&archive, &format!("stored/{index}")) {
                Ok(content) => assert!(content == painted(len, index as u64), "O1: {story}"),
                Err(ReadError::Catalog { source }) if is_damage(&source) => all = false,
                Err(other) => panic!("{story}: a damaged catalog is not {other:?}"),
            }
        }
        let listed: Result<Vec<_>, _> = match archive.snapshot() {
            Ok(snapshot) => snapshot.files(None).collect(),
            Err(source) => Err(source),
        };
        match listed {
            Ok(files) => assert_eq!(
                files.len(),
                LENGTHS.len(),
                "{story}: a file is missing without an error"
            ),
            Err(source) => {
                assert!(is_damage(&source), "{story}: {source:?}");
                all = false;
            }
        }
        all
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_catalog_is_noticed_or_harmless() {
    let closed = Closed::new();
    let mut seeded = Seeded::new(7);
    // Half of the positions anywhere, half where something is written.
    let written: Vec<usize> = (0..closed.catalog.len())
        .filter(|&at| closed.catalog[at] != 0)
        .collect();
    let mut noticed = 0;
    for round in 0..220 {
        let at = if round % 2 == 0 {
            seeded.index(closed.catalog.len())
        } else {
            written[seeded.index(written.len())]
        };
        let mut catalog = closed.catalog.clone();
        catalog[at] ^= 1 << seeded.below(8);
        let access = if round % 4 < 2 {
            Access::Read
        } else {
            Access::Write
        };
        noticed +=
            usize::from(!closed.reads_with(&catalog, access, &format!("a bit of byte {at}, {access:?}")));
    }
    assert!(
        noticed > 20,
        "only {noticed} flips were noticed: they did not hit anything"
    );
    assert!(closed.reads_with(&closed.catalog, Access::Write, "the right catalog"));
}

#[test]
fn a_catalog_that_is_cut_off_or_garbage_is_called_damaged() {
    let closed = Closed::new();
    let len = closed.catalog.len();
    let mut seeded = Seeded::new(8);
    for kept in [
        0,
        1,
        63,
        64,
        320,
        511,
        4095,
        4096,
        len / 3,
        len / 2,
        len - 4096,
        len - 1,
    ] {
        let story = format!("{kept} of {len} bytes");
        let all = closed.reads_with(&closed.catalog[..kept], Access::Read, &story);
        assert!(!all || kept >= len / 2, "{story}");
        closed.reads_with(&closed.catalog[..kept], Access::Write, &story);
    }
    for len in [1, 4096, len] {
        let garbage: Vec<u8> = (0..len).map(|_| seeded.next_u64() as u8).collect();
        assert!(!closed.reads_with(&garbage, Access::Write, "garbage"));
        assert!(!closed.reads_with(&vec![0; len], Access::Write, "zeros"));
    }
    assert!(closed.reads_with(&closed.catalog, Access::Read, "the right catalog"));
}

#[test]
fn an_archive_of_a_newer_format_is_refused_as_newer() {
    let closed = Closed::new();
    for (format_version, required_features) in [(2, 0), (1, 1 << 40)] {
        let path = closed.root.join("catalog.redb");
        fs::remove_file(&path).unwrap();
        let record = ArchiveRecord {
            id: ArchiveId::from_bytes([1; 16]),
            format_version,
            required_features,
            created_at: Timestamp::EPOCH,
            policy: small_policy(),
        };
        let storage = Machine::default().storage;
        Catalog::create(
            &storage,
            &path,
            &record,
            &[],
            CatalogOptions { cache_bytes: 1 << 20 },
        )
        .unwrap();
        for access in [Access::Read, Access::Write] {
            let error = try_open(&closed.root, access).unwrap_err();
            assert!(
                matches!(&error, OpenError::Catalog { source } if source.is_newer_format()),
                "{error:?}"
            );
        }
    }
}

/// A slot with a feature or a version that this program does not know: reading was once allowed, although a feature bit is
/// what says that bytes would be misread.
#[test]
fn a_volume_of_a_newer_format_is_refused_as_newer_and_left_alone() {
    let closed = Closed::new();
    let slots = closed.root.join("volumes/v0/volume.bfv");
    let whole = fs::read(&slots).unwrap();
    for (offset, value) in [(8, 2), (96, 1), (200, 1)] {
        for slot in [0, 4096] {
            let mut newer = whole.clone();
            newer[slot + offset] = value;
            let crc = crc32(&newer[slot..slot + 4092]);
            newer[slot + 4092..slot + 4096].copy_from_slice(&crc.to_le_bytes());
            fs::write(&slots, &newer).unwrap();
            for access in [Access::Read, Access::Write] {
                let error = try_open(&closed.root, access).unwrap_err();
                assert!(
                    matches!(&error, OpenError::VolumeSlots { source, .. } if source.needs_newer_version()),
                    "{error:?}"
                );
            }
            assert!(fs::read(&slots).unwrap() == newer);
        }
    }
    fs::write(&slots, whole).unwrap();
    assert!(closed.reads_with(&closed.catalog, Access::Write, "the right slots"));
}

pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    })
}

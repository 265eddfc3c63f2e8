//! Damage is noticed: in rows, of rows, and in the file underneath.

use redb::{ConcurrencyMode, Database, ReadableDatabase as _, ReadableTable as _};

use super::*;
use crate::catalog::rows::{DamageRow, HealthRow};
use crate::catalog::source::KeyValue;
use crate::catalog::tables::{COUNTED_TABLES, TABLES, TOTALS_HEALTH, damage_key, definition, seal};
use crate::error::{CatalogDamage, CatalogTable};
use crate::plan::DamageKind;

pub(super) fn raw(path: &Path) -> Database {
    let mut builder = Database::builder();
    builder
        .set_concurrency_mode(ConcurrencyMode::MultiWriter)
        .open(path)
        .expect("opened")
}

pub(super) fn raw_rows(path: &Path, table: CatalogTable) -> Vec<KeyValue> {
    let database = raw(path);
    let transaction = database.begin_read().expect("a transaction");
    let rows = transaction.open_table(definition(table)).expect("a table");
    let rows = rows.iter().expect("rows").map(|row| {
        let (key, value) = row.expect("a row");
        (key.value().to_vec(), value.value().to_vec())
    });
    let rows = rows.collect();
    database.close().expect("closed");
    rows
}

/// Every row of every table.
pub(super) fn all_raw_rows(path: &Path) -> Vec<(CatalogTable, Vec<KeyValue>)> {
    TABLES.map(|table| (table, raw_rows(path, table))).to_vec()
}

/// Changes one table behind the back of the catalog; `None` removes a row.
fn raw_change(path: &Path, table: CatalogTable, rows: &[(Vec<u8>, Option<Vec<u8>>)]) {
    let database = raw(path);
    let transaction = database.begin_write().expect("a transaction");
    {
        let mut table = transaction.open_table(definition(table)).expect("a table");
        for (key, row) in rows {
            let before = match row {
                Some(row) => table.insert(key.as_slice(), row.as_slice()).expect("put"),
                None => table.remove(key.as_slice()).expect("removed"),
            };
            assert!(before.is_some(), "only rows that are there are changed");
        }
    }
    transaction.commit().expect("committed");
    database.close().expect("closed");
}

/// Opens in every way and expects damage; `Access::Write` unchecked, as large catalogs are.
fn expect_damage(path: &Path, what: &str) {
    assert_damaged(Dump::at(path, Access::Read), what);
    let unchecked = Check::WhenSmall {
        file_len_bytes: u64::MAX,
    };
    let catalog = Catalog::open(&host(), path, Access::Write, unchecked, CatalogOptions::default());
    assert_damaged(catalog.and_then(|catalog| Dump::of(&catalog.read()?)), what);
    assert_damaged(Dump::at(path, Access::Write), what);
}

fn assert_damaged(result: Result<Dump, CatalogError>, what: &str) {
    match result {
        Ok(_) => panic!("{what} went unnoticed"),
        Err(error) => assert!(error.is_damaged(), "{what}: {error:?}"),
    }
}

#[test]
fn a_flipped_bit_in_a_row_of_any_table_is_damage() {
    let world = furnished();
    let copy = world.directory.path().join("copy");
    for table in TABLES {
        let rows = raw_rows(&world.path(), table);
        for (position, (key, row)) in rows.iter().enumerate().step_by(1 + rows.len() / 4) {
            for bit in [1, row.len() * 3, row.len() * 8 - 1] {
                std::fs::copy(world.path(), &copy).expect("copied");
                let mut row = row.clone();
                row[bit / 8] ^= 1 << (bit % 8);
                raw_change(&copy, table, &[(key.clone(), Some(row))]);
                expect_damage(&copy, &format!("bit {bit} of row {position} of {table}"));
            }
        }
    }
}

#[test]
fn rows_that_stand_under_each_others_keys_are_damage() {
    let world = furnished();
    let copy = world.directory.path().join("copy");
    for table in TABLES {
        let rows = raw_rows(&world.path(), table);
        let [(first, one), (second, other), ..] = rows.as_slice() else {
            panic!("{table} has {} rows", rows.len());
        };
        std::fs::copy(world.path(), &copy).expect("copied");
        let swapped = [
            (first.clone(), Some(other.clone())),
            (second.clone(), Some(one.clone())),
        ];
        raw_change(&copy, table, &swapped);
        expect_damage(&copy, &format!("swapped rows of {table}"));
    }
}

#[test]
fn a_missing_row_of_any_table_is_damage() {
    let world = furnished();
    let copy = world.directory.path().join("copy");
    for table in TABLES {
        for (key, _) in raw_rows(&world.path(), table) {
            if table == CatalogTable::ExtentShards && key[15] % 3 != 0 {
                continue;
            }
            std::fs::copy(world.path(), &copy).expect("copied");
            raw_change(&copy, table, &[(key.clone(), None)]);
            expect_damage(&copy, &format!("missing row {key:?} of {table}"));
        }
    }
}

#[test]
fn a_name_whose_row_is_gone_is_damage_and_never_none() {
    let world = furnished();
    let gone = name("a/b/1024");
    raw_change(
        &world.path(),
        CatalogTable::Names,
        &[(gone.as_bytes().to_vec(), None)],
    );
    let unchecked = Check::WhenSmall {
        file_len_bytes: u64::MAX,
    };
    for access in [Access::Read, Access::Write] {
        let catalog = Catalog::open(
            &host(),
            &world.path(),
            access,
            unchecked,
            CatalogOptions::default(),
        )
        .expect("opened");
        let reader = catalog.read().expect("reader");
        for _ in 0..2 {
            let error = reader.file_by_name(&gone).expect_err("one name is missing");
            let CatalogError::Damaged {
                table: CatalogTable::Names,
                detail,
            } = error
            else {
                panic!("{error:?}");
            };
            assert!(
                matches!(
                    detail,
                    CatalogDamage::RowCount {
                        recorded: 33,
                        found: 32
                    }
                ),
                "{detail:?}"
            );
        }
        assert!(
            reader.file_by_name(&name("a/b/1025")).expect("sound").is_some(),
            "others are found"
        );
    }
    let error = open(&world.path(), Access::Write).expect_err("a check compares the counts");
    assert!(error.is_damaged(), "{error:?}");
    let with_fixed_rows = [CatalogTable::Meta, CatalogTable::Totals];
    assert!(
        (TABLES.iter()).all(|table| with_fixed_rows.contains(table) != COUNTED_TABLES.contains(table)),
        "every table with more than fixed rows is counted"
    );
}

/// Opens a catalog of which no page was verified, as large ones are.
fn open_unchecked(path: &Path, access: Access) -> Catalog {
    let unchecked = Check::WhenSmall {
        file_len_bytes: u64::MAX,
    };
    let options = CatalogOptions::default();
    Catalog::open(&host(), path, access, unchecked, options).expect("opened")
}

type Ask = fn(&CatalogReader, &[u64]) -> Result<usize, CatalogError>;

/// Questions about what stands under a key, by its numbers; each returns how much there is.
fn questions() -> Vec<(CatalogTable, &'static str, Ask)> {
    vec![
        (CatalogTable::Damage, "damage of a block", |reader, key| {
            Ok(reader.damage_of_block(BlockId::new(key[0]))?.len())
        }),
        (
            CatalogTable::DamagedBlocks,
            "damaged blocks of a file",
            |reader, key| Ok(reader.damaged_blocks_of(FileId::new(key[0]), None, 100)?.len()),
        ),
        (CatalogTable::DamagedBlocks, "damaged blocks", |reader, _| {
            Ok(reader.damaged_blocks_page(None, 100)?.len())
        }),
        (CatalogTable::ByState, "a damaged file", |reader, key| {
            Ok(reader.damaged_file(FileId::new(key[1]))?.into_iter().count())
        }),
        (CatalogTable::ByState, "damaged files", |reader, key| {
            let state = FileState::from_number(key[0]).expect("a state");
            Ok(reader.damaged_files_page(state, None, 100)?.len())
        }),
        (CatalogTable::Unverified, "an unverified file", |reader, key| {
            Ok(usize::from(reader.is_unverified(FileId::new(key[0]))?))
        }),
        (CatalogTable::Unverified, "unverified files", |reader, _| {
            Ok(reader.unverified_page(None, 100)?.len())
        }),
        (CatalogTable::Verified, "what was verified", |reader, key| {
            Ok(reader.verified_of(ExtentId::new(key[0]))?.len())
        }),
        (CatalogTable::Freed, "what was given back", |reader, key| {
            Ok(reader.freed_of(ExtentId::new(key[0]))?.len())
        }),
        (CatalogTable::Freed, "how much was given back", |reader, _| {
            Ok(usize::try_from(reader.freed_bytes()?.values().sum::<u64>()).expect("few"))
        }),
        (
            CatalogTable::VolumeCounters,
            "what was found on volumes",
            |reader, _| Ok(reader.volume_counters()?.len()),
        ),
    ]
}

#[test]
fn no_question_about_damage_is_answered_without_a_row_that_is_missing_or_changed() {
    let world = furnished();
    let copy = world.directory.path().join("copy");
    for (table, what, ask) in questions() {
        for (position, (key, row)) in raw_rows(&world.path(), table).into_iter().enumerate() {
            let (numbers, _) = key.as_chunks::<8>();
            let numbers: Vec<u64> = numbers.iter().copied().map(u64::from_be_bytes).collect();
            let sound = open_unchecked(&world.path(), Access::Read);
            let answer = sound
                .read()
                .and_then(|reader| ask(&reader, &numbers))
                .expect("sound");
            assert!(answer > 0, "{what}, row {position}");
            sound.close().expect("closed");
            let mut flipped = row.clone();
            flipped[position % row.len()] ^= 1 << (position % 8);
            for change in [None, Some(flipped)] {
                std::fs::copy(world.path(), &copy).expect("copied");
                raw_change(&copy, table, &[(key.clone(), change.clone())]);
                for access in [Access::Read, Access::Write] {
                    let catalog = open_unchecked(&copy, access);
                    // It is told again and again, and by writers as well.
                    for _ in 0..2 {
                        let answer = catalog.read().and_then(|reader| ask(&reader, &numbers));
                        let error = answer.expect_err(what);
                        assert!(error.is_damaged(), "{what}, row {position}: {error:?}");
                    }
                    if access == Access::Write {
                        let answer = catalog.write().and_then(|writer| ask(&writer, &numbers));
                        assert!(answer.expect_err(what).is_damaged(), "{what}, row {position}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_the_sums_over_damage_is_told_to_who_asks_for_them() {
    let world = furnished();
    let copy = world.directory.path().join("copy");
    let rows = raw_rows(&world.path(), CatalogTable::Totals);
    let (key, row) = rows
        .into_iter()
        .find(|(key, _)| key == TOTALS_HEALTH)
        .expect("it is there");
    for bit in 0..row.len() * 8 {
        std::fs::copy(world.path(), &copy).expect("copied");
        let mut flipped = row.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        raw_change(&copy, CatalogTable::Totals, &[(key.clone(), Some(flipped))]);
        let catalog = open_unchecked(&copy, Access::Read);
        let health = catalog.read().and_then(|reader| reader.health());
        assert!(health.expect_err("one bit differs").is_damaged(), "bit {bit}");
    }
}

#[test]
fn sums_over_damage_that_are_not_those_of_the_rows_are_a_contradiction() {
    type Spoil = fn(&mut HealthTotals);
    let world = furnished();
    let copy = world.directory.path().join("copy");
    let sound = Dump::at(&world.path(), Access::Read).expect("sound").said.health;
    let spoilers: [Spoil; 3] = [
        |health| health.damaged_shards -= 1,
        |health| health.degraded_files += 1,
        |health| health.lost_files = u64::MAX,
    ];
    for spoil in spoilers {
        std::fs::copy(world.path(), &copy).expect("copied");
        let mut health = sound;
        spoil(&mut health);
        let row = seal(CatalogTable::Totals, TOTALS_HEALTH, &HealthRow::new(&health));
        raw_change(
            &copy,
            CatalogTable::Totals,
            &[(TOTALS_HEALTH.to_vec(), Some(row))],
        );
        let catalog = open(&copy, Access::Read).expect("opened");
        let error = catalog
            .read()
            .and_then(|reader| reader.health())
            .expect_err("not the sums");
        let is_right = matches!(
            error,
            CatalogError::Damaged {
                table: CatalogTable::Totals,
                detail: CatalogDamage::Contradiction { .. }
            }
        );
        assert!(is_right, "{error:?}");
    }
}

#[test]
fn damage_of_leaves_that_a_shard_does_not_have_is_a_contradiction_and_no_panic() {
    let world = furnished();
    let copies = world.shards_of(&name("a/1024"));
    let (key, _) = raw_rows(&world.path(), CatalogTable::Damage)
        .into_iter()
        .find(|(key, _)| *key == damage_key(copies[0].block, copies[0].shard))
        .expect("it is damaged");
    let record = copies[0].damage(&[0, 1], DamageKind::Checksum, 1);
    let row = seal(CatalogTable::Damage, &key, &DamageRow::new(&record));
    raw_change(&world.path(), CatalogTable::Damage, &[(key, Some(row))]);
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let other = copies[1].damage(&[], DamageKind::IoError, 2);
    let error = writer
        .record_damage(&[other], Knowledge::Whole)
        .expect_err("no such leaf");
    assert!(error.is_damaged(), "{error:?}");
    assert!(matches!(writer.commit(), Err(CatalogError::Incomplete)));
}

#[test]
fn a_table_that_is_gone_is_damage_and_not_made_anew() {
    let world = furnished();
    let database = raw(&world.path());
    let transaction = database.begin_write().expect("a transaction");
    assert!(
        transaction
            .delete_table(definition(CatalogTable::Blocks))
            .expect("deleted"),
        "it was there"
    );
    transaction.commit().expect("committed");
    database.close().expect("closed");
    expect_damage(&world.path(), "a missing table");
}

/// Small and reproducible; xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a length")
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_file_gives_the_same_content_or_damage() {
    const FLIPS: usize = 300;
    let world = furnished();
    let (truth, sound) = (world.expected(3), std::fs::read(world.path()).expect("read"));
    let used: Vec<usize> = (0..sound.len())
        .filter(|at| sound[at & !4095..=at | 4095].iter().any(|&byte| byte != 0))
        .collect();
    let copy = world.directory.path().join("copy");
    let mut noticed = BTreeMap::new();
    for access in [Access::Read, Access::Write] {
        let mut random = Random(0x5eed);
        for flip in 0..FLIPS {
            let (at, bit) = (used[random.below(used.len())], random.below(8));
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&copy, &bytes).expect("written");
            match Dump::at(&copy, access) {
                Ok(dump) => assert_eq!(dump, truth, "flip {flip}: bit {bit} of byte {at}, {access:?}"),
                Err(error) => {
                    assert!(
                        error.is_damaged(),
                        "flip {flip}: bit {bit} of byte {at}, {access:?}: {error:?}"
                    );
                    *noticed.entry(format!("{access:?}")).or_insert(0) += 1;
                }
            }
        }
    }
    assert!(
        noticed.values().all(|&count| count > FLIPS / 10),
        "the flips hit what matters: {noticed:?}"
    );
}

/// A bad branch page once led a listing back to where it had been, and the listing never ended: random flips found it.
#[test]
fn a_flipped_bit_in_a_branch_page_gives_the_same_content_or_damage() {
    let world = furnished();
    let (truth, sound) = (world.expected(3), std::fs::read(world.path()).expect("read"));
    let copy = world.directory.path().join("copy");
    let mut out_of_order = 0;
    for (at, bit) in bits_of_branch_pages(&sound).step_by(7) {
        let mut bad = sound.clone();
        bad[at] ^= 1 << bit;
        std::fs::write(&copy, &bad).expect("written");
        match Dump::at(&copy, Access::Read) {
            Ok(dump) => assert_eq!(dump, truth, "bit {bit} of byte {at}"),
            Err(CatalogError::Damaged {
                detail: CatalogDamage::Order,
                ..
            }) => out_of_order += 1,
            Err(error) => assert!(error.is_damaged(), "bit {bit} of byte {at}: {error:?}"),
        }
    }
    assert!(out_of_order > 0, "some flips hide rows that a scan still passes");
}

#[test]
fn a_stored_name_is_never_none_whatever_bit_of_a_branch_page_is_flipped() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let names: Vec<FileName> = (0..300)
        .map(|number| name(&format!("directory/{:x}", number * 7919)))
        .collect();
    for name in &names {
        world.insert(&mut writer, name, 0);
    }
    writer.commit().expect("committed");
    catalog.close().expect("closed");
    let sound = std::fs::read(world.path()).expect("read");
    let copy = world.directory.path().join("copy");
    let mut hidden = 0;
    for (at, bit) in bits_of_branch_pages(&sound).step_by(5) {
        let mut bad = sound.clone();
        bad[at] ^= 1 << bit;
        std::fs::write(&copy, &bad).expect("written");
        let catalog = match open(&copy, Access::Read) {
            Ok(catalog) => catalog,
            Err(error) => {
                assert!(error.is_damaged(), "bit {bit} of byte {at}: {error:?}");
                continue;
            }
        };
        let reader = catalog.read().expect("reader");
        for name in &names {
            match reader.file_by_name(name) {
                Ok(found) => assert!(found.is_some(), "{name}, bit {bit} of byte {at}"),
                Err(error) => {
                    assert!(error.is_damaged(), "bit {bit} of byte {at}: {error:?}");
                    hidden += 1;
                    break;
                }
            }
        }
    }
    assert!(hidden > 0, "some flips hide names");
}

/// Every bit of every byte that is not zero in the branch pages of a database file.
fn bits_of_branch_pages(file: &[u8]) -> impl Iterator<Item = (usize, u32)> {
    const PAGE_LEN_BYTES: usize = 4096;
    const BRANCH_PAGE: u8 = 2;
    let branches = (0..file.len())
        .step_by(PAGE_LEN_BYTES)
        .filter(|&page| file[page] == BRANCH_PAGE);
    let bytes = branches
        .flat_map(|page| page..page + PAGE_LEN_BYTES)
        .filter(|&at| file[at] != 0);
    let bytes: Vec<usize> = bytes.collect();
    assert!(
        !bytes.is_empty(),
        "the tables are large enough to have branch pages"
    );
    bytes.into_iter().flat_map(|at| (0..8).map(move |bit| (at, bit)))
}

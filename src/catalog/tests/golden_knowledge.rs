//! The bytes of rows that say what is damaged and what was verified when, as `golden` has those of all others.

use super::golden::golden;
use super::*;
use crate::catalog::rows::*;
use crate::catalog::tables::*;
use crate::error::CatalogTable;
use crate::plan::{ColumnSet, DamageKind, DamagePart, VerifiedInterval};
use crate::units::{ByteRange, ColumnIndex, ShardIndex};

/// Two seconds before the epoch and a little more.
fn long_ago() -> Timestamp {
    Timestamp::new(-2, 999_999_999).expect("valid")
}

#[test]
fn rows_of_damage_have_their_golden_bytes() {
    let mut columns = ColumnSet::default();
    for column in [0, 7, 17] {
        columns.insert(ColumnIndex::new(column));
    }
    let record = |owner, shard, columns: &ColumnSet, part, kind| DamageRecord {
        owner,
        block: BlockId::new(300),
        shard: ShardIndex::new(shard),
        address: ShardAddress {
            extent: ExtentId::new(0x0102_0304),
            offset: 4096,
        },
        columns: columns.clone(),
        part,
        kind,
        since: long_ago(),
    };
    let (block, file) = (ShardOwner::Block(BlockId::new(300)), FileId::new(258));
    let (inline, descriptor) = (
        ShardOwner::InlineBlockOf(file),
        ShardOwner::Descriptor(CommitId::new(258)),
    );
    let none = ColumnSet::default();
    for (damage, expected) in [
        (
            record(block, 255, &columns, DamagePart::Payload, DamageKind::Checksum),
            "000000000000012c00000000000000ff:0101ac02ff0184868808802003810002040103ff93ebdc038068119e",
        ),
        (
            record(inline, 1, &none, DamagePart::Header, DamageKind::Misplaced),
            "000000000000012c0000000000000001:010282020184868808802000010203ff93ebdc0384fc5ed2",
        ),
        (
            record(descriptor, 1, &none, DamagePart::Table, DamageKind::IoError),
            "000000000000012c0000000000000001:010382020184868808802000020303ff93ebdc038b70442d",
        ),
        (
            record(descriptor, 1, &none, DamagePart::Footer, DamageKind::Missing),
            "000000000000012c0000000000000001:010382020184868808802000030403ff93ebdc039b4e4924",
        ),
        (
            record(block, 1, &columns, DamagePart::Payload, DamageKind::Encoding),
            "000000000000012c0000000000000001:0101ac020184868808802003810002040503ff93ebdc038a9d35bd",
        ),
    ] {
        let key = damage_key(damage.block, damage.shard);
        let row = golden(CatalogTable::Damage, &key, &DamageRow::new(&damage), expected);
        let shard = u64::from(damage.shard.get());
        assert_eq!(row.parse(damage.block, shard), Ok(damage));
    }
    let damaged = DamagedBlock {
        file,
        block: BlockId::new(300),
        owner: block,
        shards: 256,
        worst: 129,
        parity: 128,
        lost_bytes: 70_000,
        since: long_ago(),
    };
    let row = golden(
        CatalogTable::DamagedBlocks,
        &damaged_block_key(file, damaged.block),
        &DamagedBlockRow::new(&damaged),
        "0000000000000102000000000000012c:0101ac0200800281018001f0a20403ff93ebdc03affe5984",
    );
    assert_eq!(row.parse(file, damaged.block), Ok(damaged));
}

#[test]
fn rows_of_damaged_and_verified_files_have_their_golden_bytes() {
    let file = FileId::new(258);
    let damaged = |state, margin, lost_bytes| DamagedFile {
        file,
        state,
        shards: 300,
        blocks: 128,
        margin,
        lost_bytes,
        since: long_ago(),
    };
    for (damaged, expected) in [
        (
            damaged(FileState::Degraded, 130, 0),
            "00000000000000010000000000000102:01ac02800182010003ff93ebdc033e53f719",
        ),
        (
            damaged(FileState::Lost, 0, 70_000),
            "00000000000000020000000000000102:01ac02800100f0a20403ff93ebdc03e5cc422b",
        ),
    ] {
        let state = damaged.state.number();
        let row = golden(
            CatalogTable::ByState,
            &state_key(state, file),
            &DamagedFileRow::new(&damaged),
            expected,
        );
        assert_eq!(row.parse(u64::from(state), file), Ok(damaged));
    }
    let UnverifiedRow = golden(
        CatalogTable::Unverified,
        &file_key(file),
        &UnverifiedRow,
        "0000000000000102:019b368faf",
    );
    let verified = VerifiedInterval {
        range: ByteRange::new(4096, 1 << 30).expect("in order"),
        when: long_ago(),
    };
    let row = golden(
        CatalogTable::Verified,
        &verified_key(ExtentId::new(0x0102_0304), 4096),
        &VerifiedRow::new(&verified),
        "00000000010203040000000000001000:01808080800403ff93ebdc032a36dfa8",
    );
    assert_eq!(row.parse(4096), Ok(verified));
    let counters = VolumeCounters {
        checksum: 1,
        misplaced: 2,
        io_error: 3,
        missing: 300,
        encoding: 4,
        repaired_shards: 5,
        repaired_bytes: 1 << 30,
    };
    let row = golden(
        CatalogTable::VolumeCounters,
        &volume_key(2),
        &VolumeCountersRow::new(&counters),
        "0000000000000002:01010203ac02040580808080041f8b56ed",
    );
    assert_eq!(row.parse(), counters);
}

#[test]
fn rows_of_damage_that_nothing_has_are_refused() {
    /// Kind of owner, owner, shard; extent, offset; columns, part, kind, time.
    type Body = ((u8, u64, u16), (u64, u64), Vec<u8>, u8, u8, (i64, u32));
    let (key, file) = (damage_key(BlockId::new(1), ShardIndex::new(1)), FileId::new(1));
    let sound: Body = ((1, 1, 1), (1, 0), vec![1], 1, 1, (0, 0));
    let damage = |change: fn(&mut Body)| {
        let mut row = sound.clone();
        change(&mut row);
        let row = seal(CatalogTable::Damage, &key, &row);
        let row: DamageRow = unseal(CatalogTable::Damage, &key, &row).expect("it can be read");
        row.parse(BlockId::new(1), 1)
            .map_err(|ImpossibleField(field)| field)
    };
    assert!(damage(|_| {}).is_ok());
    assert_eq!(damage(|row| row.0.0 = 4), Err("shard owner"));
    assert_eq!(damage(|row| row.0.2 = 0), Err("damaged shard"));
    assert_eq!(damage(|row| row.2 = vec![1, 0]), Err("set of columns"));
    assert_eq!(damage(|row| row.3 = 5), Err("damaged part"));
    assert_eq!(damage(|row| row.4 = 0), Err("kind of damage"));
    assert_eq!(damage(|row| row.4 = 6), Err("kind of damage"));
    assert_eq!(damage(|row| row.5.1 = 1_000_000_000), Err("time of damage"));
    let row = |lost_bytes, shards| {
        let damaged = DamagedFile {
            file,
            state: FileState::Lost,
            shards,
            blocks: 1,
            margin: 0,
            lost_bytes,
            since: long_ago(),
        };
        DamagedFileRow::new(&damaged)
    };
    assert!(row(1, 1).parse(2, file).is_ok());
    for (impossible, state) in [(row(0, 1), 2), (row(1, 1), 1), (row(1, 0), 2), (row(1, 1), 3)] {
        assert!(impossible.parse(state, file).is_err(), "{impossible:?}");
    }
    let verified = |start, end| {
        let range = ByteRange::new(start, end).expect("in order");
        VerifiedRow::new(&VerifiedInterval {
            range,
            when: long_ago(),
        })
    };
    assert!(verified(0, 2).parse(1).is_ok());
    assert!(verified(0, 2).parse(2).is_err(), "an empty range");
    assert!(verified(0, 2).parse(3).is_err(), "an end before its start");
}

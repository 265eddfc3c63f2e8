//! Looks at frames beside others who meet damage.

use super::live::Live;
use super::*;
use crate::plan::{DamageKind, DamagePart};

/// A catalog with a coded file, and the first two of its shards, which are known to be damaged.
fn damaged() -> (World, Live, Live) {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    world.insert(&mut writer, &name("a"), 40_000);
    let shards = world.shards_of(&name("a"));
    let (one, other) = (shards[0], shards[1]);
    let found = [
        one.damage(&[0], DamageKind::Checksum, 1),
        other.damage(&[1], DamageKind::Missing, 1),
    ];
    world.note_damage(&mut writer, &found, Knowledge::Part);
    writer.commit().expect("committed");
    catalog.close().expect("closed");
    (world, one, other)
}

fn known(catalog: &Catalog, live: &Live) -> Option<DamageRecord> {
    let reader = catalog.read().expect("reader");
    let damage = reader.damage_of_block(live.block).expect("sound");
    damage.into_iter().find(|damage| damage.shard == live.shard)
}

fn look(catalog: &Catalog, look: &Look<'_>) -> (u64, u64) {
    let mut writer = catalog.write().expect("writer");
    let noted = writer.record_look(look).expect("sound");
    writer.commit().expect("committed");
    noted
}

#[test]
fn what_was_known_before_a_look_and_is_not_found_by_it_is_forgotten() {
    let (world, one, other) = damaged();
    let catalog = world.open(Access::Write);
    let before = [known(&catalog, &one), known(&catalog, &other)].map(|known| known.expect("damaged"));
    let read = [one.place(), other.place()];
    let found = [other.damage(&[2], DamageKind::Checksum, 5)];
    let noted = look(
        &catalog,
        &Look {
            read: &read,
            damage: &found,
            before: &before,
        },
    );
    assert_eq!(noted, (1, 1));
    assert_eq!(known(&catalog, &one), None);
    let left = known(&catalog, &other).expect("damaged");
    assert_eq!(
        (left.columns.runs(), left.kind),
        (vec![(2, 3)], DamageKind::Checksum)
    );
}

#[test]
fn damage_that_somebody_meets_behind_a_look_is_neither_forgotten_nor_replaced_by_it() {
    let (world, one, other) = damaged();
    let catalog = world.open(Access::Write);
    let third = world.shards_of(&name("a"))[2];
    let before = [known(&catalog, &one), known(&catalog, &other)].map(|known| known.expect("damaged"));
    // Meanwhile: more of the first, more of the second, and one that was whole.
    let mut writer = catalog.write().expect("writer");
    let met = [
        one.damage(&[1], DamageKind::Checksum, 7),
        other.damage(&[0], DamageKind::Checksum, 7),
        third.damage(&[2], DamageKind::IoError, 7),
    ];
    writer.record_damage(&met, Knowledge::Part).expect("sound");
    writer.commit().expect("committed");
    let noted = look(
        &catalog,
        &Look {
            read: &[one.place(), other.place(), third.place()],
            damage: &[other.damage(&[2], DamageKind::Checksum, 5)],
            before: &before,
        },
    );
    assert_eq!(noted, (1, 0));
    let columns = |live| known(&catalog, live).map(|damage| damage.columns.runs());
    assert_eq!(columns(&one), Some(vec![(0, 2)]));
    assert_eq!(columns(&other), Some(vec![(0, 3)]));
    assert_eq!(columns(&third), Some(vec![(2, 3)]));
    assert_eq!(
        known(&catalog, &third).expect("damaged").part,
        DamagePart::Payload
    );
}

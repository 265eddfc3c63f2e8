//! Random histories against a map: what is counted always equals what a recount finds.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Stores a file of one of [`LENGTHS`] under one of a few names, or replaces it.
    Store(u8, usize),
    Remove(u8),
    Commit,
    Abort,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u8..9, 0..LENGTHS.len()).prop_map(|(name, len)| Step::Store(name, len)),
        4 => (0_u8..9).prop_map(Step::Remove),
        2 => Just(Step::Commit),
        1 => Just(Step::Abort),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_stores_and_removals_leaves_what_a_recount_finds(steps in steps()) {
        let mut world = World::new();
        let mut catalog = world.open(Access::Write);
        let mut epoch = 0;
        let mut committed = (world.ends, world.files.clone());
        let mut writer = catalog.write().expect("writer");
        for step in steps.into_iter().chain([Step::Commit]) {
            match step {
                Step::Store(number, len) => {
                    let name = name(&format!("d{}/f{number}", number % 3));
                    world.files.remove(&name);
                    writer.remove_file(&name).expect("sound");
                    world.insert(&mut writer, &name, LENGTHS[len]);
                }
                Step::Remove(number) => {
                    let name = name(&format!("d{}/f{number}", number % 3));
                    let removed = writer.remove_file(&name).expect("sound");
                    prop_assert_eq!(removed, world.files.remove(&name).map(|(file, _)| file));
                }
                Step::Commit => {
                    world.put_extents(&mut writer);
                    prop_assert_eq!(Dump::of(&writer).expect("sound"), world.expected(epoch));
                    epoch += 1;
                    prop_assert_eq!(writer.advance_epoch(), Epoch::new(epoch));
                    prop_assert_eq!(writer.commit().expect("committed"), Epoch::new(epoch));
                    committed = (world.ends, world.files.clone());
                    let read = Dump::of(&catalog.read().expect("reader")).expect("sound");
                    prop_assert_eq!(read, world.expected(epoch));
                    writer = catalog.write().expect("writer");
                }
                Step::Abort => {
                    drop(writer);
                    (world.ends, world.files) = committed.clone();
                    writer = catalog.write().expect("writer");
                    prop_assert_eq!(Dump::of(&writer).expect("sound"), world.expected(epoch));
                }
                Step::Reopen => {
                    drop(writer);
                    (world.ends, world.files) = committed.clone();
                    catalog.close().expect("closed");
                    catalog = world.open(Access::Write);
                    writer = catalog.write().expect("writer");
                }
            }
        }
    }
}

#[test]
fn removing_everything_restores_totals_and_counters_exactly() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let before = Dump::of(&writer).expect("sound");
    for len_bytes in LENGTHS {
        world.insert(&mut writer, &name(&format!("f{len_bytes}")), len_bytes);
    }
    let between = Dump::of(&writer).expect("sound");
    assert_eq!(between.totals.files, LENGTHS.len() as u64);
    assert!(
        between.extents.iter().all(|extent| extent.live_shards > 0),
        "{between:?}"
    );
    for len_bytes in LENGTHS {
        writer
            .remove_file(&name(&format!("f{len_bytes}")))
            .expect("sound")
            .expect("it is there");
    }
    for (extent, known) in before.extents.iter().zip(between.extents) {
        assert_eq!(
            writer
                .extent(extent.id)
                .expect("sound")
                .expect("known")
                .live_bytes,
            extent.live_bytes
        );
        assert!(known.live_bytes > extent.live_bytes, "it was counted in between");
    }
    world.ends = [4096; LANES as usize];
    world.put_extents(&mut writer);
    assert_eq!(Dump::of(&writer).expect("sound"), before);
}

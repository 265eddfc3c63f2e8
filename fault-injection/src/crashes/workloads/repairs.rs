//! Damaged extents that are repaired, by processes that die at it.

use super::{Group, Workload};
use crate::crashes::{stage::Stage, what::What};

const fn workload(name: &'static str, about: &'static str, play: fn(&mut Stage<'_>)) -> Workload {
    Workload {
        name,
        about,
        group: Group::Lives,
        begins_with_nothing: false,
        play,
    }
}

pub(super) const LIST: &[Workload] = &[
    workload(
        "repaired",
        "an extent is lost and another one damaged; a process scrubs and repairs, stores something, and another one removes",
        |stage| {
            stage.create();
            stage.commit(What::file("blocked", 1, 13_000));
            stage.commit(What::file("tiny", 1, 1500));
            stage.close();
            stage.damage_extents();
            stage.open();
            stage.scrub_and_repair();
            stage.commit(What::file("after", 1, 2000));
            stage.close();
            stage.open();
            stage.remove("blocked");
            stage.close();
        },
    ),
    workload(
        "killed-in-repair",
        "a process that dies anywhere in a scrub and a repair; another one does both again",
        |stage| {
            stage.create();
            stage.commit(What::file("segmented", 1, 6000));
            stage.commit(What::file("blocked", 1, 13_000));
            stage.close();
            stage.damage_extents();
            stage.open();
            let operations = stage.choose(240);
            stage.kill_within(operations);
            stage.scrub_and_repair();
            stage.come_after_the_killed();
            stage.open();
            stage.scrub_and_repair();
            stage.replace(What::file("segmented", 2, 700));
            stage.close();
        },
    ),
    workload(
        "killed-in-repair-beside",
        "a process that dies anywhere in a repair; one that was open all the time repairs and goes on",
        |stage| {
            stage.create();
            stage.commit(What::file("blocked", 1, 13_000));
            stage.close();
            stage.damage_extents();
            stage.open();
            stage.open_other();
            let operations = stage.choose(240);
            stage.kill_within(operations);
            stage.scrub_and_repair();
            stage.come_after_the_killed();
            stage.take_turns();
            stage.scrub_and_repair();
            stage.commit(What::file("after", 1, 2000));
            stage.close();
        },
    ),
];

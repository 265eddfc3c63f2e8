//! Archives whose volumes come and go, by processes that die at it.

use super::{Group, Workload};
use crate::crashes::{stage::Stage, what::What};

const fn workload(name: &'static str, about: &'static str, play: fn(&mut Stage<'_>)) -> Workload {
    Workload {
        name,
        about,
        group: Group::Volumes,
        begins_with_nothing: false,
        play,
    }
}

pub(super) const LIST: &[Workload] = &[
    workload(
        "volume-added",
        "a volume is added between two commits, and what was there before is replaced",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1500));
            stage.add_volume(1);
            stage.commit(What::file("tiny", 1, 2000));
            stage.commit(What::file("blocked", 1, 13_000));
            stage.replace(What::file("before", 2, 900));
            stage.close();
        },
    ),
    workload(
        "volume-drained",
        "the volume that an archive began with is drained and removed, and the archive goes on without it",
        |stage| {
            stage.create();
            stage.commit(What::file("segmented", 1, 6000));
            stage.add_volume(1);
            stage.commit(What::file("tiny", 1, 2000));
            stage.drain_and_remove(0);
            stage.commit(What::file("after", 1, 1500));
            stage.close();
            stage.open();
            stage.remove("tiny");
            stage.close();
        },
    ),
    workload(
        "volume-replaced",
        "one of two volumes is replaced by a third",
        |stage| {
            stage.create();
            stage.add_volume(1);
            stage.commit(What::file("tiny", 1, 2000));
            stage.commit(What::file("blocked", 1, 13_000));
            stage.replace_volume(1, 2);
            stage.replace(What::file("tiny", 2, 700));
            stage.close();
        },
    ),
    workload(
        "killed-in-replacement",
        "a process that dies anywhere in the replacement of a volume; another one replaces it and goes on",
        |stage| {
            stage.create();
            stage.add_volume(1);
            stage.commit(What::file("segmented", 1, 6000));
            let operations = stage.choose(200);
            stage.kill_within(operations);
            stage.replace_volume(1, 2);
            stage.come_after_the_killed();
            stage.open();
            stage.commit(What::file("beside", 1, 1500));
            stage.replace_volume(1, 2);
            stage.close();
        },
    ),
    workload(
        "killed-in-drain-beside",
        "a process that dies anywhere in a drain; one that was open all the time commits, and drains to the end",
        |stage| {
            stage.create();
            stage.add_volume(1);
            stage.commit(What::file("segmented", 1, 6000));
            stage.open_other();
            let operations = stage.choose(200);
            stage.kill_within(operations);
            stage.drain_and_remove(0);
            stage.come_after_the_killed();
            stage.take_turns();
            stage.commit(What::file("beside", 1, 1500));
            stage.drain_and_remove(0);
            stage.close();
        },
    ),
];

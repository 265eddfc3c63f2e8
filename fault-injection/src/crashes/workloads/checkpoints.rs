//! Checkpoints, and processes that die at them.

use super::{Group, Workload};
use crate::crashes::{stage::Stage, what::What};

const fn workload(name: &'static str, about: &'static str, play: fn(&mut Stage<'_>)) -> Workload {
    Workload {
        name,
        about,
        group: Group::Checkpoints,
        begins_with_nothing: false,
        play,
    }
}

pub(super) const LIST: &[Workload] = &[
    workload(
        "checkpoints",
        "three checkpoints, files stored, replaced and removed between them; the records before the second go",
        |stage| {
            stage.create();
            stage.commit(What::file("kept", 1, 1500));
            stage.commit(What::file("replaced", 1, 6000));
            stage.checkpoint();
            stage.replace(What::file("replaced", 2, 700));
            stage.commit(What::file("removed", 1, 900));
            stage.checkpoint();
            stage.remove("removed");
            stage.close();
            stage.open();
            stage.checkpoint();
            stage.commit(What::file("last", 1, 13_000));
            stage.close();
        },
    ),
    workload(
        "killed-in-checkpoint",
        "a process that dies anywhere in its second checkpoint; another one takes it again and goes on",
        |stage| {
            stage.create();
            stage.commit(What::file("kept", 1, 1500));
            stage.checkpoint();
            stage.replace(What::file("kept", 2, 2500));
            let operations = stage.choose(160);
            stage.kill_within(operations);
            stage.checkpoint();
            stage.come_after_the_killed();
            stage.open();
            stage.remove("kept");
            stage.checkpoint();
            stage.commit(What::file("after", 1, 2000));
            stage.close();
        },
    ),
    workload(
        "killed-in-checkpoint-beside",
        "a process that dies anywhere in a checkpoint; one that was open all the time takes two and goes on",
        |stage| {
            stage.create();
            stage.commit(What::file("kept", 1, 1500));
            stage.open_other();
            let operations = stage.choose(160);
            stage.kill_within(operations);
            stage.checkpoint();
            stage.come_after_the_killed();
            stage.take_turns();
            stage.commit(What::file("between", 1, 500));
            stage.checkpoint();
            stage.remove("between");
            stage.checkpoint();
            stage.commit(What::file("after", 1, 2000));
            stage.close();
        },
    ),
];

//! Room that is given back, by processes that die at it.

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

/// Stores files of each tier, removes some and replaces others: whole extents are dead, and pages and less in others.
fn leave_gaps(stage: &mut Stage<'_>) {
    stage.create();
    stage.commit(What::file("first", 1, 13_000));
    stage.commit(What::file("kept", 1, 9000));
    stage.commit(What::file("tiny", 1, 900));
    stage.commit(What::file("blocked", 1, 26_000));
    stage.remove("first");
    stage.replace(What::file("blocked", 2, 13_000));
}

pub(super) const LIST: &[Workload] = &[
    workload(
        "compacted",
        "removals and a replacement, then what is dead is given back and what lives beside it written anew; a removal and all of it again",
        |stage| {
            leave_gaps(stage);
            stage.compact();
            stage.remove("kept");
            stage.compact();
            stage.commit(What::file("after", 1, 2000));
            stage.close();
        },
    ),
    workload(
        "compacted-without-holes",
        "the same where the file system cannot give back parts of files",
        |stage| {
            stage.refuse_holes();
            leave_gaps(stage);
            stage.compact();
            stage.commit(What::file("after", 1, 2000));
            stage.close();
        },
    ),
    workload(
        "killed-in-compact",
        "a process that dies anywhere while room is given back; another one does it again and goes on",
        |stage| {
            leave_gaps(stage);
            let operations = stage.choose(240);
            stage.kill_within(operations);
            stage.compact();
            stage.come_after_the_killed();
            stage.open();
            stage.compact();
            stage.replace(What::file("tiny", 2, 700));
            stage.close();
        },
    ),
];

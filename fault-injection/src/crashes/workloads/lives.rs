//! Processes that come and go, die in the middle, and work side by side.

use bfdb::NameConflict;

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
        "reopened",
        "two commits with a close and an open between them",
        |stage| {
            stage.create();
            stage.commit(What::file("first", 1, 2000));
            stage.close();
            stage.open();
            stage.commit(What::file("second", 1, 5000));
            stage.close();
        },
    ),
    workload(
        "killed",
        "a process that dies anywhere in a commit, and the next one, which recovers and goes on",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1000));
            let operations = stage.choose(60);
            stage.kill_within(operations);
            stage.commit(What::file("dying", 1, 13_000));
            stage.come_after_the_killed();
            stage.open();
            stage.commit(What::file("after", 1, 2000));
            stage.replace(What::file("dying", 2, 700));
            stage.close();
        },
    ),
    workload(
        "killed-and-resumed",
        "a process that dies anywhere in a commit of a long file; another one goes on with it",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1000));
            let operations = stage.choose(90);
            stage.kill_within(operations);
            stage.commit_path(What::file("long", 1, 30_000));
            stage.come_after_the_killed();
            stage.open();
            stage.commit(What::file("beside", 1, 2000));
            stage.commit_path(What::file("long", 1, 30_000));
            stage.close();
        },
    ),
    workload(
        "killed-and-changed",
        "a process that dies anywhere in a commit of a long file; another one commits other content under the name",
        |stage| {
            stage.create();
            let operations = stage.choose(90);
            stage.kill_within(operations);
            stage.commit_path(What::file("long", 1, 30_000));
            stage.come_after_the_killed();
            stage.open();
            // It may have died behind its record, and then the name is taken.
            stage.commit_all(&[What::file("long", 2, 20_000)], NameConflict::Replace);
            stage.close();
        },
    ),
    workload(
        "killed-and-outdated",
        "a process that dies anywhere in a replacement by a long file; another one puts a stream in its place",
        |stage| {
            stage.create();
            stage.commit(What::file("long", 1, 500));
            let operations = stage.choose(90);
            stage.kill_within(operations);
            stage.commit_all(&[What::file("long", 2, 20_000)], NameConflict::Replace);
            stage.come_after_the_killed();
            stage.open();
            stage.replace(What::file("long", 3, 700));
            stage.close();
        },
    ),
    workload(
        "killed-in-batch",
        "a process that dies in a batch; another one that was open goes on beside its leftovers",
        |stage| {
            stage.create();
            stage.open_other();
            stage.commit(What::file("before", 1, 500));
            let operations = stage.choose(50);
            stage.kill_within(operations);
            let batch = [
                What::file("x", 1, 800),
                What::directory("y"),
                What::file("y/z", 1, 3000),
            ];
            stage.commit_all(&batch, NameConflict::Refuse);
            stage.come_after_the_killed();
            stage.take_turns();
            stage.commit(What::file("beside", 1, 2000));
            stage.close();
            stage.open();
            stage.commit(What::file("after", 1, 100));
            stage.close();
        },
    ),
    workload(
        "turns",
        "two processes with one archive open take turns",
        |stage| {
            stage.create();
            stage.open_other();
            stage.commit(What::file("a", 1, 1000));
            stage.take_turns();
            stage.commit(What::file("b", 1, 5000));
            stage.take_turns();
            stage.replace(What::file("b", 2, 300));
            stage.take_turns();
            stage.remove("a");
            stage.close();
            stage.take_turns();
            stage.commit(What::file("c", 1, 50));
            stage.close();
        },
    ),
    workload(
        "lanes",
        "a commit in the middle of another one: every lane gets a second extent, and both go on",
        |stage| {
            stage.create();
            stage.open_other();
            stage.commit_around(What::file("outer", 1, 13_000), What::file("inner", 1, 6000));
            stage.commit(What::file("next", 1, 2000));
            stage.take_turns();
            stage.commit(What::file("more", 1, 9000));
            stage.close();
            stage.take_turns();
            stage.close();
        },
    ),
    workload(
        "killed-and-resumed-beside",
        "a process that dies anywhere in a commit of a long file; one that was open all the time goes on with it",
        |stage| {
            stage.create();
            stage.open_other();
            stage.commit(What::file("before", 1, 1000));
            let operations = stage.choose(230);
            stage.kill_within(operations);
            stage.commit_path(What::file("long", 1, 20_000));
            stage.come_after_the_killed();
            stage.take_turns();
            stage.resume(What::file("long", 1, 20_000));
            stage.commit(What::file("after", 1, 2000));
            stage.close();
        },
    ),
    workload(
        "killed-and-given-back-beside",
        "a process that dies anywhere in a commit of a long file; one that was open all the time rolls it back",
        |stage| {
            stage.create();
            stage.open_other();
            stage.commit(What::file("before", 1, 1000));
            let operations = stage.choose(230);
            stage.kill_within(operations);
            stage.commit_path(What::file("long", 1, 20_000));
            stage.come_after_the_killed();
            stage.take_turns();
            stage.roll_back("long");
            stage.commit(What::file("after", 1, 2000));
            stage.close();
            stage.open();
            stage.commit(What::file("last", 1, 200));
            stage.close();
        },
    ),
    workload(
        "cancelled",
        "a commit that is cancelled after a while, and again, and then is not",
        |stage| {
            stage.create();
            for asked in [0, 2, 5] {
                stage.commit_path_cancelled(What::file("file", 1, 13_000), asked);
            }
            stage.commit(What::file("beside", 1, 900));
            stage.commit_path(What::file("file", 1, 13_000));
            stage.close();
        },
    ),
];

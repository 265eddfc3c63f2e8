//! One file at a time, from a stream.

use super::{Group, Workload};
use crate::crashes::{stage::Stage, what::What};

const fn workload(name: &'static str, about: &'static str, play: fn(&mut Stage<'_>)) -> Workload {
    Workload {
        name,
        about,
        group: Group::Streams,
        begins_with_nothing: false,
        play,
    }
}

pub(super) const LIST: &[Workload] = &[
    Workload {
        begins_with_nothing: true,
        ..workload("creation", "an archive is made and closed", |stage| {
            stage.create();
            stage.close();
        })
    },
    Workload {
        begins_with_nothing: true,
        ..workload(
            "tiny",
            "an archive is made, and takes two tiny files and an empty one by stream",
            |stage| {
                stage.create();
                stage.commit(What::file("tiny", 1, 1500));
                stage.commit(What::file("empty", 1, 0));
                stage.commit(What::file("one-leaf", 1, 700));
                stage.close();
            },
        )
    },
    workload(
        "segmented",
        "a file of three replicated segments by stream",
        |stage| {
            stage.create();
            stage.commit(What::file("segmented", 1, 9000));
            stage.close();
        },
    ),
    workload(
        "blocked",
        "a file of two coded blocks, the last segment short",
        |stage| {
            stage.create();
            stage.commit(What::file("blocked", 1, 13_000));
            stage.close();
        },
    ),
    workload(
        "replace",
        "a stream over another, longer and shorter, and the same with another time",
        |stage| {
            stage.create();
            stage.commit(What::file("file", 1, 2000));
            stage.replace(What::file("file", 2, 5000));
            stage.replace(What::file("file", 2, 5000).touched(0o600));
            stage.commit_reader(What::file("file", 3, 300));
            stage.close();
        },
    ),
    workload(
        "too-short",
        "a source that ends early, between two that do not",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1000));
            stage.commit_too_short(What::file("short", 1, 6000));
            stage.commit_too_short(What::file("shorter", 1, 100));
            stage.commit(What::file("after", 1, 5000));
            stage.close();
        },
    ),
];

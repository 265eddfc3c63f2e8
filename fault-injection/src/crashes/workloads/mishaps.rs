//! Disks that fail, are full, lose something or get something old back.

use std::path::Path;

use super::{Group, Workload};
use crate::{
    crashes::{stage::Stage, what::What},
    simulation::{AfterDrop, Fault, FaultRule, OperationKind},
};

const fn workload(name: &'static str, about: &'static str, play: fn(&mut Stage<'_>)) -> Workload {
    Workload {
        name,
        about,
        group: Group::Lives,
        begins_with_nothing: false,
        play,
    }
}

/// Lets the first sync of such a file fail and drop its bytes.
fn first_sync(stage: &mut Stage<'_>, is_meant: fn(&Path) -> bool) -> FaultRule {
    let view = [AfterDrop::AtOnce, AfterDrop::UntilForgotten][usize::from(stage.choose(2) == 1)];
    FaultRule::first_of(OperationKind::SyncFile, Fault::SyncDropsBytes { view }).on_paths(is_meant)
}

pub(super) const LIST: &[Workload] = &[
    workload(
        "failed-sync",
        "a sync fails in the middle of a commit and drops its bytes; the next commit goes elsewhere",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1000));
            let view = [AfterDrop::AtOnce, AfterDrop::UntilForgotten][usize::from(stage.choose(2) == 1)];
            let dropped = Fault::SyncDropsBytes { view };
            let is_extent = |path: &Path| path.extension().is_some_and(|found| found == "bfx");
            stage.spoil(FaultRule::first_of(OperationKind::SyncFile, dropped).on_paths(is_extent));
            stage.commit(What::file("failing", 1, 5000));
            stage.forgive();
            stage.commit(What::file("after", 1, 5000));
            stage.close();
            stage.open();
            stage.commit(What::file("last", 1, 2000));
            stage.close();
        },
    ),
    workload(
        "catalog-sync",
        "a sync of the catalog fails in the middle of a commit; the process goes on",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1000));
            let view = [AfterDrop::AtOnce, AfterDrop::UntilForgotten][usize::from(stage.choose(2) == 1)];
            let dropped = Fault::SyncDropsBytes { view };
            let is_catalog = |path: &Path| path.ends_with("catalog.redb");
            stage.spoil(FaultRule::first_of(OperationKind::SyncFile, dropped).on_paths(is_catalog));
            stage.commit(What::file("failing", 1, 2000));
            stage.forgive();
            stage.commit(What::file("after", 1, 1500));
            stage.close();
        },
    ),
    workload(
        "journal-sync",
        "the sync of one copy of the journal fails; nobody need be told",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1000));
            let rule = first_sync(stage, |path| {
                path.parent().is_some_and(|copy| copy.ends_with("c1"))
            });
            stage.spoil(rule);
            stage.commit(What::file("meanwhile", 1, 2000));
            stage.commit(What::file("after", 1, 1500));
            stage.close();
            stage.open();
            stage.commit(What::file("last", 1, 100));
            stage.close();
        },
    ),
    workload(
        "journal-syncs",
        "the sync of every copy of the journal fails for a while; the next opening settles it",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1000));
            let is_journal = |path: &Path| path.extension().is_some_and(|found| found == "bfj");
            let rule = FaultRule::first_of(OperationKind::SyncFile, Fault::Io);
            stage.spoil(rule.on_paths(is_journal).for_good());
            stage.commit(What::file("failing", 1, 2000));
            stage.calm();
            stage.forgive();
            stage.close();
            stage.forgive();
            stage.open();
            stage.commit(What::file("after", 1, 1500));
            stage.close();
        },
    ),
    workload(
        "slot-sync",
        "the sync of the slot that announces an epoch fails; the process goes on",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1000));
            let rule = first_sync(stage, |path| path.ends_with("volume.bfv"));
            stage.spoil(rule);
            stage.commit(What::file("failing", 1, 2000));
            stage.forgive();
            stage.commit(What::file("after", 1, 1500));
            stage.close();
        },
    ),
    workload(
        "lost-copy",
        "the newest segment of a copy of the journal is lost between two processes",
        |stage| {
            stage.create();
            stage.commit(What::file("before", 1, 1000));
            stage.close();
            let copy = stage.choose(4);
            stage.lose_journal_copy(copy);
            stage.open();
            stage.commit(What::file("after", 1, 5000));
            stage.close();
        },
    ),
    workload(
        "full",
        "a commit that finds no room, a removal, and a commit of what there is room for",
        |stage| {
            stage.create();
            stage.commit(What::file("first", 1, 9000));
            stage.leave_room(Some(20 << 10));
            stage.commit(What::file("failing", 1, 9000));
            stage.forgive();
            stage.remove("first");
            stage.leave_room(None);
            stage.commit(What::file("after", 1, 9000));
            stage.close();
        },
    ),
    workload(
        "old-catalog",
        "somebody puts an old catalog back; the next process brings it forward",
        |stage| {
            stage.create();
            stage.commit(What::file("a", 1, 1000));
            stage.close();
            stage.keep_catalog();
            stage.open();
            stage.commit(What::file("b", 1, 5000));
            stage.replace(What::file("a", 2, 700));
            stage.remove("b");
            stage.close();
            stage.put_catalog_back();
            stage.open();
            stage.commit(What::file("d", 1, 300));
            stage.close();
        },
    ),
    workload(
        "old-catalog-by-one",
        "somebody puts a catalog back that lacks one publication, which looks like a writer that has died",
        |stage| {
            stage.create();
            stage.commit(What::file("a", 1, 1000));
            stage.close();
            stage.keep_catalog();
            stage.open();
            stage.replace(What::file("a", 2, 5000));
            stage.close();
            stage.put_catalog_back();
            stage.open();
            stage.commit(What::file("d", 1, 300));
            stage.close();
        },
    ),
];

//! Many entries at once, and their removal.

use bfdb::NameConflict;

use super::{Group, Workload};
use crate::crashes::{stage::Stage, what::What};

const fn workload(name: &'static str, about: &'static str, play: fn(&mut Stage<'_>)) -> Workload {
    Workload {
        name,
        about,
        group: Group::Trees,
        begins_with_nothing: false,
        play,
    }
}

const TREE: [What; 7] = [
    What::directory("tree"),
    What::file("tree/a", 1, 1200),
    What::file("tree/b", 1, 0),
    What::link("tree/link", 1),
    What::file("tree/c", 1, 7000),
    What::file("tree/d", 1, 40),
    What::file("tree/e", 1, 3999),
];

pub(super) const LIST: &[Workload] = &[
    workload(
        "batch",
        "a tree of small files, directories and links in one call",
        |stage| {
            stage.create();
            stage.commit_all(&TREE, NameConflict::Refuse);
            stage.close();
        },
    ),
    workload(
        "replace-many",
        "a tree, and another over it: replaced, touched, unchanged, new",
        |stage| {
            stage.create();
            stage.commit_all(&TREE, NameConflict::Refuse);
            let again = [
                What::file("tree/a", 2, 600),
                What::file("tree/b", 2, 2500),
                What::link("tree/link", 2),
                What::file("tree/c", 1, 7000),
                What::file("tree/d", 1, 40).touched(0o640),
                What::file("tree/f", 1, 90),
            ];
            stage.commit_all(&again, NameConflict::Replace);
            stage.close();
        },
    ),
    workload(
        "remove",
        "files of three tiers removed one by one, one stored again",
        |stage| {
            stage.create();
            stage.commit(What::file("a", 1, 1000));
            stage.commit(What::file("b", 1, 13_000));
            stage.remove("b");
            stage.remove("a");
            stage.commit(What::file("a", 2, 800));
            stage.close();
        },
    ),
    workload(
        "remove-many",
        "a tree of which all but the directory is removed at once",
        |stage| {
            stage.create();
            stage.commit_all(&TREE, NameConflict::Refuse);
            stage.remove_many(&["tree/a", "tree/b", "tree/link", "tree/c", "tree/d", "tree/e"]);
            stage.close();
        },
    ),
    workload(
        "touch",
        "permissions and time of stored entries changed from paths and by stream",
        |stage| {
            stage.create();
            stage.commit_path(What::file("a", 1, 3000));
            stage.commit_path(What::directory("d"));
            stage.commit_all(
                &[
                    What::file("a", 1, 3000).touched(0o600),
                    What::directory("d").touched(0o700),
                ],
                NameConflict::Replace,
            );
            stage.replace(What::file("a", 1, 3000).touched(0o664));
            stage.close();
        },
    ),
];

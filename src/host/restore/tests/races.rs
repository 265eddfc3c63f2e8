//! Another process, played by a thread, that moves things while they are restored.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;

#[test]
fn a_directory_swapped_for_a_link_while_a_file_is_written_keeps_the_file() {
    let scratch = Scratch::new();
    let written = scratch.create("d/kept", 1, Existing::Refuse).expect("a file");
    let dropped = scratch.create("d/dropped", 1, Existing::Refuse).expect("a file");
    written.write_at(0, b"x").expect("bytes");
    fs::rename(scratch.at("d"), scratch.at("moved")).expect("a move");
    symlink(scratch.outside(), scratch.at("d")).expect("a link");
    assert!(
        written
            .finish(TIME, 0o600, Durability::Synced)
            .expect("finished")
            .not_kept
            .is_empty()
    );
    drop(dropped);
    assert_eq!(names_below(&scratch.at("moved")), [scratch.at("moved/kept")]);
    assert_eq!(names_below(&scratch.outside()), NOTHING);
}

#[test]
fn nothing_appears_outside_while_another_process_swaps_directories_for_links() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.outside().join("inner")).expect("a way that would lead on");
    fs::create_dir_all(scratch.at("d/inner")).expect("directories");
    symlink(scratch.outside(), scratch.at("link")).expect("a link");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // An exchange leaves no moment in which neither is there: half of all walks meet the link.
            while !is_done.load(Ordering::Relaxed) {
                renameat_with(
                    CWD,
                    scratch.at("d"),
                    CWD,
                    scratch.at("link"),
                    RenameFlags::EXCHANGE,
                )
                .expect("an exchange");
            }
        });
        for index in 0..1_000 {
            let name = ["d/f", "d/inner/f", "d/made/f"][index % 3];
            match scratch.restore(&format!("{name}{index}"), b"bytes", Existing::Refuse) {
                Ok(restored) => assert!(restored.not_kept.is_empty(), "{restored:?}"),
                Err(HostError::NotDirectory { .. }) => {}
                Err(error) => {
                    is_done.store(true, Ordering::Relaxed);
                    panic!("{error:?}");
                }
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(names_below(&scratch.outside()), [scratch.outside().join("inner")]);
}

#[test]
fn nothing_outside_is_touched_while_a_tree_is_restored_in_batches_against_a_swapper() {
    let scratch = Scratch::new();
    let inner = scratch.outside().join("inner");
    fs::create_dir_all(&inner).expect("a way that would lead on");
    fs::create_dir_all(scratch.at("d/inner")).expect("directories");
    symlink(scratch.outside(), scratch.at("link")).expect("a link");
    let before = [scratch.outside(), inner.clone()].map(|path| state_of(&path));
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                let (d, link) = (scratch.at("d"), scratch.at("link"));
                renameat_with(CWD, d, CWD, link, RenameFlags::EXCHANGE).expect("an exchange");
            }
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| restore_tree(&scratch)));
        is_done.store(true, Ordering::Relaxed);
        assert!(outcome.expect("only refusals") > 0, "nothing was ever restored");
    });
    assert_eq!(names_below(&scratch.outside()), [inner.as_path()]);
    assert_eq!(before, [scratch.outside(), inner].map(|path| state_of(&path)));
    let temporaries = names_below(&scratch.at(""))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "part"));
    assert_eq!(temporaries.collect::<Vec<_>>(), NOTHING);
}

/// Restores 2000 small files and links, and directories, and returns how many got their names.
fn restore_tree(scratch: &Scratch) -> usize {
    let target = &scratch.target;
    let mut restored = 0;
    for batch in 0..20 {
        let mut complete = Vec::new();
        for index in 0..100 {
            let parent = ["d", "d/inner", "d/made", "d/made/deep"][index % 4];
            let name: FileName = format!("{parent}/{batch}-{index}").parse().expect("a name");
            let existing = [Existing::Refuse, Existing::Overwrite][index / 4 % 2];
            let options = (existing, Durability::Buffered);
            if index % 3 == 0 {
                let link = target.create_symbolic_link(&name, b"/etc", TIME, options);
                restored += usize::from(is_restored(link).is_some());
            } else {
                let file = target.create(&name, 5, existing).and_then(|file| {
                    file.write_at(0, b"bytes")?;
                    file.complete(TIME, 0o777, Durability::Buffered)
                });
                complete.extend(is_restored(file));
            }
            let directory: FileName = parent.parse().expect("a name");
            is_restored(target.create_directory(&directory, Durability::Buffered));
            let set = target.set_directory_metadata(&directory, TIME, 0o711, Durability::Buffered);
            drop(is_restored(set));
        }
        for file in complete {
            restored += usize::from(is_restored(file.publish()).is_some());
        }
    }
    restored
}

/// Meeting the link is the one reason to fail: nothing that stands in the way was removed, and `d/made` may not be there
/// in the directory that is found.
fn is_restored<T>(outcome: Result<T, HostError>) -> Option<T> {
    match outcome {
        Ok(restored) => Some(restored),
        Err(HostError::NotDirectory { .. }) => None,
        Err(error) => panic!("{error:?}"),
    }
}

fn state_of(path: &Path) -> (u32, i64, i64) {
    let found = fs::metadata(path).expect("a directory");
    (found.mode(), found.mtime(), found.ctime_nsec())
}

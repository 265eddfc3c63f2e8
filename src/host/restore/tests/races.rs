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

#![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicBool, Ordering},
};

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;
use crate::{
    error::{FileKind, HostError},
    host::SystemClock,
    units::Timestamp,
};

#[derive(Debug)]
struct At(i64);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::new(self.0, 5).expect("nanoseconds are below a second")
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn info() -> SessionInfo {
    SessionInfo::of_this_process("bfdb commit /photos", &At(1_700_000_000))
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_session_is_live_until_it_ends_and_only_an_end_leaves_nothing() {
    let directory = scratch();
    for by_drop in [false, true].map(|by_drop| if by_drop { "dropped" } else { "ended" }) {
        let session = Session::create(
            &Machine::default(),
            directory.path(),
            SessionId::new(0xab),
            &info(),
        )
        .expect("a session");
        assert_eq!(session.id(), SessionId::new(0xab));
        assert_eq!(names_in(directory.path()), ["00000000000000ab"]);
        let mode = fs::metadata(directory.path().join("00000000000000ab"))
            .expect("the file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
        let seen = sessions(&Machine::default(), directory.path()).expect("sessions");
        let [
            SeenSession {
                id,
                state: SessionState::Live(Some(found)),
            },
        ] = &seen[..]
        else {
            panic!("{seen:?}")
        };
        assert_eq!((*id, found), (SessionId::new(0xab), &info()));
        let glances = glance_at_sessions(&Machine::default(), directory.path()).expect("sessions");
        let glance = SessionGlance {
            id: *id,
            life: SessionLife::Live,
            info: Some(info()),
        };
        assert_eq!(glances, [glance]);
        if by_drop == "dropped" {
            drop(session);
            let seen = sessions(&Machine::default(), directory.path()).expect("sessions");
            let [seen] = <[SeenSession; 1]>::try_from(seen).expect("one");
            let SessionState::Dead(dead) = seen.state else {
                panic!("nobody holds it")
            };
            dead.remove().expect("an end");
        } else {
            session.end().expect("an end");
        }
        assert_eq!(names_in(directory.path()), [""; 0], "{by_drop}");
    }
}

#[test]
fn a_session_without_a_lock_is_dead_and_locked_by_the_first_who_finds_it() {
    let directory = scratch();
    let path = directory.path().join("0000000000000007");
    fs::write(&path, info().to_bytes()).expect("a session that a copy brought along");
    let take = || {
        let mut seen = sessions(&Machine::default(), directory.path()).expect("sessions");
        assert_eq!(seen.len(), 1);
        seen.remove(0).state
    };
    let SessionState::Dead(dead) = take() else {
        panic!("it is dead")
    };
    assert_eq!((dead.id(), dead.info()), (SessionId::new(7), Some(&info())));
    assert!(
        matches!(take(), SessionState::Live(Some(_))),
        "a second finder took it too"
    );
    // Recovery fails: the next one has to find it again.
    drop(dead);
    let SessionState::Dead(dead) = take() else {
        panic!("it is dead again")
    };
    dead.remove().expect("a removal");
    assert_eq!(names_in(directory.path()), [""; 0]);
}

#[test]
fn looking_takes_nothing_and_is_never_mistaken_for_working() {
    let directory = scratch();
    let path = directory.path().join("0000000000000007");
    fs::write(&path, b"garbage").expect("a dead session");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                let seen = glance_at_sessions(&Machine::default(), directory.path());
                if !matches!(&seen, Ok(seen) if seen.len() == 1) {
                    is_done.store(true, Ordering::Relaxed);
                    panic!("{seen:?}");
                }
            }
        });
        for _ in 0..300 {
            let seen = sessions(&Machine::default(), directory.path()).expect("sessions");
            let is_dead = matches!(
                seen[..],
                [SeenSession {
                    state: SessionState::Dead(_),
                    ..
                }]
            );
            if !is_dead {
                is_done.store(true, Ordering::Relaxed);
            }
            assert!(is_dead, "{seen:?}");
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let glances = glance_at_sessions(&Machine::default(), directory.path()).expect("sessions");
    assert_eq!(
        glances,
        [SessionGlance {
            id: SessionId::new(7),
            life: SessionLife::Dead,
            info: None
        }]
    );
}

#[test]
fn a_looker_who_never_lets_go_makes_a_session_neither_live_nor_lost() {
    let directory = scratch();
    let path = directory.path().join("0000000000000007");
    fs::write(&path, info().to_bytes()).expect("a dead session");
    let looker = File::open(&path).expect("the file");
    looker.try_lock_shared().expect("a look");
    let glances = glance_at_sessions(&Machine::default(), directory.path()).expect("sessions");
    assert_eq!(
        glances,
        [SessionGlance {
            id: SessionId::new(7),
            life: SessionLife::Dead,
            info: Some(info())
        }]
    );
    let refused =
        sessions(&Machine::default(), directory.path()).expect_err("it cannot be taken, and it is not live");
    assert!(matches!(refused, HostError::Locked { .. }), "{refused:?}");
    drop(looker);
    let seen = sessions(&Machine::default(), directory.path()).expect("sessions");
    assert!(
        matches!(
            seen[..],
            [SeenSession {
                state: SessionState::Dead(_),
                ..
            }]
        ),
        "{seen:?}"
    );
}

#[test]
fn nobody_ever_finds_a_new_session_unlocked() {
    let directory = scratch();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..60 {
                let session =
                    Session::create(&Machine::default(), directory.path(), SessionId::new(id), &info())
                        .expect("a session");
                session.end().expect("an end");
            }
            is_done.store(true, Ordering::Relaxed);
        });
        while !is_done.load(Ordering::Relaxed) {
            for seen in sessions(&Machine::default(), directory.path()).expect("sessions") {
                assert!(matches!(seen.state, SessionState::Live(Some(_))), "{seen:?}");
            }
        }
    });
}

#[test]
fn an_id_that_is_taken_is_refused_whether_live_or_dead() {
    let directory = scratch();
    let live = Session::create(&Machine::default(), directory.path(), SessionId::new(1), &info())
        .expect("a session");
    fs::write(directory.path().join("0000000000000002"), b"dead").expect("a file");
    for id in [1, 2] {
        let refused = Session::create(&Machine::default(), directory.path(), SessionId::new(id), &info())
            .expect_err("a taken id");
        assert!(matches!(refused, HostError::Exists { .. }), "{refused:?}");
    }
    assert_eq!(
        fs::read(directory.path().join("0000000000000002")).expect("the file"),
        b"dead"
    );
    live.end().expect("an end");
    assert_eq!(
        names_in(directory.path()),
        ["0000000000000002"],
        "the temporary files are gone"
    );
}

#[test]
fn a_session_whose_file_was_replaced_does_not_remove_the_other() {
    let directory = scratch();
    let session = Session::create(&Machine::default(), directory.path(), SessionId::new(1), &info())
        .expect("a session");
    let path = directory.path().join("0000000000000001");
    fs::remove_file(&path).expect("somebody clears up");
    fs::write(&path, b"another").expect("another file");
    session.end().expect("an end");
    assert_eq!(fs::read(&path).expect("the other"), b"another");
}

#[test]
fn garbage_in_a_session_file_is_a_dead_session_that_says_nothing() {
    let directory = scratch();
    fs::write(directory.path().join("0000000000000003"), vec![0xff; 100_000]).expect("garbage");
    fs::write(directory.path().join("0000000000000001"), b"").expect("an empty file");
    let seen = sessions(&Machine::default(), directory.path()).expect("sessions");
    assert_eq!(
        seen.iter().map(|seen| seen.id.get()).collect::<Vec<_>>(),
        [1, 3],
        "sorted by id"
    );
    for SeenSession { state, .. } in seen {
        let SessionState::Dead(dead) = state else {
            panic!("it is dead")
        };
        assert_eq!(dead.info(), None);
    }
}

#[test]
fn other_names_are_no_sessions_and_no_directory_means_none() {
    let directory = scratch();
    for name in [
        "1",
        "000000000000000g",
        "00000000000000AB",
        "+000000000000001",
        "0000000000000001-0.tmp",
        "\u{e9}",
    ] {
        fs::write(directory.path().join(name), b"").expect("a file");
    }
    assert!(
        sessions(&Machine::default(), directory.path())
            .expect("sessions")
            .is_empty()
    );
    assert!(
        sessions(&Machine::default(), &directory.path().join("missing"))
            .expect("sessions")
            .is_empty()
    );
    assert!(
        sessions(&Machine::default(), &directory.path().join("1")).is_err(),
        "a file is no directory of sessions"
    );
}

#[test]
fn a_fifo_with_the_name_of_a_session_is_an_error_and_not_waited_for() {
    let directory = scratch();
    mkfifoat(
        CWD,
        directory.path().join("0000000000000001"),
        Mode::RUSR | Mode::WUSR,
    )
    .expect("a fifo");
    let refused = sessions(&Machine::default(), directory.path()).expect_err("a fifo");
    assert!(
        matches!(
            refused,
            HostError::NotRegular {
                kind: FileKind::Fifo,
                ..
            }
        ),
        "{refused:?}"
    );
}

#[test]
fn this_process_describes_itself_and_parses_back() {
    let info = info();
    assert_eq!(info.pid, std::process::id());
    assert_eq!(info.started_unix_seconds, 1_700_000_000);
    assert!(!info.host_name.is_empty());
    assert_eq!(SessionInfo::parse(&info.to_bytes()), Some(info));
    assert!(SessionInfo::of_this_process("", &SystemClock).started_unix_seconds > 1_700_000_000);
}

#[test]
fn a_command_with_line_breaks_cannot_forge_another_line() {
    let info = SessionInfo {
        command: "x\npid=1\r\x1b[2J".into(),
        host_name: "h\npid=2".into(),
        ..info()
    };
    let parsed = SessionInfo::parse(&info.to_bytes()).expect("a whole file");
    assert_eq!(parsed.pid, std::process::id());
    assert_eq!(
        (parsed.command.as_str(), parsed.host_name.as_str()),
        ("x pid=1  [2J", "h pid=2")
    );
    assert_eq!(
        SessionInfo::parse(b"pid=1\nhost=h\nstarted=soon\ncommand=c\n"),
        None
    );
    assert_eq!(SessionInfo::parse(b"pid=1\nhost=h\nstarted=5\n"), None);
}

proptest! {
    #[test]
    fn any_bytes_parse_to_nothing_or_to_text_that_is_safe_to_print(bytes in any::<Vec<u8>>(), tail in any::<Vec<u8>>()) {
        let whole = [b"pid=1\nstarted=-5\nhost=".as_slice(), &bytes, b"\ncommand=", &tail].concat();
        for text in [&bytes, &whole] {
            if let Some(info) = SessionInfo::parse(text) {
                prop_assert!(!info.host_name.chars().chain(info.command.chars()).any(char::is_control));
                prop_assert_eq!(SessionInfo::parse(&info.to_bytes()), Some(info));
            }
        }
    }
}

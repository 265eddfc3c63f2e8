//! Signals: the first asks the command to end, the second ends it.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use crate::harness::{Answer, Place};

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "no signal was sent");
}

/// A commit that waits for more of its pipe and has read some of it, so that it listens.
fn waiting_commit(place: &Place) -> (Child, std::process::ChildStdin) {
    let mut command = place.command(["commit", "-", "--name", "piped"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut pipe = child.stdin.take().expect("piped");
    // More than a pipe holds: when all is written the program reads.
    pipe.write_all(&vec![7; 1 << 20]).expect("it reads");
    (child, pipe)
}

#[test]
fn a_signal_ends_a_wait_with_its_own_code_and_stores_nothing() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let place = Place::with(&[("a", b"before")]);
        let (child, pipe) = waiting_commit(&place);
        send(signal, &child);
        let answer = Answer::of(child.wait_with_output().expect("it ends"));
        drop(pipe);
        let answer = answer.expect_code(code);
        answer
            .expect_text("")
            .expect_stderr("error: interrupted: nothing was stored\n");
        place.run(["ls"]).expect_text("a\n");
        place.run(["scrub"]).expect_code(0);
    }
}

#[test]
fn a_signal_that_the_surroundings_ignore_stays_ignored() {
    let place = Place::with(&[("a", b"before")]);
    let program = env!("CARGO_BIN_EXE_bfdb");
    let script = format!("trap '' HUP; exec {program} commit - --name piped");
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", &script]).current_dir(place.path(""));
    let mut child = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut pipe = child.stdin.take().expect("piped");
    pipe.write_all(&vec![7; 1 << 20]).expect("it reads");
    send("-HUP", &child);
    pipe.write_all(b"more").expect("it still reads");
    drop(pipe);
    let answer = Answer::of(child.wait_with_output().expect("it ends"));
    answer.expect_code(0);
    let lines = place.run(["ls", "--json", "piped"]).json();
    assert_eq!(lines[0]["length"], (1 << 20) + 4);
}

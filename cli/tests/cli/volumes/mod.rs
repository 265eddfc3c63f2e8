//! Archives on several volumes, as a user makes, loses, replaces and removes them.

mod changing;
mod losing;
mod making;

use std::{fs, path::Path};

use serde_json::Value;

use crate::harness::{Answer, Place, content};

/// Length of a file of tier 2, in bytes.
const SEGMENTED: usize = 10_100_000;

/// An archive on volumes `v0`, `v1` and so on, and how to ask for it.
struct OnVolumes {
    place: Place,
}

impl OnVolumes {
    /// Makes an archive with a file of tier 1 and one of tier 2.
    fn with_files(volumes: usize, options: &[&str]) -> Self {
        let place = Place::new();
        let names: Vec<String> = (0..volumes).map(|volume| format!("v{volume}")).collect();
        let mut arguments = vec!["init", "-q"];
        for name in &names {
            arguments.extend(["--volume", name]);
        }
        place.run([&arguments, options].concat()).expect_code(0);
        place.write("tiny", &content(300_000, 1));
        place.write("segmented", &content(SEGMENTED, 2));
        place.run(["commit", "-q", "tiny", "segmented"]).expect_code(0);
        Self { place }
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        self.place.run(arguments)
    }

    /// Takes volumes away for good.
    fn lose(&self, volumes: &[&str]) {
        for volume in volumes {
            fs::remove_dir_all(self.place.path(volume)).expect("it is there");
        }
    }

    /// Hides a volume where nobody looks by himself, or brings it back.
    fn carry(&self, from: &str, to: &str) {
        if let Some(above) = Path::new(to).parent() {
            fs::create_dir_all(self.place.path(above)).expect("a writable directory");
        }
        fs::rename(self.place.path(from), self.place.path(to)).expect("on one disk");
    }

    /// Every byte comes back.
    #[track_caller]
    fn has_all(&self) {
        for (name, bytes) in [
            ("tiny", content(300_000, 1)),
            ("segmented", content(SEGMENTED, 2)),
        ] {
            let answer = self.run(&["cat", name]).expect_code(0);
            assert!(answer.stdout == bytes, "other bytes of {name} came back");
        }
    }

    /// Line of a volume in `volume ls`, by its number.
    #[track_caller]
    fn volume(&self, number: usize) -> Value {
        let lines = self.run(&["volume", "ls", "--json"]).json();
        lines[number].clone()
    }

    #[track_caller]
    fn condition(&self, number: usize) -> String {
        text_of(&self.volume(number)["condition"])
    }
}

#[track_caller]
fn text_of(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Copies a directory with everything below it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a writable directory");
    for entry in fs::read_dir(from).expect("a readable directory") {
        let (from, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .expect("an entry");
        if from.is_dir() {
            copy(&from, &to.join(name));
        } else {
            fs::copy(&from, to.join(name)).expect("a readable file");
        }
    }
}

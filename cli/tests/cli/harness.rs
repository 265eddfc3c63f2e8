//! A directory to work in, the program run in it, and what it answered.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use bfdb_fault_injection::damage;
use serde_json::Value;
use tempfile::TempDir;

/// Length of a leaf, the unit of verification, in bytes.
pub(crate) const LEAF: usize = 64 * 1024;

/// A directory of its own, in which the program runs; the archive is where the program looks first.
pub(crate) struct Place {
    dir: TempDir,
}

/// What a run of the program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir }
    }

    /// A place with files that are committed.
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        let place = Self::new();
        for (name, bytes) in files {
            place.write(name, bytes);
            place.run(["commit", "-q", name]).expect_code(0);
        }
        place
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a writable directory");
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        fs::read(self.path(name)).expect("a readable file")
    }

    /// The program with the surroundings of a user who has set nothing.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bfdb"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("BFDB_") || text == "NO_COLOR" || text == "RUST_BACKTRACE" {
                command.env_remove(&variable);
            }
        }
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Answer {
        Answer::of(self.command(arguments).output().expect("the program runs"))
    }

    pub(crate) fn run_with<A: AsRef<OsStr>>(
        &self,
        variables: &[(&str, &str)],
        arguments: impl IntoIterator<Item = A>,
    ) -> Answer {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        Answer::of(command.output().expect("the program runs"))
    }

    /// Every extent that holds `needle`, and where in it.
    pub(crate) fn find_in_extents(&self, needle: &[u8]) -> Vec<(PathBuf, u64)> {
        let extents = damage::extent_files(&self.path("archive.bfdb")).expect("a readable archive");
        let find = |path: PathBuf| {
            let bytes = fs::read(&path).expect("a readable extent");
            let place = bytes.windows(needle.len()).position(|window| window == needle)?;
            Some((path, u64::try_from(place).expect("an address fits 64 bits")))
        };
        extents.into_iter().filter_map(find).collect()
    }

    /// Every file below, with its contents; what a command that changes nothing must leave as it is.
    pub(crate) fn tree(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.dir.path().to_path_buf()];
        while let Some(directory) = todo.pop() {
            for entry in fs::read_dir(&directory).expect("a readable directory") {
                let path = entry.expect("a readable entry").path();
                if path.is_dir() {
                    found.insert(path.clone(), Vec::new());
                    todo.push(path);
                } else {
                    let bytes = fs::read(&path).expect("a readable file");
                    found.insert(path, bytes);
                }
            }
        }
        found
    }
}

impl Answer {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended the program"),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        }
    }

    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "stdout: {}\nstderr: {}",
            self.stdout.escape_ascii(),
            self.stderr
        );
        self
    }

    /// Standard output as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.stdout).expect("the output is UTF-8")
    }

    #[track_caller]
    pub(crate) fn expect_text(self, text: &str) -> Self {
        assert_eq!(self.text(), text, "stderr: {}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn expect_stderr(self, stderr: &str) -> Self {
        assert_eq!(self.stderr, stderr, "stdout: {}", self.stdout.escape_ascii());
        self
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        json_lines(self.text())
    }

    /// Standard error as JSON lines.
    #[track_caller]
    pub(crate) fn json_errors(&self) -> Vec<Value> {
        json_lines(&self.stderr)
    }
}

#[track_caller]
fn json_lines(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    text.lines().map(parse).collect()
}

/// Bytes of which no piece of any length stands twice where a test would mind: a period that fits no power of two.
pub(crate) fn content(len: usize, seed: u8) -> Vec<u8> {
    let mut state = blake3::Hasher::new();
    state.update(&[seed]);
    let mut bytes = vec![0; len];
    state.finalize_xof().fill(&mut bytes);
    bytes
}

/// What `b3sum` prints.
pub(crate) fn root_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

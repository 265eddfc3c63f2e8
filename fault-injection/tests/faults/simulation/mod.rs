//! The simulated disk, as storage, as a recording, and under a database.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong here is what the test is about"
)]

mod classes;
mod database;
mod faults;
mod host;
mod recording;

use std::{collections::BTreeMap, path::Path};

use bfdb::{
    error::FileKind,
    storage::{FileAccess, Storage},
};

/// Everything on a disk: directories end with a slash, files have their bytes.
fn dump(disk: &dyn Storage) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![Path::new("/").to_path_buf()];
    while let Some(directory) = todo.pop() {
        for name in disk.list(&directory).unwrap() {
            let path = directory.join(name);
            let shown = path.to_str().unwrap().to_owned();
            let info = disk.inspect(&path).unwrap();
            if info.kind == FileKind::Directory {
                found.insert(format!("{shown}/"), Vec::new());
                todo.push(path);
            } else {
                found.insert(shown, bytes_of(disk, path.to_str().unwrap()));
            }
        }
    }
    found
}

fn bytes_of(disk: &dyn Storage, path: &str) -> Vec<u8> {
    let file = disk.open(Path::new(path), FileAccess::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.info().unwrap().len_bytes).unwrap()];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// The same in one line, for small disks: long runs of a byte are written as a count.
fn line(disk: &dyn Storage) -> String {
    let entries = dump(disk).into_iter().map(|(path, bytes)| {
        if path.ends_with('/') {
            return path;
        }
        let runs = bytes.chunk_by(|a, b| a == b).map(|run| {
            let shown = if run[0] == 0 { '0' } else { char::from(run[0]) };
            if run.len() == 1 {
                shown.to_string()
            } else {
                format!("{}{shown}", run.len())
            }
        });
        format!("{path}={}", runs.collect::<Vec<_>>().join("+"))
    });
    entries.collect::<Vec<_>>().join(" ")
}

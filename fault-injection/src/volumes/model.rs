//! What was acknowledged, and what may be read of it.

use std::{collections::BTreeMap, io::Read as _, sync::Arc};

use bfdb::{Archive, FileName, error::ReadError};

use crate::crashes::{
    setting::explained,
    violation::{Promise, Violation},
};

/// Names with what stands under them.
#[derive(Debug, Default)]
pub(super) struct Model {
    files: BTreeMap<FileName, Vec<u8>>,
}

/// What is expected of reading everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Every file is read.
    Everything,
    /// A file whose blocks lack too many shards, since a volume is away or lost, is refused, and no other.
    WhatIsThere,
}

impl Model {
    pub(super) fn put(&mut self, name: FileName, content: Vec<u8>) {
        self.files.insert(name, content);
    }

    pub(super) fn remove(&mut self, name: &FileName) {
        self.files.remove(name);
    }

    pub(super) fn rename(&mut self, from: &FileName, to: FileName) {
        if let Some(content) = self.files.remove(from) {
            self.files.insert(to, content);
        }
    }

    pub(super) fn names(&self) -> Vec<FileName> {
        self.files.keys().cloned().collect()
    }

    /// Reads everything and compares; returns the names that are refused.
    pub(super) fn judge(
        &self,
        archive: &Archive,
        is_short_of_shards: &dyn Fn(&FileName) -> bool,
        expect: Expect,
    ) -> Result<Vec<FileName>, Violation> {
        let broken = |detail: String| Promise::Content.broken(detail);
        let snapshot = archive.snapshot().map_err(|error| broken(explained(&error)))?;
        let mut listed = Vec::new();
        for file in snapshot.files(None) {
            listed.push(file.map_err(|error| broken(explained(&error)))?.name);
        }
        if listed != self.names() {
            return Err(broken(format!("listed are {listed:?}, not {:?}", self.names())));
        }
        let mut refused = Vec::new();
        for (name, content) in &self.files {
            match read(archive, name) {
                Ok(bytes) if bytes == *content => {}
                Ok(_) => return Err(broken(format!("{name} has other bytes"))),
                Err(error) => {
                    if expect == Expect::Everything || !is_short_of_shards(name) {
                        return Err(broken(format!("{name}: {error}")));
                    }
                    refused.push(name.clone());
                }
            }
        }
        Ok(refused)
    }
}

fn read(archive: &Archive, name: &FileName) -> Result<Vec<u8>, String> {
    let opened = archive.snapshot().map_err(ReadError::from);
    let opened = opened.and_then(|snapshot| snapshot.open_file(name, Arc::new(())));
    let mut bytes = Vec::new();
    let mut reader = opened.map_err(|error| explained(&error))?;
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| explained(&error))?;
    Ok(bytes)
}

//! One state of a disk: directories, files and their bytes. Clones share everything until they are changed.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::{
    action::{Action, Form, Inode, Name},
    content::Content,
    hash::Mixer,
};

/// The directory that everything lies in.
pub(super) const ROOT: Inode = 1;

type Entries = BTreeMap<Arc<OsStr>, Inode>;

/// A state of a disk.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    nodes: Arc<BTreeMap<Inode, Node>>,
    next_inode: Inode,
}

/// A file or a directory, and how many names it has.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) links: u64,
    pub(super) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    File(Arc<Content>),
    Directory(Arc<Entries>),
}

impl Disk {
    pub(super) fn new() -> Self {
        let root = Node {
            links: 1,
            kind: NodeKind::Directory(Arc::default()),
        };
        Self {
            nodes: Arc::new(BTreeMap::from([(ROOT, root)])),
            next_inode: ROOT + 1,
        }
    }

    /// Returns the number that the next file gets.
    pub(super) const fn next_inode(&self) -> Inode {
        self.next_inode
    }

    pub(super) fn node(&self, inode: Inode) -> Option<&Node> {
        self.nodes.get(&inode)
    }

    pub(super) fn content(&self, inode: Inode) -> Option<&Content> {
        match &self.nodes.get(&inode)?.kind {
            NodeKind::File(content) => Some(content),
            NodeKind::Directory(_) => None,
        }
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        let contents = self.nodes.values().map(|node| match &node.kind {
            NodeKind::File(content) => content.allocated_bytes(),
            NodeKind::Directory(_) => 0,
        });
        contents.sum()
    }

    /// Returns what stands at a path.
    pub(super) fn find(&self, path: &Path) -> io::Result<Inode> {
        let mut at = ROOT;
        for part in parts(path)? {
            let next = self.entries(at)?.get(part);
            at = *next.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// Returns the place that a path names, and what stands there; the directory above is there.
    pub(super) fn place(&self, path: &Path) -> io::Result<(Name, Option<Inode>)> {
        let mut above = parts(path)?;
        // The root has no name that could be taken or given.
        let name: Arc<OsStr> = above.pop().ok_or(io::ErrorKind::IsADirectory)?.into();
        let mut directory = ROOT;
        for part in above {
            let next = self.entries(directory)?.get(part);
            directory = *next.ok_or(io::ErrorKind::NotFound)?;
        }
        let found = self.entries(directory)?.get(&*name).copied();
        Ok((Name { directory, name }, found))
    }

    /// Returns the names in a directory, sorted.
    pub(super) fn list(&self, directory: Inode) -> io::Result<Vec<OsString>> {
        let names = self.entries(directory)?.keys();
        Ok(names.map(|name| name.as_ref().to_owned()).collect())
    }

    /// Returns what has a name.
    pub(super) fn at(&self, name: &Name) -> Option<Inode> {
        self.entries(name.directory).ok()?.get(&name.name).copied()
    }

    pub(super) fn is_directory(&self, inode: Inode) -> bool {
        self.entries(inode).is_ok()
    }

    fn entries(&self, inode: Inode) -> io::Result<&Entries> {
        match self.nodes.get(&inode).map(|node| &node.kind) {
            Some(NodeKind::Directory(entries)) => Ok(entries),
            Some(NodeKind::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Does an action. What it is done to need not be there: a state of which parts are lost takes the rest all the same.
    pub(super) fn apply(&mut self, action: &Action, form: Form) {
        match (action, form) {
            (Action::CreateFile { name, inode }, _) => {
                self.content_mut(*inode);
                self.assign(name, Some(*inode));
            }
            (Action::CreateDirectory { name, inode }, _) => {
                self.entries_mut(*inode);
                self.assign(name, Some(*inode));
            }
            (Action::Write { inode, payload }, Form::SizeOnly) => {
                self.content_mut(*inode).make_room(payload.range());
            }
            (Action::Write { inode, payload }, _) => {
                self.content_mut(*inode).write(payload, &(0..u64::MAX));
            }
            (Action::SetLen { inode, len_bytes }, _) => self.content_mut(*inode).set_len(*len_bytes),
            (Action::Allocate { inode, range }, _) => self.content_mut(*inode).make_room(range.clone()),
            (Action::Punch { inode, range }, _) => self.content_mut(*inode).punch(range),
            (Action::Rename { from, to, inode }, form) => {
                // The new name first, so that the file never has none.
                if form != Form::RemovedOnly {
                    self.content_mut(*inode);
                    self.assign(to, Some(*inode));
                }
                if form != Form::AddedOnly {
                    self.assign(from, None);
                }
            }
            (Action::Remove { name }, _) => self.assign(name, None),
            (Action::SyncFile { .. } | Action::SyncDirectory { .. }, _) => {}
        }
    }

    /// Does the part of a write that lies in `clip`.
    pub(super) fn apply_torn(&mut self, action: &Action, clip: &Range<u64>) {
        if let Action::Write { inode, payload } = action {
            self.content_mut(*inode).write(payload, clip);
        }
    }

    /// Returns a file for changing; an empty one when there was none.
    pub(super) fn content_mut(&mut self, inode: Inode) -> &mut Content {
        self.next_inode = self.next_inode.max(inode + 1);
        let empty = || Node {
            links: 0,
            kind: NodeKind::File(Arc::default()),
        };
        let node = Arc::make_mut(&mut self.nodes).entry(inode).or_insert_with(empty);
        match &mut node.kind {
            NodeKind::File(content) => Arc::make_mut(content),
            NodeKind::Directory(_) => unreachable!("a number is a file or a directory for ever"),
        }
    }

    /// Puts the content of a file in the place of another one.
    pub(super) fn replace_content(&mut self, inode: Inode, content: Content) {
        *self.content_mut(inode) = content;
    }

    fn entries_mut(&mut self, inode: Inode) -> &mut Entries {
        self.next_inode = self.next_inode.max(inode + 1);
        let empty = || Node {
            links: 0,
            kind: NodeKind::Directory(Arc::default()),
        };
        let node = Arc::make_mut(&mut self.nodes).entry(inode).or_insert_with(empty);
        match &mut node.kind {
            NodeKind::Directory(entries) => Arc::make_mut(entries),
            NodeKind::File(_) => unreachable!("a number is a file or a directory for ever"),
        }
    }

    /// Makes a name stand for something else, or for nothing. What had it stays, perhaps without a name.
    fn assign(&mut self, name: &Name, target: Option<Inode>) {
        let entries = self.entries_mut(name.directory);
        let before = match target {
            Some(target) => entries.insert(Arc::clone(&name.name), target),
            None => entries.remove(&name.name),
        };
        let nodes = Arc::make_mut(&mut self.nodes);
        if let Some(node) = before.and_then(|before| nodes.get_mut(&before)) {
            node.links -= 1;
        }
        if let Some(node) = target.and_then(|target| nodes.get_mut(&target)) {
            node.links += 1;
        }
    }

    /// Drops a file if it has no name.
    pub(super) fn drop_if_nameless(&mut self, inode: Inode) {
        if self.nodes.get(&inode).is_some_and(|node| node.links == 0) {
            Arc::make_mut(&mut self.nodes).remove(&inode);
        }
    }

    /// Drops everything that no path leads to.
    pub(super) fn drop_nameless(&mut self) {
        let nameless = |(inode, node): (&Inode, &Node)| (node.links == 0).then_some(*inode);
        let mut lost: Vec<Inode> = self.nodes.iter().filter_map(nameless).collect();
        while let Some(inode) = lost.pop() {
            let nodes = Arc::make_mut(&mut self.nodes);
            let Some(Node {
                kind: NodeKind::Directory(entries),
                ..
            }) = nodes.remove(&inode)
            else {
                continue;
            };
            for child in entries.values() {
                if let Some(node) = nodes.get_mut(child) {
                    node.links -= 1;
                    if node.links == 0 {
                        lost.push(*child);
                    }
                }
            }
        }
    }

    /// Returns a hash of all paths and what stands there. Numbers of files do not count, but which names are one file does.
    pub(super) fn fingerprint(&self) -> u128 {
        let mut mixer = Mixer::new();
        let mut seen = BTreeMap::new();
        let mut todo = vec![ROOT];
        while let Some(inode) = todo.pop() {
            let Some(Node {
                kind: NodeKind::Directory(entries),
                ..
            }) = self.nodes.get(&inode)
            else {
                continue;
            };
            mixer.words(0, u64::try_from(entries.len()).unwrap_or(u64::MAX));
            for (name, child) in entries.iter() {
                mixer.bytes(name.as_encoded_bytes());
                let order = u64::try_from(seen.len()).unwrap_or(u64::MAX);
                let order = *seen.entry(*child).or_insert(order);
                match self.nodes.get(child).map(|node| &node.kind) {
                    Some(NodeKind::File(content)) => {
                        mixer.words(1, order);
                        mixer.hash(content.hash());
                    }
                    Some(NodeKind::Directory(_)) => {
                        mixer.words(2, order);
                        todo.push(*child);
                    }
                    None => mixer.words(3, order),
                }
            }
        }
        mixer.finish()
    }
}

/// Returns the path without dots, from the root.
pub(super) fn normalized(path: &Path) -> io::Result<PathBuf> {
    Ok(Path::new("/").join(parts(path)?.iter().collect::<PathBuf>()))
}

/// Returns the names that lead from the root to a path. There are no links, so `..` is a matter of names alone.
fn parts(path: &Path) -> io::Result<Vec<&OsStr>> {
    let mut parts = Vec::new();
    if !path.is_absolute() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name),
            Component::ParentDir => {
                parts.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(parts)
}

//! What a process says of itself: a line when it begins something, and one when it was told.
//!
//! ```text
//! begin 3000017 81227003411 12 store shared-1 3000017 replace
//! end   3000017 81229114873 13 replaced
//!       |       |           |  words of what was asked or answered
//!       |       |           publications that the archive had; - where nobody has looked
//!       |       nanoseconds of the clock of the machine
//!       number of the operation
//! ```

use std::fmt;

use crate::crashes::violation::Promise;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Which operation.
    pub(super) number: u64,
    /// The clock of the machine: before it was asked for, or behind the answer.
    pub(super) at: u64,
    /// Publications at that time.
    pub(super) epoch: Option<u64>,
    pub(super) said: Said,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Begin(Asked),
    End(Told),
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Store {
        name: String,
        content: u64,
        conflict: Conflict,
        source: SourceKind,
    },
    Remove {
        name: String,
    },
    /// Read, or verified.
    See {
        name: String,
    },
    List,
    /// The commit that operation `origin` has begun goes on.
    Resume {
        name: String,
        content: u64,
        origin: u64,
    },
    /// The commit that operation `origin` has begun is given back.
    RollBack {
        origin: u64,
    },
    Open,
    /// Something that tells of no name.
    Other(String),
}

/// What happens to a name that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    Refuse,
    Replace,
}

/// What is committed: after a death only a file of the host can be gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceKind {
    Stream,
    Path,
}

/// What the answer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// It is stored; what there was before was not said.
    Stored,
    Committed,
    Replaced,
    Unchanged,
    /// Something of this length has the name.
    Taken(u64),
    /// Something of this length had the name.
    Removed(u64),
    Missing,
    Saw(u64),
    Listed(Vec<(String, u64)>),
    /// It was ended before it did anything, or somebody else is at it.
    Nothing,
    /// There is no such commit any more.
    Gone,
    Done,
    /// A promise was broken.
    Wrong(Promise, String),
}

impl Line {
    /// Reads a line; `None` when a process died while it said it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let is_begin = match words.next()? {
            "begin" => true,
            "end" => false,
            _ => return None,
        };
        let number = words.next()?.parse().ok()?;
        let at = words.next()?.parse().ok()?;
        let epoch = match words.next()? {
            "-" => None,
            epoch => Some(epoch.parse().ok()?),
        };
        let words: Vec<&str> = words.collect();
        let said = if is_begin {
            Said::Begin(Asked::parse(&words)?)
        } else {
            Said::End(Told::parse(&words)?)
        };
        Some(Self {
            number,
            at,
            epoch,
            said,
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.said {
            Said::Begin(_) => "begin",
            Said::End(_) => "end",
        };
        write!(out, "{word} {} {} ", self.number, self.at)?;
        match self.epoch {
            Some(epoch) => write!(out, "{epoch} ")?,
            None => out.write_str("- ")?,
        }
        match &self.said {
            Said::Begin(asked) => asked.fmt(out),
            Said::End(told) => told.fmt(out),
        }
    }
}

impl Asked {
    fn parse(words: &[&str]) -> Option<Self> {
        let text = |word: &str| word.to_owned();
        Some(match *words {
            ["store", name, content, conflict, source] => Self::Store {
                name: text(name),
                content: content.parse().ok()?,
                conflict: match conflict {
                    "refuse" => Conflict::Refuse,
                    "replace" => Conflict::Replace,
                    _ => return None,
                },
                source: match source {
                    "stream" => SourceKind::Stream,
                    "path" => SourceKind::Path,
                    _ => return None,
                },
            },
            ["remove", name] => Self::Remove { name: text(name) },
            ["see", name] => Self::See { name: text(name) },
            ["list"] => Self::List,
            ["resume", name, content, origin] => Self::Resume {
                name: text(name),
                content: content.parse().ok()?,
                origin: origin.parse().ok()?,
            },
            ["roll-back", origin] => Self::RollBack {
                origin: origin.parse().ok()?,
            },
            ["open"] => Self::Open,
            ["other", what] => Self::Other(text(what)),
            _ => return None,
        })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store {
                name,
                content,
                conflict,
                source,
            } => {
                let conflict = match conflict {
                    Conflict::Refuse => "refuse",
                    Conflict::Replace => "replace",
                };
                let source = match source {
                    SourceKind::Stream => "stream",
                    SourceKind::Path => "path",
                };
                write!(out, "store {name} {content} {conflict} {source}")
            }
            Self::Remove { name } => write!(out, "remove {name}"),
            Self::See { name } => write!(out, "see {name}"),
            Self::List => out.write_str("list"),
            Self::Resume {
                name,
                content,
                origin,
            } => write!(out, "resume {name} {content} {origin}"),
            Self::RollBack { origin } => write!(out, "roll-back {origin}"),
            Self::Open => out.write_str("open"),
            Self::Other(what) => write!(out, "other {what}"),
        }
    }
}

/// Promises that a process notices itself.
const PROMISES: [Promise; 7] = [
    Promise::Answers,
    Promise::Content,
    Promise::Ends,
    Promise::NoPanic,
    Promise::Opens,
    Promise::Totals,
    Promise::Whole,
];

impl Told {
    fn parse(words: &[&str]) -> Option<Self> {
        let number = |word: &str| word.parse::<u64>().ok();
        Some(match *words {
            ["stored"] => Self::Stored,
            ["committed"] => Self::Committed,
            ["replaced"] => Self::Replaced,
            ["unchanged"] => Self::Unchanged,
            ["taken", len] => Self::Taken(number(len)?),
            ["removed", len] => Self::Removed(number(len)?),
            ["missing"] => Self::Missing,
            ["saw", content] => Self::Saw(number(content)?),
            ["nothing"] => Self::Nothing,
            ["gone"] => Self::Gone,
            ["done"] => Self::Done,
            ["listed", ref entries @ .., "."] => {
                let entry = |entry: &&str| {
                    let (name, content) = entry.split_once('=')?;
                    Some((name.to_owned(), number(content)?))
                };
                Self::Listed(entries.iter().map(entry).collect::<Option<_>>()?)
            }
            ["wrong", promise, ref words @ ..] => {
                let known = PROMISES.iter().find(|known| format!("{known:?}") == promise)?;
                Self::Wrong(*known, words.join(" "))
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => out.write_str("stored"),
            Self::Committed => out.write_str("committed"),
            Self::Replaced => out.write_str("replaced"),
            Self::Unchanged => out.write_str("unchanged"),
            Self::Taken(len) => write!(out, "taken {len}"),
            Self::Removed(len) => write!(out, "removed {len}"),
            Self::Missing => out.write_str("missing"),
            Self::Saw(content) => write!(out, "saw {content}"),
            Self::Nothing => out.write_str("nothing"),
            Self::Gone => out.write_str("gone"),
            Self::Done => out.write_str("done"),
            Self::Listed(entries) => {
                out.write_str("listed")?;
                for (name, content) in entries {
                    write!(out, " {name}={content}")?;
                }
                out.write_str(" .")
            }
            Self::Wrong(promise, detail) => {
                write!(out, "wrong {promise:?} {}", detail.replace('\n', " / "))
            }
        }
    }
}

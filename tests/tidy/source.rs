//! Source files, read without a compiler: comments, literals and tests are blanked, paths are spelt out.

use std::{fs, path::Path};

/// A source file: as it is, without comments and literals, and without its tests too.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
    pub(crate) untested: String,
    test_lines: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: String) -> Self {
        let code = without_comments_and_literals(&text);
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        let (untested, test_lines) = if is_test {
            (String::new(), text.lines().count())
        } else {
            without_test_items(&code)
        };
        Self {
            path: path.to_owned(),
            text,
            code,
            untested,
            test_lines,
        }
    }

    pub(crate) fn line_count(&self) -> usize {
        self.text.lines().count() - self.test_lines
    }

    /// The module of the file, from the top of its crate; other crates than the library have their name in front.
    pub(crate) fn module(&self) -> Vec<String> {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        parts
            .into_iter()
            .filter(|part| !["src", "mod", "main", "lib"].contains(&part.as_str()))
            .collect()
    }

    /// Every path that is not test code, with its line; `use` trees are spelt out.
    pub(crate) fn paths(&self) -> Vec<(usize, String)> {
        let tokens = tokens(&self.untested);
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at].text == "use" {
                at = use_tree(&tokens, at + 1, "", &mut paths);
                continue;
            }
            let start = at;
            let mut path = String::new();
            while at < tokens.len() && is_name(tokens[at].text) {
                path.push_str(tokens[at].text);
                at += 1;
                if at + 1 < tokens.len() && tokens[at].text == "::" && is_name(tokens[at + 1].text) {
                    path.push_str("::");
                    at += 1;
                } else {
                    break;
                }
            }
            if path.contains("::") {
                paths.push((tokens[start].line, path));
            }
            at = at.max(start + 1);
        }
        paths
    }
}

/// Spells out the `use` tree that begins at `at`, below `prefix`; returns where it ends.
fn use_tree(tokens: &[Token<'_>], mut at: usize, prefix: &str, paths: &mut Vec<(usize, String)>) -> usize {
    let mut path = prefix.to_owned();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while at < tokens.len() {
        match tokens[at].text {
            "::" => {}
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at].text != "}" {
                    at = use_tree(tokens, at, &path, paths);
                    at += usize::from(at < tokens.len() && tokens[at].text == ",");
                }
                return at + 1;
            }
            "as" => at += 1,
            name if is_name(name) || name == "*" => {
                path = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}::{name}")
                };
            }
            _ => break,
        }
        at += 1;
    }
    paths.push((line, path.strip_suffix("::self").unwrap_or(&path).to_owned()));
    at
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (bytes, mut at, mut line, mut found) = (code.as_bytes(), 0, 1, Vec::new());
    while at < bytes.len() {
        let len = match bytes[at] {
            b':' if bytes.get(at + 1) == Some(&b':') => 2,
            byte if is_word(byte) => bytes[at..].iter().take_while(|byte| is_word(**byte)).count(),
            _ => 1,
        };
        line += usize::from(bytes[at] == b'\n');
        if let Some(text) = code.get(at..at + len).filter(|text| !text.trim().is_empty()) {
            found.push(Token { text, line });
        }
        at += len;
    }
    found
}

pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// The token that closes the brace at `open`.
pub(crate) fn closing<'a>(tokens: &[Token<'a>], open: usize) -> Token<'a> {
    let mut depth = 0_i32;
    let last = tokens[open..].iter().find(|token| {
        depth += i32::from(token.text == "{") - i32::from(token.text == "}");
        depth == 0
    });
    *last.or(tokens.last()).expect("a file with a brace has tokens")
}

/// Cuts out items behind `#[cfg(test)]`; returns how many lines they had, too.
fn without_test_items(code: &str) -> (String, usize) {
    const MARK: &str = "#[cfg(test)]";
    let (mut rest, mut kept, mut lines) = (code, String::new(), 0);
    while let Some(start) = rest.find(MARK) {
        kept.push_str(&rest[..start]);
        let item = &rest[start..];
        let mut depth = 0_i32;
        let end = item.find(|character: char| {
            depth += i32::from(character == '{') - i32::from(character == '}');
            depth == 0 && (character == '}' || character == ';')
        });
        let end = end.map_or(item.len(), |end| end + 1);
        lines += item[..end].lines().count();
        kept.extend(item[..end].chars().filter(|character| *character == '\n'));
        rest = &item[end..];
    }
    kept.push_str(rest);
    (kept, lines)
}

/// Blanks comments, strings and characters; lines stay where they are.
fn without_comments_and_literals(text: &str) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_name = blanked.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_');
        let len = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment_len(rest),
            '"' => quoted_len(rest, '"'),
            'r' if !after_name || blanked.ends_with(" b") => raw_string_len(rest),
            '\'' => character_len(rest),
            _ => 0,
        };
        if len == 0 {
            blanked.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            blanked.extend(
                rest[..len]
                    .chars()
                    .map(|character| if character == '\n' { '\n' } else { ' ' }),
            );
            rest = &rest[len..];
        }
    }
    blanked
}

fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0_i32, 0);
    while at < text.len() {
        let (change, len) = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += change;
        at += len;
        if depth == 0 {
            break;
        }
    }
    at.min(text.len())
}

/// Length of a string or character with its quotes; a backslash takes what follows it along.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let ends = !is_escaped && *character == quote;
        is_escaped = !is_escaped && *character == '\\';
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// Length of `r#"..."#`; 0 when it is none.
fn raw_string_len(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let closing: String = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let start = hashes + 2;
    text[start..]
        .find(&closing)
        .map_or(text.len(), |at| start + at + closing.len())
}

/// Length of a character; 0 for a lifetime.
fn character_len(text: &str) -> usize {
    let mut after = text.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('\\'), _) | (_, Some('\'')) => quoted_len(text, '\''),
        _ => 0,
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn all_sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = ["src", "cli/src", "compare/src", "fault-injection/src"]
        .map(|folder| root().join(folder))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder can be listed") {
            let path = entry.expect("a source folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path
                    .strip_prefix(root())
                    .expect("below the root")
                    .display()
                    .to_string();
                sources.push(Source::new(
                    &below,
                    fs::read_to_string(&path).expect("a source is UTF-8"),
                ));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

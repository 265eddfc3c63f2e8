//! The code in README.md is code that is compiled and run: pieces of the examples and of the documentation of the crate.

use std::{fs, path::Path};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).expect("the file is there")
}

/// Returns the lines of a text, without the marks of documentation.
fn lines(text: &str) -> Vec<String> {
    let bare = |line: &str| {
        let line = line
            .strip_prefix("//!")
            .map_or(line, |line| line.strip_prefix(' ').unwrap_or(line));
        line.to_owned()
    };
    text.lines().map(bare).collect()
}

/// Says whether lines stand in others one behind another, perhaps indented there.
fn is_a_piece(piece: &[String], of: &[String]) -> bool {
    of.windows(piece.len()).any(|found| {
        let indent = found[0].len() - found[0].trim_start().len();
        let mut pairs = found.iter().zip(piece);
        pairs.all(|(found, line)| found.get(indent..).unwrap_or_default() == line)
    })
}

#[test]
fn the_code_of_the_readme_is_that_of_the_examples() {
    let readme = read("README.md");
    let sources = [
        "src/lib.rs",
        "examples/embedding_application.rs",
        "examples/own_volume.rs",
    ];
    let sources = sources.map(|name| lines(&read(name)));
    let mut met = [0; 3];
    for block in readme.split("```rust\n").skip(1) {
        let block = block.split("```").next().expect("a block ends");
        let block = lines(block);
        let place = sources.iter().position(|source| is_a_piece(&block, source));
        met[place.unwrap_or_else(|| panic!("in no example: {block:#?}"))] += 1;
    }
    assert_eq!(met, [1, 3, 2], "blocks from each of the sources");
}

#[test]
fn a_line_that_was_changed_is_noticed() {
    let source = lines("//! one\n//!\n//! two\nthree");
    assert!(is_a_piece(&lines("one\n\ntwo"), &source), "a piece of it");
    let indented = lines("fn one() {\n    two;\n\n    if three {\n        four;\n    }\n}");
    let piece = lines("two;\n\nif three {\n    four;");
    assert!(is_a_piece(&piece, &indented), "an indented piece");
    let flat = lines("two;\n\nif three {\nfour;");
    assert!(!is_a_piece(&flat, &indented), "indented otherwise");
    assert!(!is_a_piece(&lines("one\ntwo"), &source), "a line is left out");
    assert!(!is_a_piece(&lines("two\nThree"), &source), "a line is another");
}

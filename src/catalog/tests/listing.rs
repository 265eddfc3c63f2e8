//! Pages of names, forwards and backwards.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn prefixes_match_whole_parts_and_pages_continue_where_the_last_one_ended() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    // In byte order `-` and `.` come before the slash, `0` right behind it.
    let names = [
        "a", "b-x", "b.txt", "b/c", "b/c/d", "b/c0", "b/c/e/f", "b0", "bb/c", "c",
    ];
    for text in names {
        world.insert(&mut writer, &name(text), 10);
    }
    writer.commit().expect("committed");
    let reader = catalog.read().expect("reader");
    let list = |prefix: Option<&str>, page_len: usize| {
        let prefix = prefix.map(name);
        let mut found: Vec<FileName> = Vec::new();
        loop {
            let page = reader
                .files_page(prefix.as_ref(), found.last(), page_len)
                .expect("sound");
            found.extend(page.iter().map(|(file, _)| file.name.clone()));
            if page.len() < page_len {
                return found.iter().map(ToString::to_string).collect::<Vec<_>>();
            }
        }
    };
    let mut all = names.map(str::to_owned);
    all.sort_unstable();
    for page_len in [1, 2, 3, 100] {
        assert_eq!(list(None, page_len), all);
        assert_eq!(list(Some("b"), page_len), ["b/c", "b/c/d", "b/c/e/f", "b/c0"]);
        assert_eq!(list(Some("b/c"), page_len), ["b/c", "b/c/d", "b/c/e/f"]);
        assert_eq!(list(Some("b/c/d"), page_len), ["b/c/d"]);
        assert_eq!(list(Some("c"), page_len), ["c"]);
        assert_eq!(list(Some("d"), page_len), [""; 0]);
    }
    let behind = reader
        .files_page(Some(&name("a")), Some(&name("z")), 5)
        .expect("sound");
    assert_eq!(behind, [], "a start behind the prefix");
    assert_eq!(reader.files_page(None, None, 0).expect("sound"), []);
}

/// A catalog with an empty file of each name.
fn with_names(names: &BTreeSet<FileName>) -> (World, Catalog) {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    for name in names {
        world.insert(&mut writer, name, 0);
    }
    writer.commit().expect("committed");
    (world, catalog)
}

#[test]
fn going_backwards_the_name_of_the_prefix_comes_last() {
    let names = ["a", "a-b", "a/b", "a/b/c", "a0"].map(name).into();
    let (_world, catalog) = with_names(&names);
    let reader = catalog.read().expect("reader");
    let list = |prefix: Option<&str>, before: Option<&str>, limit| {
        let (prefix, before) = (prefix.map(name), before.map(name));
        let page = reader.files_page_backwards(prefix.as_ref(), before.as_ref(), limit);
        let names = page
            .expect("sound")
            .into_iter()
            .map(|(file, _)| file.name.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 9), ["a0", "a/b/c", "a/b", "a-b", "a"]);
    assert_eq!(list(Some("a"), None, 9), ["a/b/c", "a/b", "a"]);
    assert_eq!(list(Some("a"), None, 2), ["a/b/c", "a/b"]);
    assert_eq!(list(Some("a"), Some("a/b"), 2), ["a"]);
    assert_eq!(list(Some("a"), Some("a-b"), 2), ["a"]);
    assert_eq!(list(Some("a"), Some("a"), 2), [""; 0]);
    assert_eq!(list(Some("a"), Some("z"), 1), ["a/b/c"]);
    assert_eq!(list(None, None, 0), [""; 0]);
}

/// Short names over what sorts around the slash.
fn names() -> impl Strategy<Value = FileName> {
    let part = "[ab](|[-.0])";
    prop::collection::vec(part, 1..4).prop_map(|parts| name(&parts.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_in_both_directions_are_those_of_a_sorted_set(
        stored in prop::collection::btree_set(names(), 0..24),
        prefix in prop::option::of(names()),
        border in prop::option::of(names()),
        limit in 0_usize..6,
    ) {
        let (_world, catalog) = with_names(&stored);
        let reader = catalog.read().expect("reader");
        let belongs = |name: &&FileName| {
            let below = |prefix: &FileName| [prefix.as_bytes(), b"/"].concat();
            let matches = |prefix| *name == prefix || name.as_bytes().starts_with(&below(prefix));
            prefix.as_ref().is_none_or(matches)
        };
        let listed = |page: Result<Vec<(FileRecord, Option<BlockRecord>)>, CatalogError>| {
            page.expect("sound").into_iter().map(|(file, _)| file.name).collect::<Vec<_>>()
        };
        let is_behind = |name: &&FileName| border.as_ref().is_none_or(|border| *name > border);
        let forwards: Vec<FileName> =
            stored.iter().filter(belongs).filter(is_behind).take(limit).cloned().collect();
        prop_assert_eq!(listed(reader.files_page(prefix.as_ref(), border.as_ref(), limit)), forwards);
        let is_before = |name: &&FileName| border.as_ref().is_none_or(|border| *name < border);
        let backwards: Vec<FileName> =
            stored.iter().rev().filter(belongs).filter(is_before).take(limit).cloned().collect();
        prop_assert_eq!(listed(reader.files_page_backwards(prefix.as_ref(), border.as_ref(), limit)), backwards);
    }
}

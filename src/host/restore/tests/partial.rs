//! Files of which bytes are left out.

use super::*;
use crate::units::ByteRange;

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).expect("in order")
}

#[test]
fn what_is_left_out_is_a_hole_and_the_name_says_so() {
    const LEN: u64 = 1 << 20;
    let scratch = Scratch::new();
    for (name, durability) in [
        ("d/buffered", Durability::Buffered),
        ("d/batched", Durability::Batched),
        ("d/synced", Durability::Synced),
    ] {
        let mut file = scratch.create(name, LEN, Existing::Refuse).expect("a file");
        file.write_at(65_536, &vec![7; 65_536]).expect("bytes");
        let holes = [range(0, 65_536), range(131_072, LEN)];
        let partial = file.leave_out(&holes).expect("holes");
        assert_eq!(partial.to_string(), format!("{name}.partial"));
        assert!(is_partial_name(&partial));
        let complete = file.complete(TIME, 0o640, durability).expect("complete");
        assert!(!scratch.at(&format!("{name}.partial")).exists(), "{name}");
        assert!(complete.publish().expect("published").not_kept.is_empty());

        assert!(!scratch.at(name).exists(), "{name} passes for the whole");
        let path = scratch.at(&format!("{name}.partial"));
        let bytes = fs::read(&path).expect("the file");
        assert_eq!(to_u64(bytes.len()), LEN, "{name}");
        for (at, byte) in bytes.into_iter().enumerate() {
            assert_eq!(byte == 7, (65_536..131_072).contains(&at), "{name} at {at}");
        }
        let found = fs::metadata(&path).expect("the file");
        assert!(
            found.blocks() * 512 < LEN / 2,
            "{} blocks are kept for holes",
            found.blocks()
        );
        assert_eq!(
            (found.mode() & 0o7777, found.mtime()),
            (0o640, TIME.seconds()),
            "{name}"
        );
    }
}

#[test]
fn a_short_file_whose_end_is_left_out_keeps_its_length() {
    let scratch = Scratch::new();
    let mut file = scratch.create("a", 5000, Existing::Refuse).expect("a file");
    file.write_at(0, &[1; 1000]).expect("bytes");
    file.leave_out(&[range(1000, 5000)]).expect("a hole");
    drop(file.finish(TIME, 0o600, Durability::Synced).expect("finished"));
    let bytes = fs::read(scratch.at("a.partial")).expect("the file");
    assert_eq!(bytes, [vec![1; 1000], vec![0; 4000]].concat());
}

#[test]
fn a_gap_beside_what_was_left_out_is_still_one() {
    let scratch = Scratch::new();
    let mut file = scratch.create("a", 5000, Existing::Refuse).expect("a file");
    file.write_at(0, &[1; 1000]).expect("bytes");
    file.leave_out(&[range(1001, 5000)]).expect("a hole");
    let refused = file
        .finish(TIME, 0o600, Durability::Buffered)
        .expect_err("a byte is missing");
    assert!(
        matches!(
            refused,
            HostError::Incomplete {
                written: 1000,
                len_bytes: 5000,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
fn a_part_takes_the_place_of_nothing_even_where_the_whole_file_might() {
    let scratch = Scratch::new();
    scratch.restored("a", b"whole", Existing::Refuse);
    scratch.restored("a.partial", b"other", Existing::Refuse);
    fs::create_dir(scratch.at("b.partial")).expect("a directory");
    let partial = |name: &str| {
        let mut file = scratch
            .create(name, 10, Existing::Overwrite)
            .expect("it may be replaced");
        file.write_at(0, b"x").expect("a byte");
        let early = file.check_partial_name();
        file.leave_out(&[range(1, 10)]).expect("a hole");
        let late = file.finish(TIME, 0o600, Durability::Synced).map(drop);
        (early, late)
    };
    let (early, late) = partial("a");
    for refused in [early, late] {
        assert!(
            matches!(&refused, Err(HostError::Exists { path }) if *path == scratch.at("a.partial")),
            "{refused:?}"
        );
    }
    let (early, late) = partial("b");
    for refused in [early, late] {
        assert!(
            matches!(refused, Err(HostError::DirectoryInPlace { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(fs::read(scratch.at("a")).expect("the file"), b"whole");
    assert_eq!(fs::read(scratch.at("a.partial")).expect("the file"), b"other");
    assert_eq!(names_below(&scratch.at("")).len(), 3, "nothing else is left");
    let (early, late) = partial("c");
    early.expect("the name is free");
    late.expect("the name is free");
}

#[test]
fn a_name_that_is_too_long_with_its_end_is_refused_early() {
    let scratch = Scratch::new();
    let deep = format!("{}/{}", vec!["d".repeat(200); 20].join("/"), "e".repeat(75));
    for name in ["a".repeat(248), deep] {
        let mut file = scratch.create(&name, 10, Existing::Refuse).expect("a file");
        let early = file.check_partial_name();
        let late = match file.leave_out(&[range(0, 10)]) {
            Ok(_) => file.finish(TIME, 0o600, Durability::Buffered).map(drop),
            Err(error) => Err(error),
        };
        for refused in [early, late] {
            match refused {
                Err(HostError::Io { source, .. }) => {
                    assert_eq!(source.raw_os_error(), Some(Errno::NAMETOOLONG.raw_os_error()));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let files = names_below(&scratch.at(""));
    assert!(files.iter().all(|path| path.is_dir()), "{files:?}");
}

#[test]
#[should_panic(expected = "a hole beyond the length of a restored file")]
fn a_hole_beyond_the_length_is_a_bug_of_the_caller() {
    let scratch = Scratch::new();
    let mut file = scratch.create("a", 10, Existing::Refuse).expect("a file");
    drop(file.leave_out(&[range(5, 11)]));
}

#[test]
#[should_panic(expected = "a hole where bytes were written")]
fn a_hole_over_what_was_written_is_a_bug_of_the_caller() {
    let scratch = Scratch::new();
    let mut file = scratch.create("a", 10, Existing::Refuse).expect("a file");
    file.write_at(0, b"012345").expect("bytes");
    drop(file.leave_out(&[range(5, 10)]));
}

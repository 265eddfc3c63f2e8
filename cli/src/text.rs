//! Numbers, times, names and commands as people read them.

use std::{borrow::Cow, fmt::Write as _, path::Path, time::Duration};

use bfdb::units::{ByteRange, Timestamp};

/// Ranges that are shown of a list.
const MAX_RANGES: usize = 8;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns a size with one decimal place, rounded down: `24.1 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Returns a count and its noun: `1 file`, `2 files`, `3 entries`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    // A day is no exception, a directory is.
    let stem = (noun.strip_suffix('y')).filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
    match (number, stem) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {noun}s"),
    }
}

/// Returns the first ranges of a list, and how many follow: `0..65536, 131072..262144 and 12 more`.
pub(crate) fn ranges(ranges: &[ByteRange]) -> String {
    let (shown, more) = ranges.split_at(ranges.len().min(MAX_RANGES));
    let shown: Vec<String> = shown.iter().map(ByteRange::to_string).collect();
    let shown = shown.join(", ");
    match more.len() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Returns seconds with two decimal places: `0.31 s`.
pub(crate) fn duration(elapsed: Duration) -> String {
    format!("{:.2} s", elapsed.as_secs_f64())
}

/// Returns about how long something takes: `8 s`, `3 min`, `2 h 5 min`, `4 d 1 h`.
pub(crate) fn about(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Returns the time of this moment, for ages.
pub(crate) fn now() -> Timestamp {
    let now = jiff::Timestamp::now();
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    Timestamp::new(now.as_second(), nanoseconds).unwrap_or(Timestamp::EPOCH)
}

/// Returns a time as RFC 3339 in UTC with all its digits; `None` for years that the format has no room for.
pub(crate) fn rfc3339(time: Timestamp) -> Option<String> {
    let nanoseconds = i32::try_from(time.nanoseconds()).ok()?;
    let time = jiff::Timestamp::new(time.seconds(), nanoseconds).ok()?;
    // RFC 3339 has four digits for the year.
    let text = time.to_string();
    (text.as_bytes().first().is_some_and(u8::is_ascii_digit)).then_some(text)
}

/// Returns a time to the second, for a column: `2024-06-01T12:00:00Z`.
pub(crate) fn time(time: Timestamp) -> String {
    let whole = Timestamp::new(time.seconds(), 0);
    whole.and_then(rfc3339).unwrap_or_else(|| "-".to_owned())
}

/// Returns text in which nothing can move the cursor of a terminal: control characters become `\xNN`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            push_escaped(&mut clean, character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            clean.push(character);
        }
    }
    Cow::Owned(clean)
}

/// Returns a path of the host on one line: control characters and bytes that are not UTF-8 become `\xNN`.
pub(crate) fn path(path: &Path) -> String {
    bytes(path.as_os_str().as_encoded_bytes())
}

/// Returns the bytes of a path like [`path`].
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&printable(chunk.valid()));
        push_escaped(&mut text, chunk.invalid());
    }
    text
}

/// Returns where a symbolic link leads, escaped as names are, so that it reads back to the same bytes.
pub(crate) fn link_target(target: &[u8]) -> String {
    let mut text = String::with_capacity(target.len());
    for chunk in target.utf8_chunks() {
        text.push_str(&printable(&chunk.valid().replace('\\', "\\\\")));
        push_escaped(&mut text, chunk.invalid());
    }
    text
}

/// Returns permission bits as `ls` writes them: `rwxr-xr-x`.
pub(crate) fn permissions(mode: u32) -> String {
    let mut text = String::with_capacity(9);
    for (shift, special, letters) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push_str(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => "-",
            (false, true) => "x",
            (true, true) => &letters[..1],
            (true, false) => &letters[1..],
        });
    }
    text
}

fn push_escaped(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "\\x{byte:02x}").expect("writing to a string does not fail");
    }
}

/// Returns a word as a POSIX shell takes it literally.
pub(crate) fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./+-:@%,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_one_decimal_place_at_every_unit() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (25_270_682, "24.1 MiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn a_list_of_ranges_is_cut_off_after_eight_and_says_how_many_follow() {
        let list = |count: u64| {
            let list = (0..count).map(|index| ByteRange::at(index * 10, 5).expect("small"));
            ranges(&list.collect::<Vec<_>>())
        };
        assert_eq!(list(1), "0..5");
        assert_eq!(list(2), "0..5, 10..15");
        assert!(list(8).ends_with(", 70..75"), "{}", list(8));
        assert_eq!(list(9), format!("{} and 1 more", list(8)));
        assert_eq!(list(1000), format!("{} and 992 more", list(8)));
    }

    #[test]
    fn times_are_utc_with_all_digits_and_years_without_a_form_are_none() {
        let at = |seconds, nanoseconds| Timestamp::new(seconds, nanoseconds).expect("below a second");
        assert_eq!(
            rfc3339(at(1_717_243_200, 500_000_000)).as_deref(),
            Some("2024-06-01T12:00:00.5Z")
        );
        assert_eq!(rfc3339(at(-1, 0)).as_deref(), Some("1969-12-31T23:59:59Z"));
        assert_eq!(time(at(1_717_243_200, 999_999_999)), "2024-06-01T12:00:00Z");
        assert_eq!(rfc3339(at(i64::MAX, 0)), None);
        assert_eq!(rfc3339(at(-70_000_000_000, 0)), None, "a year before 0");
        assert_eq!(time(at(i64::MIN, 0)), "-");
    }

    #[test]
    fn nothing_printed_moves_the_cursor() {
        assert_eq!(printable("a\x1b[2J\n\u{85}"), "a\\x1b[2J\\x0a\\xc2\\x85");
        assert_eq!(bytes(b"/a\xff\n"), "/a\\xff\\x0a");
    }

    #[test]
    fn targets_of_links_are_escaped_like_names() {
        assert_eq!(link_target(b"../a\\b\n\xff"), "../a\\\\b\\x0a\\xff");
    }

    #[test]
    fn permissions_read_as_ls_writes_them() {
        for (mode, expected) in [
            (0o755, "rwxr-xr-x"),
            (0o640, "rw-r-----"),
            (0o4711, "rws--x--x"),
            (0o1777, "rwxrwxrwt"),
            (0o7000, "--S--S--T"),
        ] {
            assert_eq!(permissions(mode), expected);
        }
    }

    #[test]
    fn a_shell_takes_every_word_literally() {
        for (word, expected) in [
            ("raw/IMG_1.cr3", "raw/IMG_1.cr3"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", "'it'\\''s'"),
            ("a\\xff", "'a\\xff'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(shell_word(word), expected);
        }
    }

    #[test]
    fn long_times_are_told_in_two_units_at_most() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7500, "2 h 5 min"),
            (349_200, "4 d 1 h"),
        ] {
            assert_eq!(about(seconds), expected);
        }
    }

    #[test]
    fn one_is_singular_and_everything_else_plural() {
        assert_eq!(
            [
                count(0, "file"),
                count(1, "entry"),
                count(2, "entry"),
                count(2, "day")
            ],
            ["0 files", "1 entry", "2 entries", "2 days"]
        );
    }
}

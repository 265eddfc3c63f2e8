//! Values of options and arguments: names, sizes, ranges, ages, and tiers.

use std::{ffi::OsString, fmt::Write as _, os::unix::ffi::OsStrExt as _};

use bfdb::{
    geometry::Tier,
    units::{ByteRange, FileName, FileNameError, Timestamp},
};
use clap::builder::{OsStringValueParser, TypedValueParser};

/// Returns the parser of names as they are printed: `\\` is a backslash, `\xNN` a byte. Bytes that are not UTF-8 may also be
/// given as they are. Slashes at the end, which a shell adds when it completes the name of a directory, do not count.
pub(crate) fn name_parser() -> impl TypedValueParser<Value = FileName> {
    OsStringValueParser::new().try_map(|typed| name(&typed))
}

/// Parses such a name.
pub(crate) fn name(typed: &OsString) -> Result<FileName, FileNameError> {
    let mut text = String::with_capacity(typed.len());
    for chunk in typed.as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a string does not fail");
        }
    }
    let without_end = text.trim_end_matches('/');
    let is_root = without_end.is_empty();
    if is_root { &text } else { without_end }.parse()
}

/// Part of a file as it was asked for, half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedRange {
    start: u64,
    /// `None` is the end of the file.
    end: Option<u64>,
}

impl AskedRange {
    /// Returns the range in a file of `len_bytes` bytes, or `None` when it goes beyond the end.
    pub(crate) fn within(self, len_bytes: u64) -> Option<ByteRange> {
        let end = self.end.unwrap_or(len_bytes);
        if end > len_bytes {
            return None;
        }
        ByteRange::new(self.start, end)
    }
}

/// Parses `A..B`; a bound that is left out is that of the file.
pub(crate) fn range(text: &str) -> Result<AskedRange, String> {
    let wrong = || "a range is A..B, in bytes: from A up to B, B not included".to_owned();
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let number = |digits: &str| {
        if digits.is_empty() {
            return Ok(None);
        }
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = if is_plain { digits.parse().ok() } else { None };
        parsed.map(Some).ok_or_else(wrong)
    };
    let start = number(start)?.unwrap_or(0);
    let end = number(end)?;
    if end.is_some_and(|end| end < start) {
        return Err("a range ends behind its start".to_owned());
    }
    Ok(AskedRange { start, end })
}

/// Parses a count of bytes with an optional suffix, as an amount of memory.
pub(crate) fn memory(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(size(text)?).ok();
    bytes.ok_or_else(|| "that is no memory that a machine has".to_owned())
}

/// Parses a count of bytes with an optional suffix `K`, `M`, `G` or `T`, with or without `iB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || "a size is a number with an optional suffix K, M, G or T (powers of 1024)".to_owned();
    let digits_end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(digits_end);
    let suffix = suffix.to_ascii_uppercase();
    let shift = match suffix.strip_suffix("IB").unwrap_or(&suffix) {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_error| wrong())?;
    let bytes = number.checked_mul(1 << shift);
    bytes
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "a size is at least 1 byte, and below 16 EiB".to_owned())
}

/// How long ago something was, as it is typed: `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    seconds: u64,
}

impl Age {
    /// Returns it in seconds.
    pub(crate) const fn seconds(self) -> u64 {
        self.seconds
    }

    /// Returns the time that is so long before `now`.
    pub(crate) fn before(self, now: Timestamp) -> Timestamp {
        let seconds = now.seconds().saturating_sub_unsigned(self.seconds);
        Timestamp::new(seconds, now.nanoseconds()).expect("the nanoseconds are those of a time")
    }
}

/// Parses a number with a suffix `s`, `m`, `h`, `d` or `w`.
pub(crate) fn age(text: &str) -> Result<Age, String> {
    let wrong = || "an age is a number with a suffix s, m, h, d or w, such as 30d or 12h".to_owned();
    let digits_end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(digits_end);
    let unit_seconds: u64 = match suffix {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_error| wrong())?;
    let seconds = number.checked_mul(unit_seconds);
    let seconds = seconds.ok_or_else(|| "that is longer ago than anything".to_owned())?;
    Ok(Age { seconds })
}

/// Parses a part of a hundred, such as `1.4`: 0 or more and below 100.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| (0.0..100.0).contains(number));
    number
        .ok_or_else(|| "a percentage is a number of 0 or more and below 100, such as 1.4 or 1e-4".to_owned())
}

/// Parses the number of a tier.
pub(crate) fn tier(text: &str) -> Result<Tier, String> {
    let tier = text.parse().ok().and_then(Tier::from_number);
    tier.ok_or_else(|| "a tier is 1, 2 or 3".to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn ranges_are_half_open_and_stay_within_the_file() {
        let within = |text: &str, len| {
            let range = range(text).ok()?.within(len)?;
            Some((range.start(), range.end()))
        };
        assert_eq!(within("0..5", 5), Some((0, 5)));
        assert_eq!(within("2..2", 5), Some((2, 2)));
        assert_eq!(within("3..", 5), Some((3, 5)));
        assert_eq!(within("..3", 5), Some((0, 3)));
        assert_eq!(within("0..6", 5), None, "beyond the end");
        assert_eq!(within("6..", 5), None, "behind the end");
        for text in [
            "5..2",
            "5",
            "a..b",
            "-1..2",
            "+1..2",
            "1...2",
            "1..99999999999999999999",
        ] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_take_suffixes_of_powers_of_1024() {
        for (text, bytes) in [
            ("1", 1),
            ("64K", 64 << 10),
            ("64k", 64 << 10),
            ("3MiB", 3 << 20),
            ("2G", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "0", "1.5G", "1B", "1KB", "-1", "99999999T", "1 G"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_count_back_from_a_time_and_need_a_unit() {
        let now = Timestamp::new(1_000_000_000, 5).expect("a time");
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("5m", 300),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
        ] {
            let before = age(text).map(|age| age.before(now));
            assert_eq!(
                before,
                Ok(Timestamp::new(1_000_000_000 - seconds, 5).expect("a time")),
                "{text}"
            );
        }
        for text in [
            "",
            "30",
            "d",
            "1.5h",
            "-1d",
            "+1d",
            "1 d",
            "1D",
            "1y",
            "99999999999999999999d",
        ] {
            assert!(age(text).is_err(), "{text}");
        }
        let ancient = age("18446744073709551615s").map(|age| age.before(now).seconds());
        assert_eq!(ancient, Ok(i64::MIN), "the earliest time that there is");
    }

    #[test]
    fn percentages_are_below_100() {
        assert_eq!(percent("1.4"), Ok(1.4));
        assert_eq!(percent("0"), Ok(0.0));
        assert_eq!(percent("1e-4"), Ok(0.0001));
        for text in ["", "-1", "100", "1.4%", "1,4", "nan", "inf", "x"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tiers_are_numbers() {
        assert_eq!(tier("3"), Ok(Tier::Blocked));
        assert_eq!(tier("4"), Ok(Tier::Grouped));
        for text in ["0", "5", "x", "", "300"] {
            assert!(tier(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_taken_as_they_print_and_as_they_are() {
        let parsed =
            |bytes: &[u8]| name(&OsString::from_vec(bytes.to_vec())).map(|name| name.as_bytes().to_vec());
        assert_eq!(parsed(b"a\xff"), Ok(b"a\xff".to_vec()));
        assert_eq!(parsed(b"a\\xff"), Ok(b"a\xff".to_vec()));
        assert_eq!(parsed(b"a\\\\b"), Ok(b"a\\b".to_vec()));
        assert_eq!(parsed(b"a/b/"), Ok(b"a/b".to_vec()), "as a shell completes it");
        assert_eq!(parsed(b"../x"), Err(FileNameError::DotPart));
        for no_name in [&b""[..], b"/", b"//", b"/a", b"a//b", b"./"] {
            assert!(parsed(no_name).is_err(), "{no_name:?}");
        }
    }
}

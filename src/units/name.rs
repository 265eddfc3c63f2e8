//! Names of stored files.

use core::{fmt, str::FromStr};

/// Longest name in bytes: the longest path that Linux accepts.
pub const MAX_NAME_LEN_BYTES: usize = 4096;

/// The name of a stored file: relative, `/`-separated, bytes.
///
/// No part is empty, `.` or `..`, and no byte is NUL, so that a name joined to a directory never leaves it. Bytes that
/// are not UTF-8 are kept as they are; they print and parse as `\xNN`, a backslash prints and parses as `\\`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Box<[u8]>);

/// Why bytes or text are not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileNameError {
    /// Nothing at all.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than [`MAX_NAME_LEN_BYTES`].
    #[error("a name of {len} bytes is longer than {MAX_NAME_LEN_BYTES}")]
    TooLong {
        /// Length found, in bytes.
        len: usize,
    },
    /// Begins with `/`.
    #[error("a name is relative, it cannot begin with /")]
    Absolute,
    /// Two slashes in a row, or one at the end.
    #[error("a name cannot have an empty part (// or a / at its end)")]
    EmptyPart,
    /// A part that is `.` or `..`.
    #[error("a name cannot have a part that is . or ..")]
    DotPart,
    /// A NUL byte.
    #[error("a name cannot hold a NUL byte")]
    Nul,
    /// A backslash that is neither `\\` nor `\xNN`.
    #[error("a backslash in a name is written \\\\, a byte that is not UTF-8 \\xNN")]
    Escape,
}

impl FileName {
    /// Checks raw bytes, as they come from a file system or from disk.
    ///
    /// # Errors
    /// [`FileNameError`] says which rule they break.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileNameError> {
        match bytes {
            [] => return Err(FileNameError::Empty),
            [b'/', ..] => return Err(FileNameError::Absolute),
            _ => {}
        }
        if bytes.len() > MAX_NAME_LEN_BYTES {
            return Err(FileNameError::TooLong { len: bytes.len() });
        }
        if bytes.contains(&0) {
            return Err(FileNameError::Nul);
        }
        for part in bytes.split(|&byte| byte == b'/') {
            match part {
                b"" => return Err(FileNameError::EmptyPart),
                b"." | b".." => return Err(FileNameError::DotPart),
                _ => {}
            }
        }
        Ok(Self(bytes.into()))
    }

    /// Returns the raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the parts between the slashes, outermost first; there is at least one.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/')
    }

    /// Says whether this name is `prefix` or lies below it: whole parts are compared, `a/b` is not below `a/bc`.
    pub fn is_within(&self, prefix: &Self) -> bool {
        self.0
            .strip_prefix(prefix.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

impl FromStr for FileName {
    type Err = FileNameError;

    /// Parses the printed form: `\\` is a backslash, `\xNN` a byte.
    fn from_str(text: &str) -> Result<Self, FileNameError> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            rest = match (first, after) {
                (b'\\', [b'\\', after @ ..]) => {
                    bytes.push(b'\\');
                    after
                }
                (b'\\', [b'x', high, low, after @ ..]) => {
                    bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                    after
                }
                (b'\\', _) => return Err(FileNameError::Escape),
                (byte, after) => {
                    bytes.push(byte);
                    after
                }
            };
        }
        Self::from_bytes(&bytes)
    }
}

fn hex_digit(digit: u8) -> Result<u8, FileNameError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(FileNameError::Escape),
    }
}

impl fmt::Display for FileName {
    /// Writes text that parses back to the same name; control characters are escaped too, so that a hostile name
    /// cannot move the cursor of a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    _ if character.is_control() => {
                        let mut buffer = [0; 4];
                        for byte in character.encode_utf8(&mut buffer).bytes() {
                            write!(f, "\\x{byte:02x}")?;
                        }
                    }
                    _ => write!(f, "{character}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        let cases: [(&[u8], FileNameError); 8] = [
            (b"", FileNameError::Empty),
            (b"/etc/passwd", FileNameError::Absolute),
            (b"../x", FileNameError::DotPart),
            (b"a/../x", FileNameError::DotPart),
            (b"a/.", FileNameError::DotPart),
            (b"a//b", FileNameError::EmptyPart),
            (b"a/", FileNameError::EmptyPart),
            (b"a\0b", FileNameError::Nul),
        ];
        for (bytes, expected) in cases {
            assert_eq!(FileName::from_bytes(bytes), Err(expected), "{bytes:?}");
        }
        let long = vec![b'a'; MAX_NAME_LEN_BYTES + 1];
        assert_eq!(
            FileName::from_bytes(&long),
            Err(FileNameError::TooLong { len: long.len() })
        );
        assert!(FileName::from_bytes(&long[1..]).is_ok(), "the longest name");
        assert!(
            FileName::from_bytes(b"..x/.hidden/...").is_ok(),
            "dots alone are harmless"
        );
    }

    #[test]
    fn a_name_is_within_a_prefix_only_at_a_part_boundary() {
        let name: FileName = "a/bc/d".parse().expect("valid");
        assert!(name.is_within(&"a/bc".parse().expect("valid")));
        assert!(name.is_within(&name));
        assert!(!name.is_within(&"a/b".parse().expect("valid")));
        assert!(!name.is_within(&"a/bc/d/e".parse().expect("valid")));
    }

    #[test]
    fn bytes_that_are_not_utf8_and_control_characters_print_escaped() {
        let name = FileName::from_bytes(b"a\\b\xff\x1b[2J\xc3\xa9").expect("valid");
        assert_eq!(name.to_string(), "a\\\\b\\xff\\x1b[2J\u{e9}");
    }

    #[test]
    fn a_lone_backslash_does_not_parse() {
        for text in ["a\\", "a\\n", "a\\x4", "a\\xgg"] {
            assert_eq!(text.parse::<FileName>(), Err(FileNameError::Escape), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_parses_back_from_what_it_prints(bytes in any::<Vec<u8>>()) {
            if let Ok(name) = FileName::from_bytes(&bytes) {
                prop_assert_eq!(name.to_string().parse::<FileName>(), Ok(name));
            }
        }
    }
}

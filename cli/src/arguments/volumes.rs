//! Volumes as they are typed, where they may be, and the codes of tiers.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use bfdb::units::{CodeShape, ExtentId, MAX_BLOCK_SHARDS, VolumeId};
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::text;

/// Digits of an id that say which volume is meant, at least.
const MIN_DIGITS: usize = 4;

/// A volume as it is typed: its number, its id or the beginning of it, or its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeName(OsString);

impl VolumeName {
    /// Says whether it is the number of a volume.
    pub(crate) fn is_number(&self, number: u16) -> bool {
        self.0 == *number.to_string()
    }

    /// Says whether it is the id of a volume, or the beginning of it.
    pub(crate) fn is_id(&self, id: VolumeId) -> bool {
        let typed = self.0.to_string_lossy().to_ascii_lowercase();
        typed.len() >= MIN_DIGITS && id.to_string().starts_with(&typed)
    }

    /// Returns it as a path.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::path(self.as_path()))
    }
}

/// Returns the parser of volumes.
pub(crate) fn volume_parser() -> impl TypedValueParser<Value = VolumeName> {
    OsStringValueParser::new().try_map(|typed| {
        if typed.is_empty() {
            return Err("a volume is its number, 4 or more digits of its id, or its directory");
        }
        Ok(VolumeName(typed))
    })
}

/// Splits the directories of a variable, which a colon separates.
pub(crate) fn split(variable: &OsStr) -> Vec<PathBuf> {
    let parts = variable.as_bytes().split(|&byte| byte == b':');
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(|part| PathBuf::from(OsStr::from_bytes(part))).collect()
}

/// What may be lost, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AskedLoss {
    /// An extent.
    Extent(ExtentId),
    /// A volume with everything on it.
    Volume(VolumeName),
}

/// Parses what may be lost: `extent:ID` or `volume:VOLUME`.
pub(crate) fn loss(text: &str) -> Result<AskedLoss, String> {
    let wrong = || "what may be lost is extent:ID or volume:VOLUME, such as extent:12 or volume:1".to_owned();
    match text.split_once(':') {
        Some(("extent", id)) if id.bytes().all(|byte| byte.is_ascii_digit()) => {
            let id = id.parse().map_err(|_error| wrong())?;
            Ok(AskedLoss::Extent(ExtentId::new(id)))
        }
        Some(("volume", name)) if !name.is_empty() => Ok(AskedLoss::Volume(VolumeName(name.into()))),
        Some(_) | None => Err(wrong()),
    }
}

/// Parses the code of a tier: `K+M`.
pub(crate) fn shape(text: &str) -> Result<CodeShape, String> {
    let wrong = || "a code is K+M, such as 4+2: K shards of data and M of parity".to_owned();
    let number = |digits: &str| {
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| is_plain);
        number.ok_or_else(wrong)
    };
    let (data, parity) = text.split_once('+').ok_or_else(wrong)?;
    let shape = CodeShape::new(number(data)?, number(parity)?).map_err(|error| error.to_string())?;
    if shape.fits_block() {
        Ok(shape)
    } else {
        Err(format!(
            "a block has at most {MAX_BLOCK_SHARDS} shards, not {text}"
        ))
    }
}

/// The code of tier 4: what blocks have, and how many outer parity blocks groups have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupedCode {
    pub(crate) shape: CodeShape,
    pub(crate) outer_parity: u16,
}

/// Parses the code of tier 4: `K+M/P`.
pub(crate) fn grouped_code(text: &str) -> Result<GroupedCode, String> {
    let wrong = || {
        "the code of tier 4 is K+M/P, such as 30+3/3: K shards of data and M of parity in each block, P parity blocks for each \
         group of blocks"
            .to_owned()
    };
    let (inner, outer) = text.split_once('/').ok_or_else(wrong)?;
    let is_plain = outer.bytes().all(|byte| byte.is_ascii_digit());
    Ok(GroupedCode {
        shape: shape(inner).map_err(|_error| wrong())?,
        outer_parity: outer.parse().ok().filter(|_| is_plain).ok_or_else(wrong)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> VolumeName {
        VolumeName(text.into())
    }

    #[test]
    fn a_volume_is_its_number_or_the_beginning_of_its_id() {
        let id = VolumeId::from_bytes(*b"0123456789abcdef");
        assert!(typed("12").is_number(12) && typed("0").is_number(0));
        for text in ["012", "+12", "1", "", "65548"] {
            assert!(!typed(text).is_number(12), "{text}");
        }
        for text in ["3031", "30313233", "3031323334353637383961626364656"] {
            assert!(typed(text).is_id(id), "{text}");
        }
        assert!(typed(&id.to_string()).is_id(id) && typed(&id.to_string().to_uppercase()).is_id(id));
        for text in ["303", "3032", "", &format!("{id}0")] {
            assert!(!typed(text).is_id(id), "{text}");
        }
    }

    #[test]
    fn what_may_be_lost_is_an_extent_or_a_volume() {
        assert_eq!(loss("extent:12"), Ok(AskedLoss::Extent(ExtentId::new(12))));
        assert_eq!(loss("volume:1"), Ok(AskedLoss::Volume(typed("1"))));
        assert_eq!(loss("volume:/a:b"), Ok(AskedLoss::Volume(typed("/a:b"))));
        for text in [
            "",
            "12",
            "extent",
            "extent:",
            "extent:x",
            "extent:+1",
            "lane:1",
            "volume:",
            "Extent:1",
        ] {
            assert!(loss(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_code_of_tier_4_has_outer_parity() {
        let expected = GroupedCode {
            shape: CodeShape::new(30, 3).expect("a shape"),
            outer_parity: 5,
        };
        assert_eq!(grouped_code("30+3/5"), Ok(expected));
        for text in [
            "",
            "30+3",
            "30+3/",
            "30+3/+3",
            "/3",
            "30/3",
            "30+3/-1",
            "30+3/3/3",
            "30+3/99999",
        ] {
            assert!(grouped_code(text).is_err(), "{text}");
        }
    }

    #[test]
    fn codes_are_data_and_parity() {
        assert_eq!(shape("4+2"), Ok(CodeShape::new(4, 2).expect("a shape")));
        for text in [
            "", "4", "4+", "+2", "0+2", "4+0", "4+2+1", "4 + 2", "-4+2", "4++2", "250+7", "99999+1",
        ] {
            assert!(shape(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_variable_holds_directories_with_colons_between_them() {
        let paths = |text: &str| split(OsStr::new(text));
        assert_eq!(paths("/a:b"), [Path::new("/a"), Path::new("b")]);
        assert_eq!(paths(":/a::"), [Path::new("/a")]);
        assert!(paths("").is_empty());
    }
}

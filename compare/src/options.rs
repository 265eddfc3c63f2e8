//! The command line of the comparison.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::tools::ToolName;

/// Measures bfdb beside other tools on the same files, in the same run.
///
/// Prints a Markdown table: seconds, rates, processor time and memory of every tool and operation, and which of the project's
/// targets were reached. Sources are read before each measurement, so they come from memory. Everything lies in one directory
/// below --dir, which is removed in the end.
#[derive(Debug, Parser)]
#[command(name = "bfdb-compare", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// Where the files go: a directory on the disk to measure
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,

    /// Rounds; the median of them is shown. Short workloads take three times as many
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..1000))]
    pub(crate) runs: u32,

    /// Only these tools, with commas between them
    #[arg(long, value_name = "TOOLS", value_delimiter = ',')]
    pub(crate) only: Vec<ToolName>,

    /// Length of the file of tier 1, such as 5MB or 4GiB; none leaves it out
    #[arg(long, value_name = "LENGTH", default_value = "5MB", value_parser = parse_len)]
    pub(crate) size_tier1: u64,

    /// Length of the file of tier 2
    #[arg(long, value_name = "LENGTH", default_value = "500MB", value_parser = parse_len)]
    pub(crate) size_tier2: u64,

    /// Length of the file of tier 3
    #[arg(long, value_name = "LENGTH", default_value = "4GiB", value_parser = parse_len)]
    pub(crate) size_tier3: u64,

    /// Length of a file of tier 4, which only cp, b3sum and bfdb get
    #[arg(long, value_name = "LENGTH", default_value = "none", value_parser = parse_len)]
    pub(crate) tier4: u64,

    /// How many files of 1 KiB the tree has; 0 leaves it out
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(..10_000_000))]
    pub(crate) small_files: u64,

    /// Writes every single measurement to FILE, also when the run ends early
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Writes the report to FILE, too
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,

    /// Writes a bar chart to FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// The bfdb to measure; the one beside this program unless given
    #[arg(long, value_name = "PATH", env = "BFDB")]
    pub(crate) bfdb: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) hidden: Option<Hidden>,
}

/// What the program starts itself for.
#[derive(Debug, Subcommand)]
pub(crate) enum Hidden {
    /// Hashes files as b3sum does
    #[command(hide = true)]
    Hash {
        /// Files to hash
        files: Vec<PathBuf>,
    },
    /// Reads files and does nothing with them
    #[command(hide = true)]
    Read {
        /// Files to read
        files: Vec<PathBuf>,
    },
}

/// Parses a length in bytes; `none` is 0.
fn parse_len(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(0);
    }
    let digits_len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits_len);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(format!("{unit} is no unit of length; try 500MB, 4GiB or none")),
    };
    let count = digits.parse::<u64>().map_err(|error| error.to_string())?;
    count
        .checked_mul(factor)
        .ok_or_else(|| "more bytes than can be counted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("none", 0),
            ("0", 0),
            ("17", 17),
            ("5MB", 5_000_000),
            ("4GiB", 4 << 30),
            ("12GB", 12_000_000_000),
        ] {
            assert_eq!(parse_len(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "1.5GB", "-1", "5 MB", "5mb", "99999999999TB"] {
            assert!(parse_len(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn the_command_line_knows_its_tools_and_defaults() {
        let options = Options::try_parse_from(["bfdb-compare", "--only", "bfdb,cp", "--tier4", "12GB"])
            .expect("a command line of the documentation");
        assert_eq!(options.only, [ToolName::Bfdb, ToolName::Cp]);
        assert_eq!((options.runs, options.size_tier3), (3, 4 << 30));
        assert_eq!((options.tier4, options.small_files), (12_000_000_000, 100_000));
        assert!(Options::try_parse_from(["bfdb-compare", "--only", "tar"]).is_err());
        assert!(Options::try_parse_from(["bfdb-compare", "--runs", "0"]).is_err());
    }
}

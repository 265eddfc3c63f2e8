//! What the exit codes of `bfdb` mean. They are a promise: scripts may rely on them.

/// Fine, or everything that was damaged is repaired.
pub const SUCCESS: u8 = 0;

/// The command failed; what it was to change is as it was.
pub const FAILED: u8 = 1;

/// The command line was not understood; nothing was touched.
pub const USAGE: u8 = 2;

/// Partly done: some sources could not be stored, or some files not be restored.
pub const PARTLY_DONE: u8 = 3;

/// Damage was found, and every byte can still be read.
pub const DAMAGED: u8 = 4;

/// Data loss: bytes of a file cannot be brought back.
pub const LOST: u8 = 5;

/// Redundancy is reduced and nothing known to be damaged: a volume is away, or an old copy of it is there.
pub const REDUCED: u8 = 6;

/// A budget was used up, and what was looked at until then is clean.
pub const BUDGET_USED_UP: u8 = 7;

/// There is no archive at that place.
pub const NO_ARCHIVE: u8 = 10;

/// Another process holds the archive in a way that cannot be shared.
pub const LOCKED: u8 = 11;

/// The key is not the one that the archive was made with.
pub const WRONG_KEY: u8 = 12;

/// The catalog is damaged, missing or an old copy, or parts of two archives are mixed: a copy that fits has to be put back.
pub const CATALOG_DAMAGED: u8 = 13;

/// A newer version of bfdb made the archive, or a part of it.
pub const NEWER_FORMAT: u8 = 14;

/// No file of that name is stored, no commit of that name or number is unfinished, or no volume is meant.
pub const NO_SUCH_NAME: u8 = 15;

/// Interrupted by Ctrl-C, as shells report it; another signal is 128 and its number.
pub const INTERRUPTED: u8 = 130;

/// Codes that may come together in one run, worst first.
const WORST_FIRST: [u8; 9] = [
    CATALOG_DAMAGED,
    LOST,
    FAILED,
    NO_SUCH_NAME,
    DAMAGED,
    REDUCED,
    PARTLY_DONE,
    BUDGET_USED_UP,
    SUCCESS,
];

/// Returns the worse of two codes: 13, 5, 1, 15, 4, 6, 3, 7, 0. The others end a run at once and win over all of these.
pub fn worst(one: u8, other: u8) -> u8 {
    let rank = |code: u8| {
        let place = WORST_FIRST.iter().position(|&listed| listed == code);
        place.map_or(0, |place| place + 1)
    };
    if rank(other) < rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_that_the_documentation_promises() {
        let promised = [
            (SUCCESS, 0),
            (FAILED, 1),
            (USAGE, 2),
            (PARTLY_DONE, 3),
            (DAMAGED, 4),
            (LOST, 5),
            (REDUCED, 6),
            (BUDGET_USED_UP, 7),
            (NO_ARCHIVE, 10),
            (LOCKED, 11),
            (WRONG_KEY, 12),
            (CATALOG_DAMAGED, 13),
            (NEWER_FORMAT, 14),
            (NO_SUCH_NAME, 15),
            (INTERRUPTED, 130),
        ];
        for (code, number) in promised {
            assert_eq!(code, number);
        }
        let documented = include_str!("../../docs/cli.md");
        for (_, number) in promised {
            assert!(
                documented.contains(&format!("| {number} | ")),
                "docs/cli.md does not explain {number}"
            );
        }
    }

    #[test]
    fn the_worse_of_two_codes_wins_whichever_comes_first() {
        for (place, &worse) in WORST_FIRST.iter().enumerate() {
            for &better in &WORST_FIRST[place..] {
                assert_eq!(worst(worse, better), worse, "{worse} and {better}");
                assert_eq!(worst(better, worse), worse, "{better} and {worse}");
            }
        }
        assert_eq!(
            WORST_FIRST.iter().filter(|code| **code != NO_SUCH_NAME).count(),
            8,
            "the contract orders 13, 5, 1, 4, 6, 3, 7 and 0"
        );
    }

    #[test]
    fn a_code_that_ends_a_run_wins_over_what_was_collected_before() {
        for ending in [USAGE, NO_ARCHIVE, LOCKED, WRONG_KEY, NEWER_FORMAT, INTERRUPTED] {
            assert_eq!(worst(ending, CATALOG_DAMAGED), ending);
            assert_eq!(worst(CATALOG_DAMAGED, ending), ending);
        }
    }
}

//! The screen.

use core::fmt::Display;

use super::{super::damage::as_u64, Affected, Status};
use crate::{text, volumes::VolumeLine};

impl Status {
    pub(super) fn lines(&self) -> Vec<String> {
        let overhead = self.overhead.map_or_else(String::new, |overhead| {
            format!(", {:.0} % overhead", overhead * 100.0)
        });
        let (bytes, stored) = (text::size(self.bytes), text::size(self.stored_bytes));
        let mut lines = vec![
            row("archive", format!("{} ({})", self.path, self.archive)),
            row("state", format!("{}: {}", self.state, self.damage_in_words())),
        ];
        lines.extend(self.reduced.iter().map(|volume| row("reduced", volume)));
        lines.extend(self.affected.iter().map(affected_line));
        let left_out = (self.degraded + self.lost).saturating_sub(as_u64(self.affected.len()));
        if left_out > 0 {
            lines.push(row("affected", format!("{} more", text::count(left_out, "file"))));
        }
        lines.extend([
            row("verified", self.verification_in_words()),
            row(
                "files",
                format!("{}, {bytes} stored as {stored}{overhead}", self.files),
            ),
            row(
                "others",
                format!(
                    "{}, {}",
                    text::count(self.directories, "directory"),
                    text::count(self.symlinks, "symbolic link")
                ),
            ),
        ]);
        if self.kept_versions > 0 {
            let (bytes, stored) = (text::size(self.kept_bytes), text::size(self.kept_stored_bytes));
            let versions = text::count(self.kept_versions, "kept version");
            lines.push(row("versions", format!("{versions}, {bytes} stored as {stored}")));
        }
        for tier in &self.tolerance {
            lines.push(row(
                &format!("tier {}", tier.tier),
                format!(
                    "{}, {}; {}",
                    text::count(tier.files, "file"),
                    text::size(tier.bytes),
                    tier.in_words
                ),
            ));
        }
        for volume in &self.volumes {
            lines.extend(volume_lines(volume));
        }
        lines.push(row("space", self.space_in_words()));
        lines.extend(self.unfinished_lines());
        lines.extend(self.suggest.iter().map(|command| row("next", command)));
        lines
    }

    /// What is known to be damaged.
    fn damage_in_words(&self) -> String {
        if self.damaged_shards == 0 {
            return "nothing is known to be damaged".to_owned();
        }
        let mut words = vec![text::count(self.damaged_shards, "damaged shard")];
        if self.lost > 0 {
            words.push(format!("{} with lost bytes", text::count(self.lost, "file")));
        }
        if self.degraded > 0 {
            let files = text::count(self.degraded, "file");
            words.push(format!("{files} degraded, all bytes of which can be read"));
        }
        if self.damaged_descriptors > 0 {
            let count = text::count(self.damaged_descriptors, "descriptor");
            words.push(match self.lost_descriptors {
                0 => format!("{count} damaged, all of it can be read"),
                lost => format!("{count} damaged, {lost} of them lost: keep a copy of the catalog"),
            });
        }
        words.join("; ")
    }

    /// How long ago bytes were read back.
    fn verification_in_words(&self) -> String {
        let ages = &self.verification;
        let classes = [
            ("less than a day ago", ages.under_a_day),
            ("less than a week ago", ages.under_a_week),
            ("less than 30 days ago", ages.under_a_month),
            ("less than 90 days ago", ages.under_three_months),
            ("longer ago", ages.older),
            ("never", ages.never),
        ];
        let mut words: Vec<String> = classes
            .iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(when, bytes)| format!("{} {when}", text::size(*bytes)))
            .collect();
        if words.is_empty() {
            words.push("there is nothing to verify".to_owned());
        }
        let files = text::count(self.unverified, "file");
        words.push(format!("{files} not read back since the commit"));
        words.join(", ")
    }

    /// In which state the bytes of the volumes are.
    fn space_in_words(&self) -> String {
        let space = &self.space;
        let (live, dead, free) = (
            text::size(space.live_bytes),
            text::size(space.dead_bytes),
            text::size(space.free_bytes),
        );
        let (reserved, reclaimable) = (
            text::size(space.reserved_bytes),
            text::size(space.reclaimable_bytes),
        );
        format!(
            "{live} live, {dead} dead, {reserved} reserved, {free} free; compact gives back up to {reclaimable}"
        )
    }

    fn unfinished_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.pending_commits > 0 {
            let commits = text::count(self.pending_commits, "interrupted commit");
            let (done, whole) = (
                text::size(self.pending_done_bytes),
                text::size(self.pending_bytes),
            );
            lines.push(row("waiting", format!("{commits}, {done} of {whole} done")));
        }
        if self.running_commits > 0 {
            lines.push(row("running", text::count(self.running_commits, "commit")));
        }
        lines
    }
}

fn volume_lines(volume: &VolumeLine) -> Vec<String> {
    let (free, live) = (text::size(volume.free_bytes), text::size(volume.live_bytes));
    let (number, path, id) = (volume.number, &volume.path, &volume.id);
    let (state, condition) = (volume.state, volume.condition);
    let mut lines = vec![row(
        "volume",
        format!("{number}, {path}: {state}, {condition}, {live} stored, {free} free ({id})"),
    )];
    lines.extend(
        volume
            .remarks()
            .into_iter()
            .map(|(label, remark)| row(label, remark)),
    );
    lines
}

fn affected_line(file: &Affected) -> String {
    let since = file.damaged_since.as_deref().unwrap_or("-");
    let lost = match file.lost_bytes {
        0 => String::new(),
        bytes => format!(", {bytes} bytes lost"),
    };
    let shards = text::count(file.damaged_shards, "damaged shard");
    row(
        "affected",
        format!("{}: {}, {shards}{lost}, since {since}", file.called, file.state),
    )
}

fn row(label: &str, value: impl Display) -> String {
    format!("{label:<9} {value}")
}

//! Everything that is printed: results on standard output, the rest on standard error.
//!
//! The only module that writes to either. Text for people never holds a control character, so that no name, path or message
//! can move the cursor of a terminal. A reader that goes away (`bfdb ls | head`) is no error: what it would have got is
//! dropped, and a command that only lists may end early.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    os::fd::AsFd as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bfdb::units::FileName;
use serde::Serialize;

use crate::{
    arguments::{ColorChoice, Global, ProgressChoice},
    exit,
    failure::Failure,
    panics,
    recovered::Recovered,
    text,
};

/// Bytes that are collected before they are written; larger pieces are written at once.
const BUFFER_LEN_BYTES: usize = 64 * 1024;

/// Goes back to the start of the line and clears it.
const CLEAR_LINE: &str = "\r\x1b[K";

/// What the program prints, and how.
pub(crate) struct Output {
    form: Form,
    loudness: Loudness,
    progress: ProgressForm,
    paint: Paint,
    stdout: Mutex<Stdout>,
    /// Whether a progress line stands on the terminal.
    bar: Mutex<bool>,
}

/// For whom results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    People,
    Json,
}

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loudness {
    Quiet,
    Normal,
    Verbose,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressForm {
    Nothing,
    Line,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paint {
    Plain,
    Colored,
}

struct Stdout {
    writer: BufWriter<Box<dyn Write + Send>>,
    state: StdoutState,
}

enum StdoutState {
    Open,
    /// The reader has gone.
    Closed,
    Failed(io::Error),
}

/// A line about something that went on all the same, on standard error.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "warning")]
pub(crate) struct Warning {
    pub(crate) message: String,
    pub(crate) suggest: Vec<String>,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let form = if global.json { Form::Json } else { Form::People };
        let loudness = match (global.quiet, global.verbose) {
            (true, _) => Loudness::Quiet,
            (false, true) => Loudness::Verbose,
            (false, false) => Loudness::Normal,
        };
        let is_terminal = io::stderr().is_terminal();
        let is_set = |variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let paint = match global.color {
            ColorChoice::Always => Paint::Colored,
            ColorChoice::Auto if is_terminal && !is_dumb && !is_set("NO_COLOR") => Paint::Colored,
            ColorChoice::Auto | ColorChoice::Never => Paint::Plain,
        };
        let progress = match global.progress {
            ProgressChoice::Always => ProgressForm::Line,
            ProgressChoice::Json => ProgressForm::Json,
            ProgressChoice::Auto if is_terminal && form == Form::People && loudness != Loudness::Quiet => {
                ProgressForm::Line
            }
            ProgressChoice::Auto | ProgressChoice::Never => ProgressForm::Nothing,
        };
        // The handle of the standard library cuts what it is given at line ends; file contents have none worth cutting at.
        let whole: Box<dyn Write + Send> = match io::stdout().as_fd().try_clone_to_owned() {
            Ok(descriptor) => Box::new(File::from(descriptor)),
            Err(_) => Box::new(io::stdout()),
        };
        let stdout = Stdout {
            writer: BufWriter::with_capacity(BUFFER_LEN_BYTES, whole),
            state: StdoutState::Open,
        };
        Self {
            form,
            loudness,
            progress,
            paint,
            stdout: Mutex::new(stdout),
            bar: Mutex::new(false),
        }
    }

    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    pub(crate) const fn loudness(&self) -> Loudness {
        self.loudness
    }

    pub(crate) const fn progress(&self) -> ProgressForm {
        self.progress
    }

    /// Prints a result for people; nothing under `--json`.
    pub(crate) fn line(&self, line: &str) {
        if self.form == Form::People {
            self.clear_bar();
            self.put(format!("{}\n", text::printable(line)).as_bytes());
        }
    }

    /// Prints a line for people that nobody asked for by name: not under `-q`.
    pub(crate) fn summary(&self, line: &str) {
        if self.loudness > Loudness::Quiet {
            self.line(line);
        }
    }

    /// Prints a result under `--json`; nothing otherwise.
    pub(crate) fn json(&self, line: &impl Serialize) {
        if self.form == Form::Json {
            self.put(to_json(line).as_bytes());
        }
    }

    /// Prints the contents of a file.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        self.put(bytes);
    }

    /// Hands on what was printed, so that whoever reads sees each file when it is done.
    pub(crate) fn flush(&self) {
        self.lock_stdout().flush();
    }

    /// Says whether nobody gets what is printed any more.
    pub(crate) fn is_closed(&self) -> bool {
        !matches!(self.lock_stdout().state, StdoutState::Open)
    }

    /// Ends the output.
    ///
    /// # Errors
    /// What the system said when something that was printed could not be written; a reader that went away is none.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.clear_bar();
        let mut stdout = self.lock_stdout();
        stdout.flush();
        match std::mem::replace(&mut stdout.state, StdoutState::Closed) {
            StdoutState::Open | StdoutState::Closed => Ok(()),
            StdoutState::Failed(error) => Err(error),
        }
    }

    /// Tells of something good to know; not under `-q`.
    pub(crate) fn note(&self, message: &str) {
        #[derive(Serialize)]
        #[serde(tag = "type", rename = "note")]
        struct Note<'a> {
            message: &'a str,
        }
        if self.loudness > Loudness::Quiet {
            match self.form {
                Form::Json => self.diagnose(&to_json(&Note { message })),
                Form::People => {
                    self.diagnose(&format!(
                        "{} {}\n",
                        self.paint("note:", "36"),
                        text::printable(message)
                    ));
                }
            }
        }
    }

    /// Tells what opening an archive has settled; not under `-q`.
    pub(crate) fn recovered(&self, recovered: &Recovered) {
        match self.form {
            _ if self.loudness == Loudness::Quiet => {}
            Form::Json => self.diagnose(&to_json(recovered)),
            Form::People => {
                let head = self.paint("note:", "36");
                let mut lines = vec![format!("{head} {}", text::printable(&recovered.message))];
                lines.extend(self.suggestions(&recovered.suggest));
                self.diagnose(&joined(&lines));
            }
        }
    }

    /// Tells that an interrupted commit goes on, and from where; not under `-q`.
    pub(crate) fn going_on(&self, name: &FileName, done_bytes: u64, len_bytes: u64) {
        #[derive(Serialize)]
        #[serde(tag = "type", rename = "going_on")]
        struct GoingOn {
            name: String,
            progress_bytes: u64,
            total_bytes: u64,
        }
        match self.form {
            Form::Json if self.loudness > Loudness::Quiet => self.diagnose(&to_json(&GoingOn {
                name: name.to_string(),
                progress_bytes: done_bytes,
                total_bytes: len_bytes,
            })),
            Form::Json => {}
            Form::People => {
                let (done, whole) = (text::size(done_bytes), text::size(len_bytes));
                self.note(&if done_bytes == 0 {
                    format!("{name}: starting again, nothing of its {whole} was done")
                } else {
                    format!("{name}: going on at {done} of {whole}")
                });
            }
        }
    }

    /// Tells of something in a tree that is nothing to store; not under `-q`.
    pub(crate) fn skipped(&self, path: &Path, reason: &str) {
        #[derive(Serialize)]
        #[serde(tag = "type", rename = "skipped")]
        struct Skipped<'a> {
            path: &'a str,
            reason: &'a str,
        }
        let path = &text::path(path);
        match self.form {
            Form::Json if self.loudness > Loudness::Quiet => {
                self.diagnose(&to_json(&Skipped { path, reason }));
            }
            Form::Json => {}
            Form::People => self.note(&format!("{path} is skipped: it is {reason}")),
        }
    }

    /// Tells of something wrong that did not stop the command, also under `-q`.
    pub(crate) fn warning(&self, warning: &Warning) {
        match self.form {
            Form::Json => self.diagnose(&to_json(warning)),
            Form::People => {
                let head = self.paint("warning:", "1;33");
                let mut lines = vec![format!("{head} {}", text::printable(&warning.message))];
                lines.extend(self.suggestions(&warning.suggest));
                self.diagnose(&joined(&lines));
            }
        }
    }

    /// Tells why something failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        // What a damaged catalog made its database say is of use to whoever looks for the reason.
        let panic = if self.loudness == Loudness::Verbose {
            panics::take()
        } else {
            Vec::new()
        };
        match self.form {
            Form::Json => self.diagnose(&to_json(failure)),
            Form::People => {
                let head = self.paint("error:", "1;31");
                let mut lines = vec![format!("{head} {}", text::printable(&failure.message))];
                lines.extend(
                    failure
                        .ranges
                        .iter()
                        .map(|range| format!("  lost: bytes {range}")),
                );
                let causes = failure.causes.iter().chain(&panic);
                lines.extend(causes.map(|cause| format!("  caused by: {}", text::printable(cause))));
                lines.extend(self.suggestions(&failure.suggest));
                self.diagnose(&joined(&lines));
            }
        }
    }

    fn suggestions(&self, suggest: &[String]) -> impl Iterator<Item = String> {
        let head = self.paint("try:", "1;32");
        suggest
            .iter()
            .map(move |command| format!("  {head} {}", text::printable(command)))
    }

    /// Shows how far the work is, in place of what the line said before.
    pub(crate) fn bar(&self, line: &str) {
        let mut is_shown = self.lock_bar();
        *is_shown = true;
        write_to_stderr(&format!("{CLEAR_LINE}{line}"));
    }

    /// Shows how far the work is as a JSON line.
    pub(crate) fn progress_line(&self, line: &impl Serialize) {
        self.diagnose(&to_json(line));
    }

    /// Takes the progress line away.
    pub(crate) fn clear_bar(&self) {
        let mut is_shown = self.lock_bar();
        if std::mem::take(&mut *is_shown) {
            write_to_stderr(CLEAR_LINE);
        }
    }

    fn put(&self, bytes: &[u8]) {
        self.lock_stdout().put(bytes);
    }

    /// Writes to standard error, behind everything that was printed before.
    fn diagnose(&self, lines: &str) {
        self.flush();
        let mut is_shown = self.lock_bar();
        let clear = if std::mem::take(&mut *is_shown) {
            CLEAR_LINE
        } else {
            ""
        };
        write_to_stderr(&format!("{clear}{lines}"));
    }

    fn paint(&self, word: &str, color: &str) -> String {
        match self.paint {
            Paint::Plain => word.to_owned(),
            Paint::Colored => format!("\x1b[{color}m{word}\x1b[0m"),
        }
    }

    fn lock_stdout(&self) -> MutexGuard<'_, Stdout> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_bar(&self) -> MutexGuard<'_, bool> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stdout {
    fn put(&mut self, bytes: &[u8]) {
        if matches!(self.state, StdoutState::Open) {
            let written = self.writer.write_all(bytes);
            self.note(written);
        }
    }

    fn flush(&mut self) {
        if matches!(self.state, StdoutState::Open) {
            let written = self.writer.flush();
            self.note(written);
        }
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.state = if error.kind() == io::ErrorKind::BrokenPipe {
                StdoutState::Closed
            } else {
                StdoutState::Failed(error)
            };
        }
    }
}

/// Prints what clap has to say in answer to `--help` and `--version`, and returns the exit code.
pub(crate) fn print_help(help: &clap::Error) -> u8 {
    match help.print().and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => exit::FAILED,
        Ok(()) | Err(_) => exit::SUCCESS,
    }
}

/// Prints what is wrong with a command line.
pub(crate) fn print_usage(error: &clap::Error) {
    // Where nobody reads standard error, the exit code has to do.
    error.print().ok();
}

/// Prints what is wrong with a command line as a JSON line.
pub(crate) fn print_usage_as_json(failure: &Failure) {
    write_to_stderr(&to_json(failure));
}

fn write_to_stderr(text: &str) {
    // Where nobody reads standard error, the exit code has to do.
    io::stderr().lock().write_all(text.as_bytes()).ok();
}

fn joined(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn to_json(line: &impl Serialize) -> String {
    let mut json = serde_json::to_string(line).expect("lines are plain structures with string keys");
    json.push('\n');
    json
}

//! Lines to stdout in order, everything else to stderr.

use std::{
    ffi::OsStr,
    fmt::Display,
    io::{self, BufWriter, IsTerminal, Stdout, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    line::{self, Digest},
    order::Order,
    range::Change,
};

pub(crate) struct Output {
    order: Order,
    lines: BufWriter<Stdout>,
    /// Lines on the same screen as the bar have to go around it.
    shared_screen: bool,
    bar: ProgressBar,
    files: u64,
    troubles: u64,
}

impl Output {
    pub(crate) fn new() -> Self {
        let screen = io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            None,
            if screen {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        if let Ok(style) = ProgressStyle::with_template(
            "{spinner} {msg} files, {binary_bytes} in {elapsed}, {binary_bytes_per_sec}",
        ) {
            bar.set_style(style);
        }
        bar.set_message("0");
        if screen {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self {
            order: Order::default(),
            lines: BufWriter::with_capacity(64 << 10, io::stdout()),
            shared_screen: screen && io::stdout().is_terminal(),
            bar,
            files: 0,
            troubles: 0,
        }
    }

    /// Where bytes are counted as they are read.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// About how many bytes of lines wait for lines before them.
    pub(crate) fn held_back(&self) -> usize {
        self.order.bytes()
    }

    /// Takes in what the file at `index` came to, and writes the lines whose turn it is now.
    ///
    /// # Errors
    /// Says that stdout takes no more.
    pub(crate) fn finish(
        &mut self,
        index: u64,
        path: &OsStr,
        hashed: Result<(Digest, Option<Change>), String>,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        match hashed {
            Ok((digest, change)) => {
                if let Some(change) = change {
                    self.trouble(path, change);
                }
                if change.is_none_or(Change::leaves_a_prefix) {
                    line::write(&mut text, &digest, path);
                }
            }
            Err(message) => self.trouble(path, message),
        }
        self.files += 1;
        self.bar.set_message(self.files.to_string());
        self.order.finish(index, text);
        while let Some(text) = self.order.take() {
            self.lines.write_all(&text)?;
        }
        Ok(())
    }

    /// Names what did not go well.
    pub(crate) fn trouble(&mut self, path: &OsStr, what: impl Display) {
        self.troubles += 1;
        // Quoted, for a name may hold anything, also what a terminal would obey.
        self.bar.suspend(|| eprintln!("checksum: {path:?}: {what}"));
    }

    /// Sends on what has been written so far.
    ///
    /// # Errors
    /// Says that stdout takes no more.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.lines.buffer().is_empty() {
            return Ok(());
        }
        if self.shared_screen {
            return self.bar.suspend(|| self.lines.flush());
        }
        self.lines.flush()
    }

    /// Takes the bar away. Returns whether nothing went wrong.
    pub(crate) fn finish_all(self) -> bool {
        self.bar.finish_and_clear();
        self.troubles == 0
    }
}

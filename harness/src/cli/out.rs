//! Standard output: a reader that has gone is no reason to complain.

use std::io::{ErrorKind, IsTerminal, Write};

use comfy_table::{ContentArrangement, LineStyle, Table};

use crate::{Error, Result};

/// Writes text to standard output.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| match e.kind() {
            ErrorKind::BrokenPipe => Error::OutputClosed,
            _ => Error::write("standard output".as_ref(), e),
        })
}

/// Writes text and a line end to standard output.
pub fn line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Whether to use colours: on a terminal, unless `NO_COLOR` says otherwise.
pub fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// A plain table: columns set apart by spaces, a rule under the header.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    if !header.is_empty() {
        table.set_header(header.iter().copied());
        table.load_style(
            comfy_table::presets::NOTHING.header_separator(LineStyle::none().fill('─')),
        );
    }
    for row in rows {
        table.add_row(row);
    }
    table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

//! `--check`: what this machine allows, and what would be attached to.

use std::fmt::Write as _;

use anyhow::Result;

use super::kernel::{self, Kernel};
use super::mappings::Mappings;
use super::settings::{Settings, choose};
use crate::output::escape::{push, width};
use crate::procfs;
use crate::tls::find::Finder;
use crate::tls::survey::{Row, survey};

/// The text of `--check`: what this machine allows, and which TLS libraries
/// would be attached.
pub fn check(settings: &Settings) -> Result<String> {
    let kernel = Kernel::probe()?;
    let mut text = String::new();
    let yes = |has: bool| if has { "yes" } else { "no" };
    let _ = writeln!(text, "kernel            {}", kernel::release());
    if let Some(mode) = kernel::lockdown() {
        let _ = writeln!(text, "lockdown          {mode}");
    }
    let _ = writeln!(text, "kprobes           {}", yes(kernel.kprobes));
    let _ = writeln!(
        text,
        "socket tracepoints {}",
        yes(kernel.socket_tracepoints)
    );
    let _ = writeln!(text, "uprobe.multi      {}", yes(kernel.uprobe_multi));
    let _ = writeln!(
        text,
        "new mappings      {}",
        match Mappings::open() {
            Ok(_) => "yes".to_owned(),
            Err(error) => format!("no: {error}"),
        }
    );
    let mut notices = Vec::new();
    match choose(settings, kernel, &mut notices) {
        Ok(_) => {
            for notice in notices {
                let _ = writeln!(text, "plaintext         {notice}");
            }
        }
        Err(error) => {
            let _ = writeln!(text, "plaintext         {error:#}");
        }
    }
    if settings.no_tls {
        return Ok(text);
    }
    let mut finder = Finder::default();
    let mut named = Vec::new();
    for library in &settings.libraries {
        named.extend(finder.file(library)?);
    }
    let survey = survey(&mut finder, named, &procfs::all());
    table(&mut text, "TLS that is read", &survey.read);
    table(&mut text, "TLS that is not read", &survey.unread);
    Ok(text)
}

/// Users of a file that are named; the rest is counted.
const USERS: usize = 3;

/// Appends rows as aligned columns below a title; nothing if there are none.
fn table(text: &mut String, title: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            let unknown = if row.library.is_empty() {
                "-"
            } else {
                &row.library
            };
            [
                safe(unknown),
                safe(&row.file),
                users(&row.users),
                safe(&row.how),
            ]
        })
        .collect();
    let wide = |column: usize| {
        let widths = cells.iter().filter_map(|row| Some(width(row.get(column)?)));
        widths.max().unwrap_or(0)
    };
    let widths = [wide(0), wide(1), wide(2)];
    let _ = writeln!(text, "\n{title}");
    for row in &cells {
        let mut line = String::from("  ");
        for (cell, wide) in row.iter().zip(widths.into_iter().chain([0])) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(
                ' ',
                wide.saturating_sub(width(cell)) + 2,
            ));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// `nginx[12], curl[13], curl[14] and 5 more`.
fn users(users: &[(String, u32)]) -> String {
    if users.is_empty() {
        return "no process at present".to_owned();
    }
    let named: Vec<_> = users
        .iter()
        .take(USERS)
        .map(|(comm, pid)| safe(&format!("{comm}[{pid}]")))
        .collect();
    let more = match users.len().saturating_sub(USERS) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    named.join(", ") + &more
}

fn safe(text: &str) -> String {
    let mut safe = String::new();
    push(&mut safe, text.as_bytes());
    safe
}

//! `--check`: what this machine allows, and what would be attached to.

use std::fmt::Write as _;

use anyhow::Result;

use super::kernel::{self, Kernel};
use super::{Settings, choose};
use crate::procfs;
use crate::tls::find::Finder;

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
    let pids = procfs::all();
    let mut finder = Finder::default();
    for path in &settings.libraries {
        finder.file(path)?;
    }
    finder.scan(pids.iter().copied());
    let _ = writeln!(text, "TLS libraries");
    for found in finder.found().iter().filter(|f| !f.only_sockets) {
        let users: Vec<String> = pids
            .iter()
            .filter(|pid| finder.used_by(**pid).contains(&found))
            .filter_map(|pid| {
                let process = procfs::process(*pid)?;
                let comm = String::from_utf8_lossy(&process.comm).into_owned();
                Some(format!("{comm}[{pid}]"))
            })
            .collect();
        let users = if users.is_empty() {
            "no process at present".to_owned()
        } else {
            users.join(", ")
        };
        let _ = writeln!(text, "  {}  {}  {users}", found.library, found.path);
    }
    for skipped in finder.skipped() {
        let _ = writeln!(text, "  not attached: {}: {}", skipped.path, skipped.reason);
    }
    Ok(text)
}

//! All TLS on this machine: which library, where, in which processes, and how
//! it is read or why it is not. For `--check`; nothing is attached to.

use rustc_hash::FxHashMap;

use super::find::{Finder, Seen};
use super::guess::{Guesses, Unread};
use super::{Abi, Placement, ProbeRole, Target};
use crate::procfs;

/// A library or program, and who uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name and version, as far as known.
    pub library: String,
    /// Path of the file, of the first process that uses it if there are more.
    pub file: String,
    /// How it is read, or why not.
    pub how: String,
    /// Processes that execute from it: names and ids.
    pub users: Vec<(String, u32)>,
}

/// What [`survey`] gives.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// What is read, in the order in which it was found.
    pub read: Vec<Row>,
    /// What is not.
    pub unread: Vec<Row>,
}

/// Looks at these processes and at the system's libraries. `named` is what was
/// found by name before.
pub fn survey(finder: &mut Finder, named: Vec<Target>, pids: &[u32]) -> Survey {
    let mut targets = named;
    targets.extend(finder.scan(pids.iter().copied()));
    let mut seen = Seen::default();
    for pid in pids {
        targets.extend(finder.every_file(*pid, &mut seen));
    }
    let how: FxHashMap<_, _> = targets
        .iter()
        .map(|target| (target.identity.clone(), how(target)))
        .collect();
    let mut survey = Survey::default();
    for found in finder.found() {
        survey.read.push(Row {
            library: found.library.to_string(),
            file: found.path.clone(),
            how: how.get(&found.identity).cloned().unwrap_or_default(),
            users: Vec::new(),
        });
    }
    let mut guesses = Guesses::default();
    let own = procfs::exe(std::process::id());
    for pid in pids {
        // Kernel threads, and what has ended, have none.
        let Some(exe) = procfs::exe(*pid) else {
            continue;
        };
        // The texts that are searched for are in httpsniff too.
        if own.as_ref() == Some(&exe) {
            continue;
        }
        let user = || {
            let comm = procfs::comm(*pid).unwrap_or_default();
            (String::from_utf8_lossy(&comm).into_owned(), *pid)
        };
        let used = finder.used_indexes(*pid);
        for index in &used {
            if let Some(row) = survey.read.get_mut(*index) {
                row.users.push(user());
            }
        }
        if used.is_empty()
            && let Some(unread) = guesses.explain(finder, *pid)
        {
            let file = String::from_utf8_lossy(&exe).into_owned();
            add_unread(&mut survey.unread, file, unread, user());
        }
    }
    // Rows were in the order of what was found. What only tells sockets reads
    // nothing.
    survey.read = std::mem::take(&mut survey.read)
        .into_iter()
        .zip(finder.found())
        .filter(|(_, found)| !found.only_sockets)
        .map(|(row, _)| row)
        .collect();
    for skipped in finder.skipped() {
        if survey.unread.iter().all(|row| row.file != skipped.path) {
            survey.unread.push(Row {
                library: String::new(),
                file: skipped.path.clone(),
                how: skipped.reason.clone(),
                users: Vec::new(),
            });
        }
    }
    survey
}

/// Processes of one program are one row.
fn add_unread(rows: &mut Vec<Row>, file: String, unread: Unread, user: (String, u32)) {
    let library = unread.library.unwrap_or_default();
    let same = |row: &&mut Row| row.file == file && row.how == unread.why;
    if let Some(row) = rows.iter_mut().find(same) {
        row.users.push(user);
        return;
    }
    rows.push(Row {
        library,
        file,
        how: unread.why,
        users: vec![user],
    });
}

/// `7 probes behind the symbols`.
fn how(target: &Target) -> String {
    let probes = match target.probes.len() {
        1 => "1 probe".to_owned(),
        count => format!("{count} probes"),
    };
    let behind = target
        .probes
        .iter()
        .any(|probe| probe.role == ProbeRole::ReadSharedExit);
    let place = match (target.abi, behind) {
        (Abi::Go, _) => "on Go's functions",
        (Abi::C, true) => "behind the symbols",
        (Abi::C, false) => "on the symbols",
    };
    let returns = target
        .probes
        .iter()
        .any(|probe| probe.placement == Placement::Return);
    let ends = if returns { "return probes" } else { "exits" };
    format!("{probes} {place}, {ends}")
}

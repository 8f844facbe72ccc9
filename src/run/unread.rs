//! Programs whose TLS cannot be read, each named once with the reason as soon
//! as it is seen, whether or not other exchanges are being shown.

use rustc_hash::FxHashSet;

use crate::process::Process;
use crate::tls_flow::Unread;

/// Programs that are named; on a machine with more, that is said instead.
const NAMED: usize = 100;

/// What has been said.
#[derive(Debug, Default)]
pub(super) struct UnreadPrograms {
    said: FxHashSet<(String, String)>,
    programs: Vec<String>,
}

impl UnreadPrograms {
    /// The line for a process that was found, if its program has not been named
    /// with this reason yet.
    pub(super) fn line(&mut self, process: &Process, unread: &Unread) -> Option<String> {
        let name = String::from_utf8_lossy(&process.comm).into_owned();
        let why = unread.why.as_deref()?.to_owned();
        if self.said.len() > NAMED || !self.said.insert((name.clone(), why.clone())) {
            return None;
        }
        if self.said.len() > NAMED {
            return Some("further programs whose TLS cannot be read are not named".to_owned());
        }
        if !self.programs.contains(&name) {
            self.programs.push(name.clone());
        }
        let pid = process.pid;
        Some(format!("TLS in {name}[{pid}] cannot be read: {why}"))
    }

    /// The names of the programs so far.
    pub(super) fn programs(&self) -> &[String] {
        &self.programs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, comm: &str) -> Process {
        Process {
            pid,
            comm: comm.into(),
            ..Process::default()
        }
    }

    fn because(why: &str) -> Unread {
        Unread {
            library: None,
            why: Some(why.into()),
        }
    }

    #[test]
    fn a_program_is_named_once_for_each_reason() {
        let mut programs = UnreadPrograms::default();
        let java = because("Java is not read");
        assert_eq!(
            programs.line(&process(1, "java"), &java).unwrap(),
            "TLS in java[1] cannot be read: Java is not read"
        );
        assert_eq!(programs.line(&process(2, "java"), &java), None);
        assert!(programs.line(&process(2, "java"), &because("x")).is_some());
        assert_eq!(programs.programs(), ["java"]);
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut programs = UnreadPrograms::default();
        let lines = (0..1000)
            .filter_map(|pid| programs.line(&process(pid, &format!("p{pid}")), &because("x")));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), NAMED + 1);
        assert!(lines[NAMED].contains("not named"));
    }
}

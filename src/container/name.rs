//! `--container` for a capture file, which holds the ids and the names of
//! containers and nothing of cgroups.

use super::select::{SHORTEST_PREFIX, is_begun, is_unit};
use crate::process::Process;

/// A container by its id, the beginning of its id, or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerName(String);

impl ContainerName {
    /// `None` for what a capture file does not know: a systemd unit, a path.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let bare = text.trim_matches('/');
        (!bare.is_empty() && !is_unit(bare) && !bare.contains('/')).then(|| Self(bare.to_owned()))
    }

    /// Whether the process is in that container.
    #[must_use]
    pub fn matches(&self, process: &Process) -> bool {
        let Some(id) = &process.container else {
            return false;
        };
        *id == self.0
            || process.container_name.as_ref() == Some(&self.0)
            || self.0.len() >= SHORTEST_PREFIX && is_begun(id, &self.0.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_id_its_beginning_and_name() {
        let process = Process {
            container: Some("0123456789abcdef".repeat(4)),
            container_name: Some("web".to_owned()),
            ..Process::default()
        };
        let full = "0123456789abcdef".repeat(4);
        for (text, matches) in [
            (full.as_str(), true),
            ("012", true),
            ("0123456789AB", true),
            ("web", true),
            ("/web", true),
            ("01", false),
            ("123", false),
            ("we", false),
        ] {
            let name = ContainerName::new(text).unwrap();
            assert_eq!(name.matches(&process), matches, "{text}");
            assert!(!name.matches(&Process::default()));
        }
        for text in ["nginx.service", "/system.slice/x", "/", ""] {
            assert_eq!(ContainerName::new(text), None, "{text}");
        }
    }
}

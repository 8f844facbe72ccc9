//! The comments that people and ptcpdump's users read: `PID: 4242`,
//! `Cmd: /usr/bin/curl`, `Args: curl -s https://…`, a line each.

use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::note;
use crate::process::Process;

/// Bytes of the command line in a comment.
const MAX_ARGS: usize = 1024;
/// Bytes of a container's name or id in a comment.
const MAX_CONTAINER: usize = 512;
/// Bytes of the path in a comment.
const MAX_COMMAND: usize = 4096;

/// What the file says of a process, made once for all its connections.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Texts {
    process: Option<Arc<Process>>,
    /// The comment of a packet of this process.
    pub(super) own: String,
    /// The comment of a packet whose other end this process is; empty for one
    /// that is not known.
    pub(super) other: String,
    /// The process in a note.
    pub(super) note: String,
}

impl Texts {
    fn new(process: Option<&Arc<Process>>) -> Self {
        Self {
            process: process.cloned(),
            own: describe(process.map(|p| &**p)),
            other: process.map_or_else(String::new, |p| name_other(p)),
            note: note::process(process.map(|p| &**p)),
        }
    }

    fn is(&self, process: Option<&Arc<Process>>) -> bool {
        match (&self.process, process) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => false,
        }
    }
}

/// The texts of the processes of late.
#[derive(Default)]
pub(super) struct People {
    /// By the address of the process, which its text keeps alive.
    known: FxHashMap<usize, Rc<Texts>>,
}

/// Processes remembered: beyond it all are forgotten.
const MAX_PEOPLE: usize = 1024;

impl People {
    fn texts(&mut self, process: Option<&Arc<Process>>) -> Rc<Texts> {
        if self.known.len() >= MAX_PEOPLE {
            self.known.clear();
        }
        let address = process.map_or(0, |p| Arc::as_ptr(p).addr());
        let texts = self.known.entry(address);
        Rc::clone(texts.or_insert_with(|| Rc::new(Texts::new(process))))
    }

    /// Who the arguments say.
    pub(super) fn who(
        &mut self,
        process: Option<&Arc<Process>>,
        tid: u32,
        thread: &[u8],
    ) -> Rc<Who> {
        Rc::new(Who {
            texts: self.texts(process),
            tid,
            thread: thread.into(),
        })
    }
}

/// Who does something: made once per thread of a connection and shared by its
/// packets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) texts: Rc<Texts>,
    pub(super) tid: u32,
    pub(super) thread: Box<[u8]>,
}

impl Who {
    /// Whether this is who the arguments say.
    pub(super) fn is(&self, process: Option<&Arc<Process>>, tid: u32, thread: &[u8]) -> bool {
        self.texts.is(process) && self.tid == tid && *self.thread == *thread
    }

    /// Whether the other is a thread of the same process.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.texts, &other.texts) || self.texts.is(other.texts.process.as_ref())
    }

    pub(super) fn pid(&self) -> u32 {
        self.texts.process.as_ref().map_or(0, |p| p.pid)
    }
}

/// The comment of every packet. Every line is one line whatever an argument
/// holds, so that none can pass for another process.
fn describe(process: Option<&Process>) -> String {
    let Some(process) = process else {
        return "PID: ?".to_owned();
    };
    let mut text = format!("PID: {}\nCmd: ", process.pid);
    escape(&mut text, command(process), MAX_COMMAND);
    if !process.cmdline.is_empty() {
        text.push_str("\nArgs: ");
        escape(&mut text, &process.cmdline.join(&b' '), MAX_ARGS);
    }
    for (field, value) in [
        ("ContainerName", &process.container_name),
        ("ContainerId", &process.container),
    ] {
        if let Some(value) = value {
            let _ = write!(text, "\n{field}: ");
            escape(&mut text, value.as_bytes(), MAX_CONTAINER);
        }
    }
    text
}

/// The comment that names the process at the other end.
fn name_other(process: &Process) -> String {
    let mut text = format!("Other end PID: {}\nOther end Cmd: ", process.pid);
    escape(&mut text, command(process), MAX_COMMAND);
    text
}

fn command(process: &Process) -> &[u8] {
    process.exe.as_deref().unwrap_or(&process.comm)
}

/// Appends at most `limit` bytes of `bytes`, controls and what changes the
/// direction or is not seen as `\n`, `\u{202e}`, bytes that are not UTF-8 as
/// `\xff`.
fn escape(out: &mut String, bytes: &[u8], limit: usize) {
    let end = out.len() + limit;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if out.len() + 10 > end {
                out.push('…');
                return;
            }
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if is_unseen(c) => {
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            if out.len() + 10 > end {
                out.push('…');
                return;
            }
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// Controls (C0, DEL, C1), line and paragraph separators, marks of direction
/// and of zero width.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(arguments: &[&[u8]]) -> Process {
        Process {
            pid: 4242,
            exe: Some(b"/usr/bin/curl".to_vec()),
            cmdline: arguments.iter().map(|a| a.to_vec()).collect(),
            ..Process::default()
        }
    }

    #[test]
    fn the_form_is_ptcpdumps() {
        assert_eq!(
            describe(Some(&process(&[b"curl", b"-s", b"https://x/"]))),
            "PID: 4242\nCmd: /usr/bin/curl\nArgs: curl -s https://x/"
        );
        assert_eq!(describe(None), "PID: ?");
    }

    #[test]
    fn containers_have_lines_of_their_own() {
        let mut process = process(&[b"curl"]);
        process.container = Some("0123456789abcdef".to_owned());
        process.container_name = Some("web\nPID: 1".to_owned());
        assert_eq!(
            describe(Some(&process)),
            "PID: 4242\nCmd: /usr/bin/curl\nArgs: curl\n\
             ContainerName: web\\nPID: 1\nContainerId: 0123456789abcdef"
        );
    }

    #[test]
    fn an_argument_cannot_forge_another_process() {
        let text = describe(Some(&process(&[
            b"curl\nPID: 1\r\nCmd: /sbin/init",
            "\u{202e}\u{2028}\u{85}\x1b[2J".as_bytes(),
            b"\xff\xfe",
        ])));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\u{202e}') && !text.contains('\u{2028}'));
        assert!(text.contains("\\xff\\xfe"), "{text}");
    }

    #[test]
    fn arguments_are_cut_to_one_kibibyte() {
        let long = vec![b'a'; 10_000];
        let text = describe(Some(&process(&[&long])));
        assert!(text.len() < 1024 + 60 && text.len() > 900, "{}", text.len());
        let wide = "ä".repeat(5000);
        let text = describe(Some(&process(&[wide.as_bytes()])));
        assert!(text.len() < 1024 + 60);
    }
}

//! Processes and users: the numbers behind what was typed.

use std::fs;

use super::Failure;
use super::parse::items;
use crate::caller::Account;
use crate::container::{ContainerName, NotFound, Selection};

/// The numbers of `--pid`, not looked up.
pub(super) fn pids(values: &[String]) -> Result<Vec<u32>, Failure> {
    let mut pids: Vec<u32> = items("--pid", values)?
        .into_iter()
        .map(|text| match text.parse() {
            Ok(0) => Err(Failure::usage(
                "--pid 0 is no process: leave out --pid for the whole machine",
            )),
            Ok(pid) => Ok(pid),
            Err(_) => Err(Failure::usage(format!(
                "--pid does not know “{text}”: it takes numbers; a name is selected with --comm"
            ))),
        })
        .collect::<Result<_, _>>()?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// The running processes with these ids. The id of a thread gives its
/// process and a note.
pub(super) fn running(ids: &[u32], notes: &mut Vec<String>) -> Result<Vec<u32>, Failure> {
    let mut pids = Vec::with_capacity(ids.len());
    for id in ids {
        let status = fs::read(format!("/proc/{id}/status")).unwrap_or_default();
        let Some(process) = tgid(&status) else {
            return Err(Failure::failed(format!(
                "no process {id}: it has ended, or is in another pid namespace"
            )));
        };
        if process == std::process::id() {
            return Err(Failure::usage(format!("--pid {id} is httpsniff itself")));
        }
        if process != *id {
            notes.push(format!(
                "{id} is a thread of process {process}: all of that process is watched"
            ));
        }
        if !pids.contains(&process) {
            pids.push(process);
        }
    }
    Ok(pids)
}

/// The thread group id in a `/proc/PID/status`.
fn tgid(status: &[u8]) -> Option<u32> {
    // The name in the first line may hold any byte but a raw line break.
    status
        .split(|b| *b == b'\n')
        .find_map(|line| line.strip_prefix(b"Tgid:"))
        .and_then(|rest| std::str::from_utf8(rest).ok()?.trim().parse().ok())
}

/// The user ids of `--uid`.
pub(super) fn users(values: &[String]) -> Result<Vec<u32>, Failure> {
    items("--uid", values)?
        .into_iter()
        .map(|text| {
            text.parse()
                .ok()
                .or_else(|| Account::find(text).map(|a| a.uid))
                .ok_or_else(|| {
                    Failure::usage(format!(
                        "--uid does not know “{text}”: there is no such user"
                    ))
                })
        })
        .collect()
}

/// The cgroups of `--container`.
pub(super) fn containers(
    values: &[String],
    notes: &mut Vec<String>,
) -> Result<Option<Selection>, Failure> {
    if values.is_empty() {
        return Ok(None);
    }
    let selection = Selection::new(values).map_err(|(text, error)| {
        let message = format!("--container {text}: {error}");
        match error {
            NotFound::Ambiguous(_) | NotFound::TooShort | NotFound::Empty => {
                Failure::usage(message)
            }
            _ => Failure::failed(message),
        }
    })?;
    notes.extend(selection.notes.iter().cloned());
    Ok(Some(selection))
}

/// The containers of `--container` as a capture file knows them.
pub(super) fn containers_of_file(values: &[String]) -> Result<Vec<ContainerName>, Failure> {
    values
        .iter()
        .map(|text| {
            ContainerName::new(text).ok_or_else(|| {
                Failure::usage(format!(
                    "--container {text}: a capture file knows containers by id and name, \
                     no systemd units and no paths"
                ))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pids_repeat_and_list() {
        let of = |v: &[&str]| pids(&v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).ok();
        assert_eq!(of(&["3,1", "2", "1"]), Some(vec![1, 2, 3]));
        for wrong in ["0", "", "1,", "nginx", "-1", "1 2", "4294967296"] {
            assert_eq!(of(&[wrong]), None, "{wrong}");
        }
    }

    #[test]
    fn a_thread_means_its_process() {
        let (sent, received) = std::sync::mpsc::channel();
        let (hold, wait) = std::sync::mpsc::channel::<()>();
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let thread = std::thread::spawn(move || {
            sent.send(rustix::thread::gettid().as_raw_nonzero().get())
                .unwrap();
            let _ended = wait.recv();
        });
        let tid = u32::try_from(received.recv().unwrap()).unwrap();
        // A thread of this very process: recognised, and refused as ourselves.
        let mut notes = Vec::new();
        let refused = running(&[tid], &mut notes).unwrap_err();
        assert!(refused.message.contains("httpsniff itself"));
        assert_eq!(running(&[child.id()], &mut notes).unwrap(), [child.id()]);
        drop(hold);
        thread.join().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn tgid_is_found_behind_any_name() {
        assert_eq!(tgid(b"Name:\ta\xff b\nUmask:\t22\nTgid:\t42\n"), Some(42));
        assert_eq!(tgid(b""), None);
    }

    #[test]
    fn users_by_name_and_number() {
        let of = |v: &str| users(&[v.to_owned()]).ok();
        assert_eq!(of("root,1234567"), Some(vec![0, 1_234_567]));
        assert_eq!(of("no-such-user"), None);
    }
}

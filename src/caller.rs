//! Who called: the user behind sudo, whose rights open every file and run
//! COMMAND, and the accounts of this machine by name and number.
//!
//! Under sudo httpsniff is root, but the files it was told to write are the
//! caller's: `-w /etc/shadow` must fail as it would for the caller. Linux
//! keeps credentials per thread, so a thread that has given up everything but
//! the caller's rights opens the file and hands the descriptor back.

use std::fs;
use std::io;
use std::process::Command;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// An account of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

impl Account {
    fn from_line(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty())?.to_owned();
        let _password = fields.next()?;
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let _gecos = fields.next()?;
        Some(Self {
            name,
            uid,
            gid,
            home: fields.next()?.to_owned(),
            shell: fields.next().unwrap_or_default().to_owned(),
        })
    }

    /// The account with this login name or, if `key` is a number, this id.
    #[must_use]
    pub fn find(key: &str) -> Option<Self> {
        let matches = |account: &Self| account.name == key || key.parse() == Ok(account.uid);
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        passwd
            .lines()
            .filter_map(Self::from_line)
            .find(|a| matches(a))
            .or_else(|| {
                // Accounts of a directory service (LDAP, SSSD) are not in the file.
                let output = Command::new("/usr/bin/getent")
                    .args(["passwd", "--", key])
                    .output()
                    .ok()?;
                Self::from_line(String::from_utf8_lossy(&output.stdout).lines().next()?)
            })
            .filter(|a| matches(a))
    }
}

/// The user who called sudo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, the primary one included.
    pub groups: Vec<u32>,
    /// The account, if there is one with this id.
    pub account: Option<Account>,
}

impl Caller {
    /// The caller of sudo, when httpsniff is root through sudo; `None` when
    /// httpsniff's own rights are those of its user.
    #[must_use]
    pub fn of_sudo() -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        let uid = number("SUDO_UID").filter(|uid| *uid != 0)?;
        let account = Account::find(&uid.to_string());
        let gid = number("SUDO_GID")
            .or(account.as_ref().map(|a| a.gid))
            // Without a group the safe answer is the one that may nothing.
            .unwrap_or(65534);
        let groups = groups_of(account.as_ref().map(|a| a.name.as_str()), gid);
        Some(Self {
            uid,
            gid,
            groups,
            account,
        })
    }

    /// How messages call them: the login name, else `user 1000`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.account {
            Some(account) => account.name.clone(),
            None => format!("user {}", self.uid),
        }
    }

    /// Gives the calling thread the caller's rights, for good.
    pub fn become_in_this_thread(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|g| Gid::from_raw(*g)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }
}

/// Runs `act` with the rights of the user who called sudo, in a thread of its
/// own; directly if httpsniff's own rights are theirs.
pub fn as_caller<T: Send>(
    caller: Option<&Caller>,
    act: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let Some(caller) = caller else {
        return act();
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            caller.become_in_this_thread()?;
            act()
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that opens files failed")))
    })
}

/// The groups of a user as a login would set them.
fn groups_of(name: Option<&str>, gid: u32) -> Vec<u32> {
    let mut groups = vec![gid];
    let Some(name) = name else {
        return groups;
    };
    let file = fs::read_to_string("/etc/group").unwrap_or_default();
    groups.extend(groups_in(&file, name).filter(|g| *g != gid));
    groups
}

fn groups_in<'a>(file: &'a str, name: &'a str) -> impl Iterator<Item = u32> + 'a {
    file.lines().filter_map(move |line| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|m| m == name).then_some(gid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let root = Account::find("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(Account::find("0"), Some(root));
        assert_eq!(Account::find("no-such-user-here"), None);
    }

    #[test]
    fn groups_are_those_that_list_the_user() {
        let file = "root:x:0:\nadm:x:4:syslog,ann\nann:x:1000:\nwheel:x:10:hann,ann\nbad\n";
        assert_eq!(groups_in(file, "ann").collect::<Vec<_>>(), [4, 10]);
    }

    #[test]
    fn a_thread_with_the_callers_rights_leaves_the_others_alone() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED caller: giving up root's rights needs root");
            return;
        }
        let nobody = Caller {
            uid: 65534,
            gid: 65534,
            groups: vec![65534],
            account: None,
        };
        let refused = as_caller(Some(&nobody), || fs::read("/etc/shadow")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(geteuid().is_root());
    }
}

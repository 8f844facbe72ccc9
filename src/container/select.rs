//! From what was typed after `--container` to cgroups, and to what is still
//! meant when a container or unit starts again.

use std::path::Path;

use thiserror::Error;

use super::names::Names;
use super::tree::{Cgroup, Controller, Tree, container_of_path, name_of};
use super::{SHORT_ID, short};

/// The fewest characters of an id that stand for it.
pub(super) const SHORTEST_PREFIX: usize = 3;
/// Containers that an error lists.
const LISTED: usize = 6;
/// Cgroups that are remembered before those that are gone are looked for.
const MANY_CGROUPS: usize = 1024;
/// What the names of systemd's units end with that have cgroups (systemd.unit(5)).
const UNITS: [&str; 6] = [".service", ".scope", ".slice", ".socket", ".mount", ".swap"];
/// Controllers of version 1 in the order in which they are used: the first
/// are those for which engines and systemd make every cgroup.
const PREFERRED: [&str; 9] = [
    "pids", "memory", "devices", "cpu", "cpuacct", "freezer", "blkio", "cpuset", "net_cls",
];

/// Why a `--container` cannot be used: the sentence, without the option.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotFound {
    /// The beginning of several ids.
    #[error("several containers begin like this: {0}; give more of the id")]
    Ambiguous(String),
    /// Too little of an id.
    #[error(
        "at least {SHORTEST_PREFIX} characters of an id are needed, or a name, or a systemd unit"
    )]
    TooShort,
    /// Nothing is called so.
    #[error("no container, systemd unit or cgroup is called so, and no id begins so; {0}")]
    Unknown(String),
    /// The names are root's to read.
    #[error(
        "no id or systemd unit is called so, and names of containers are for root to read: \
         run it with sudo"
    )]
    NotRoot,
    /// Version 1 has no hierarchy in which all of them are.
    #[error("it cannot be told apart together with the others: watch it by a run of its own")]
    Scattered,
    /// Not a name.
    #[error("a container's id or name is needed, or a systemd unit")]
    Empty,
}

/// What one `--container` means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    /// A container's full id.
    Id(String),
    /// A container's name.
    Name(String),
    /// A unit, or another cgroup by the name of its directory.
    Directory(String),
    /// A cgroup's path.
    Path(String),
}

impl Meaning {
    /// The name, if it is by name.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Wanted {
    /// As typed.
    text: String,
    meaning: Meaning,
    /// Cgroups of it that there are.
    running: usize,
    /// There were some before.
    ran: bool,
}

/// Whether a cgroup is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Ask again later: too many were asked for in a short time.
    Later,
}

/// All that `--container` asks for.
#[derive(Clone, Debug)]
pub struct Selection {
    wanted: Vec<Wanted>,
    names: Names,
    /// The hierarchy of version 2 is looked at.
    pub unified: bool,
    /// A hierarchy of version 1 is.
    pub controller: Option<Controller>,
    /// The cgroups that are there, in these hierarchies; of those that were
    /// there at the start none is within another.
    pub cgroups: Vec<Cgroup>,
    /// Where those that do not run are likely to be when they do: cgroups
    /// that are not there, their ids 0.
    pub expected: Vec<Cgroup>,
    /// Remarks for the user.
    pub notes: Vec<String>,
}

impl Selection {
    /// Looks on this machine for what was typed.
    ///
    /// # Errors
    /// What was typed and why it cannot be used.
    pub fn new(typed: &[String]) -> Result<Self, (String, NotFound)> {
        let names = Names::read(Path::new("/"));
        let root = rustix::process::geteuid().is_root();
        Self::among(typed, &Tree::read(), names).map_err(|(text, error)| match error {
            NotFound::Unknown(_) if !root => (text, NotFound::NotRoot),
            error => (text, error),
        })
    }

    /// Looks in `tree` and `names` for what was typed.
    ///
    /// # Errors
    /// What was typed and why it cannot be used.
    pub fn among(
        typed: &[String],
        tree: &Tree,
        mut names: Names,
    ) -> Result<Self, (String, NotFound)> {
        let mut notes = Vec::new();
        let mut wanted = Vec::new();
        let mut found: Vec<Vec<&Cgroup>> = Vec::new();
        for text in typed {
            let (meaning, cgroups) =
                mean(text, tree, &names, &mut notes).map_err(|error| (text.clone(), error))?;
            wanted.push(Wanted {
                text: text.clone(),
                meaning,
                running: 0,
                ran: !cgroups.is_empty(),
            });
            if cgroups.is_empty() {
                notes.push(format!(
                    "--container {text} does not run: it is watched when it starts"
                ));
            }
            found.push(cgroups);
        }
        let (unified, controller) = hierarchies(tree, &found);
        let looked_at = |c: &&&Cgroup| match c.hierarchy {
            0 => unified,
            number => controller.as_ref().is_some_and(|c| c.hierarchy == number),
        };
        let mut cgroups: Vec<Cgroup> = Vec::new();
        for (wanted, found) in wanted.iter_mut().zip(&found) {
            let found: Vec<&Cgroup> = found.iter().filter(looked_at).copied().collect();
            wanted.running = found.len();
            if found.is_empty() && wanted.ran {
                return Err((wanted.text.clone(), NotFound::Scattered));
            }
            cgroups.extend(found.into_iter().cloned());
        }
        let expected = wanted
            .iter()
            .filter(|wanted| !wanted.ran)
            .flat_map(|wanted| expected(&wanted.meaning, tree, &names))
            .filter(|cgroup| looked_at(&&cgroup))
            .collect();
        let all = cgroups.clone();
        cgroups.retain(|c| !all.iter().any(|other| c.is_within(other)));
        cgroups.sort_by_key(|c| (c.hierarchy, c.id));
        cgroups.dedup();
        let called: Vec<&str> = wanted.iter().filter_map(|w| w.meaning.name()).collect();
        names.keep(&called);
        Ok(Self {
            wanted,
            names,
            unified,
            controller,
            cgroups,
            expected,
            notes,
        })
    }

    /// The processes that are selected at present.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self
            .cgroups
            .iter()
            .flat_map(|cgroup| {
                let mut pids = cgroup.processes();
                pids.extend(cgroup.descendants().iter().flat_map(Cgroup::processes));
                pids
            })
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether a cgroup that was just made is one of a container or unit that
    /// is wanted.
    pub fn wants(&mut self, path: &str) -> Wants {
        if self.is_known(path) {
            return Wants::Yes;
        }
        let by_name = |w: &Wanted| w.meaning.name().is_some();
        if let Some(id) = container_of_path(path)
            && self.wanted.iter().any(by_name)
        {
            if !self.names.look_again(&id) {
                return Wants::Later;
            }
            // Others' names are not remembered, however many come.
            if self.index(path).is_none() {
                self.names.forget(&id);
            }
        }
        if self.index(path).is_some() {
            Wants::Yes
        } else {
            Wants::No
        }
    }

    /// Whether it is wanted whatever files say.
    #[must_use]
    pub fn is_known(&self, path: &str) -> bool {
        let index = self.index(path);
        index
            .and_then(|index| self.wanted.get(index))
            .is_some_and(|wanted| wanted.meaning.name().is_none())
    }

    #[cfg(test)]
    pub(super) fn names_known(&self) -> usize {
        self.names.begun("").count()
    }

    /// Takes note of a cgroup that is wanted and was made later.
    pub fn add(&mut self, cgroup: Cgroup) {
        self.remove(cgroup.hierarchy, cgroup.id);
        if self.cgroups.len() >= MANY_CGROUPS {
            // Of some it was lost that they are gone.
            self.cgroups.retain(|cgroup| cgroup.directory.is_dir());
        }
        self.cgroups.push(cgroup);
    }

    /// A cgroup is gone.
    pub fn remove(&mut self, hierarchy: u32, id: u64) {
        self.cgroups
            .retain(|c| (c.hierarchy, c.id) != (hierarchy, id));
    }

    /// A cgroup that is wanted is there now; what to tell the user.
    pub fn started(&mut self, path: &str) -> Option<String> {
        let index = self.index(path)?;
        let container = container_of_path(path);
        let wanted = self.wanted.get_mut(index)?;
        wanted.running += 1;
        let again = if wanted.ran { " again" } else { "" };
        wanted.ran = true;
        (wanted.running == 1).then(|| match container {
            Some(id) if short(&id) != wanted.text => {
                format!("{} runs{again}: {}", wanted.text, short(&id))
            }
            _ => format!("{} runs{again}", wanted.text),
        })
    }

    /// A cgroup that was wanted is gone; what to tell the user.
    pub fn ended(&mut self, path: &str) -> Option<String> {
        let index = self.index(path)?;
        let wanted = self.wanted.get_mut(index)?;
        if wanted.running == 0 {
            return None;
        }
        wanted.running -= 1;
        (wanted.running == 0).then(|| {
            format!(
                "{} has ended: it is watched again when it starts again",
                wanted.text
            )
        })
    }

    /// Which of the wanted a cgroup belongs to.
    fn index(&self, path: &str) -> Option<usize> {
        let container = container_of_path(path);
        self.wanted.iter().position(|wanted| match &wanted.meaning {
            Meaning::Id(id) => container.as_ref() == Some(id),
            Meaning::Name(name) => container
                .as_ref()
                .is_some_and(|id| self.names.of(id, path).any(|n| n == name)),
            Meaning::Directory(name) => name_of(path) == name,
            Meaning::Path(wanted) => wanted == path,
        })
    }
}

/// What one `--container` means, and the cgroups of it.
fn mean<'a>(
    text: &str,
    tree: &'a Tree,
    names: &Names,
    notes: &mut Vec<String>,
) -> Result<(Meaning, Vec<&'a Cgroup>), NotFound> {
    // `docker inspect` writes a name as /web.
    let bare = text.trim_matches('/');
    if bare.is_empty() {
        return Err(NotFound::Empty);
    }
    let all = |wanted: &dyn Fn(&Cgroup) -> bool| -> Vec<&'a Cgroup> {
        tree.cgroups.iter().filter(|c| wanted(c)).collect()
    };
    let is_name = |c: &Cgroup| {
        c.container()
            .is_some_and(|id| names.of(&id, &c.path).any(|name| name == bare))
    };
    let directory = |name: &str| all(&|c| c.name() == name);
    let mut found;

    found = all(&|c| c.container().is_some_and(|id| id == bare));
    if !found.is_empty() {
        return Ok((Meaning::Id(bare.to_owned()), found));
    }
    if is_unit(bare) {
        found = directory(bare);
        if !found.is_empty() {
            note_several(text, "cgroups", paths(&found), notes);
            return Ok((Meaning::Directory(bare.to_owned()), found));
        }
    }
    found = all(&is_name);
    if !found.is_empty() {
        note_several(text, "containers", ids(&found), notes);
        return Ok((Meaning::Name(bare.to_owned()), found));
    }
    let is_prefix = bare.bytes().all(|c| c.is_ascii_hexdigit());
    if is_prefix {
        let prefix = bare.to_ascii_lowercase();
        found = all(&|c| c.container().is_some_and(|id| is_begun(&id, &prefix)));
        let mut ids = ids(&found);
        match ids.len() {
            0 => {}
            _ if bare.len() < SHORTEST_PREFIX => return Err(NotFound::TooShort),
            1 => return Ok((Meaning::Id(ids.remove(0)), found)),
            _ => return Err(NotFound::Ambiguous(list(&found, names, 2 * SHORT_ID))),
        }
    }
    if bare.contains('/') {
        let path = format!("/{bare}");
        found = all(&|c| c.path == path);
        if !found.is_empty() {
            return Ok((Meaning::Path(path), found));
        }
    } else {
        // As systemctl does.
        let service = format!("{bare}.service");
        for name in [service.as_str(), bare] {
            found = directory(name);
            if !found.is_empty() {
                note_several(text, "cgroups", paths(&found), notes);
                if name != bare {
                    notes.push(format!("--container {text} is taken for {name}"));
                }
                return Ok((Meaning::Directory(name.to_owned()), found));
            }
        }
    }
    if let Some(meaning) = stopped(bare, names)? {
        return Ok((meaning, Vec::new()));
    }
    let running: Vec<&Cgroup> = all(&|c| c.container().is_some());
    Err(NotFound::Unknown(if running.is_empty() {
        "no container is running".to_owned()
    } else {
        format!("running are {}", list(&running, names, SHORT_ID))
    }))
}

/// What does not run but is known to be there.
fn stopped(bare: &str, names: &Names) -> Result<Option<Meaning>, NotFound> {
    if names.ids(bare).next().is_some() {
        return Ok(Some(Meaning::Name(bare.to_owned())));
    }
    if bare.len() >= SHORTEST_PREFIX && bare.bytes().all(|c| c.is_ascii_hexdigit()) {
        let prefix = bare.to_ascii_lowercase();
        let mut ids: Vec<&str> = names.begun(&prefix).collect();
        ids.sort_unstable();
        match ids.as_slice() {
            [] => {}
            [id] => return Ok(Some(Meaning::Id((*id).to_owned()))),
            several => {
                let several: Vec<&str> = several
                    .iter()
                    .take(LISTED)
                    .map(|id| id.get(..2 * SHORT_ID).unwrap_or(id))
                    .collect();
                return Err(NotFound::Ambiguous(several.join(", ")));
            }
        }
    }
    let service = format!("{bare}.service");
    let unit = [bare, service.as_str()]
        .into_iter()
        .find(|name| is_unit(name) && names.is_unit(name));
    Ok(unit.map(|name| Meaning::Directory(name.to_owned())))
}

/// Where systemd, Docker and Podman make the cgroup of what does not run yet.
/// Others are recognised when they are made.
fn expected(meaning: &Meaning, tree: &Tree, names: &Names) -> Vec<Cgroup> {
    let ids: Vec<&str> = match meaning {
        Meaning::Id(id) => vec![id],
        Meaning::Name(name) => names.trusted_ids(name).collect(),
        Meaning::Directory(_) | Meaning::Path(_) => Vec::new(),
    };
    let mut places: Vec<(&str, String)> = Vec::new();
    if let Meaning::Directory(name) = meaning {
        places.push(("/system.slice", name.clone()));
    }
    for id in ids {
        places.push(("/docker", id.to_owned()));
        places.push(("/system.slice", format!("docker-{id}.scope")));
        places.push(("/libpod_parent", format!("libpod-{id}")));
        places.push(("/machine.slice", format!("libpod-{id}.scope")));
    }
    let mut found = Vec::new();
    for (parent, name) in places {
        for above in tree.cgroups.iter().filter(|c| c.path == parent) {
            found.push(Cgroup {
                hierarchy: above.hierarchy,
                id: 0,
                parent: above.id,
                path: format!("{parent}/{name}"),
                directory: above.directory.join(&name),
            });
        }
    }
    found
}

/// Whether this is the name of a systemd unit.
pub(super) fn is_unit(text: &str) -> bool {
    !text.contains('/') && UNITS.iter().any(|end| text.ends_with(end))
}

/// Whether an id of the usual form begins with `prefix`.
pub(super) fn is_begun(id: &str, prefix: &str) -> bool {
    id.len() == 64 && id.starts_with(prefix)
}

fn note_several(text: &str, what: &str, mut found: Vec<String>, notes: &mut Vec<String>) {
    found.sort();
    found.dedup();
    if found.len() > 1 {
        notes.push(format!(
            "--container {text}: {} {what} are called so, all are watched",
            found.len()
        ));
    }
}

fn ids(cgroups: &[&Cgroup]) -> Vec<String> {
    let mut ids: Vec<String> = cgroups.iter().filter_map(|c| c.container()).collect();
    ids.sort();
    ids.dedup();
    ids
}

fn paths(cgroups: &[&Cgroup]) -> Vec<String> {
    cgroups.iter().map(|c| c.path.clone()).collect()
}

/// Containers for people: `web (0123456789ab), …`.
fn list(cgroups: &[&Cgroup], names: &Names, length: usize) -> String {
    let mut seen: Vec<(String, String)> = Vec::new();
    for cgroup in cgroups {
        let Some(id) = cgroup.container() else {
            continue;
        };
        if seen.iter().any(|(known, _)| *known == id) {
            continue;
        }
        let brief = id.get(..length).unwrap_or(&id);
        let text = match names.of(&id, &cgroup.path).next() {
            Some(name) => format!("{name} ({brief})"),
            None => brief.to_owned(),
        };
        seen.push((id, text));
    }
    let mut texts: Vec<String> = seen.into_iter().map(|(_, text)| text).collect();
    texts.sort();
    let more = texts.len().saturating_sub(LISTED);
    texts.truncate(LISTED);
    let mut text = texts.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// In which hierarchies the kernel side must look. Version 2 whenever it has
/// any of them; one of version 1 where version 2 lacks some, or has them
/// empty (engines on hybrid machines).
fn hierarchies(tree: &Tree, found: &[Vec<&Cgroup>]) -> (bool, Option<Controller>) {
    let is_populated = |c: &Cgroup| {
        !c.processes().is_empty() || c.descendants().iter().any(|c| !c.processes().is_empty())
    };
    // Where what does not run yet will be is not known: everywhere.
    let open = found.iter().any(Vec::is_empty);
    let unified = found.iter().flatten().any(|c| c.hierarchy == 0)
        || open && tree.hierarchies.iter().any(|h| h.number == 0);
    let lacking: Vec<&Vec<&Cgroup>> = found
        .iter()
        .filter(|cgroups| {
            !cgroups.iter().any(|c| c.hierarchy == 0 && is_populated(c))
                && cgroups.iter().any(|c| c.hierarchy != 0)
        })
        .collect();
    let mut best: Option<(usize, usize, Controller)> = None;
    for hierarchy in &tree.hierarchies {
        let covered = lacking
            .iter()
            .filter(|cgroups| cgroups.iter().any(|c| c.hierarchy == hierarchy.number))
            .count();
        let Some((rank, name)) = hierarchy
            .controllers
            .iter()
            .filter_map(|name| Some((PREFERRED.iter().position(|p| p == name)?, name)))
            .min()
        else {
            continue;
        };
        let rank = PREFERRED.len() - rank;
        if (covered > 0 || open)
            && best
                .as_ref()
                .is_none_or(|(c, r, _)| (covered, rank) > (*c, *r))
        {
            let controller = Controller {
                name: name.clone(),
                hierarchy: hierarchy.number,
            };
            best = Some((covered, rank, controller));
        }
    }
    (unified, best.map(|(_, _, controller)| controller))
}

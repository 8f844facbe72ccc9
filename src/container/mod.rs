//! Which cgroups `--container` means: by the names of their directories and
//! by what container engines note about their containers in files. No daemon
//! is asked.
//!
//! A cgroup is known to the kernel side by its hierarchy and its id, which is
//! the inode number of its directory. Machines with version 2 have one
//! hierarchy; those with version 1 one per controller, and hybrid ones both.

mod budget;
mod name;
mod names;
mod select;
#[cfg(test)]
mod tests;
mod tree;

pub use name::ContainerName;
pub use names::Names;
pub use select::{NotFound, Selection, Wants};
pub use tree::{Cgroup, Controller, Hierarchy, Tree};

/// How much of an id is shown, as `docker ps` does.
pub const SHORT_ID: usize = 12;

/// The beginning of a container id, for people.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

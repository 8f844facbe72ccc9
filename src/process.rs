//! Who: the facts about a process that every output shows.

/// A process as it was when it was first seen with its present program.
///
/// It is created left of the engine (from kernel records and `/proc`, or from
/// the comments of a capture file), shared by `Arc`, and never changed: after
/// an exec there is a new one. With `--redact`, `cmdline` is masked already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Process id (thread group id) in the pid namespace of the user.
    pub pid: u32,
    /// When it started, in clock ticks or nanoseconds of the kernel: tells a
    /// reused pid from its predecessor. 0 when unknown.
    pub start: u64,
    /// The process's name (`comm` of its main thread, at most 15 bytes).
    pub comm: Vec<u8>,
    /// The executable's path; `None` when unknown (a kernel thread, or gone).
    pub exe: Option<Vec<u8>>,
    /// Arguments, the program's name first. Empty when unknown.
    pub cmdline: Vec<Vec<u8>>,
    /// `cmdline` was longer than the 4 KiB that are kept.
    pub cmdline_cut: bool,
    /// Effective user id; `None` when unknown.
    pub uid: Option<u32>,
    /// Container id from the cgroup; `None` outside a container.
    pub container: Option<String>,
    /// What its engine calls that container; `None` when it is not known.
    pub container_name: Option<String>,
}

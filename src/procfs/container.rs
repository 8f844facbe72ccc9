//! Tells the container of a process by the names of its cgroups.

/// The container id in the text of `/proc/PID/cgroup`, versions 1 and 2;
/// `None` outside a container, and for a monitor that only belongs to one.
///
/// With nested containers the innermost counts.
#[must_use]
pub fn container_of(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| {
        // hierarchy:controllers:path; the path may hold colons.
        let path = line.splitn(3, ':').nth(2)?;
        let mut parts = path.rsplit('/').peekable();
        while let Some(part) = parts.next() {
            if let Some(id) = container_of_directory(part) {
                return Some(id);
            }
            // LXC before version 4: /lxc/NAME, and below it what the
            // container makes of it.
            if parts.peek() == Some(&"lxc") && !part.is_empty() {
                return Some(part.to_owned());
            }
        }
        None
    })
}

/// The container id in the name of one cgroup directory, such as
/// `docker-<id>.scope`, `cri-containerd-<id>.scope` or `<id>`.
#[must_use]
pub fn container_of_directory(name: &str) -> Option<String> {
    if let Some(name) = name.strip_prefix("lxc.payload.") {
        return (!name.is_empty()).then(|| name.to_owned());
    }
    let name = name.strip_suffix(".scope").unwrap_or(name);
    // The runtime's name stands before a `-`, with containerd's own cgroup
    // driver before a `:`.
    let (runtime, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    if is_hex(id, 64) {
        // conmon watches a container from outside.
        return (!runtime.ends_with("conmon")).then(|| id.to_owned());
    }
    // Fargate: the task's id and a number.
    let number = (1..=20).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_digit());
    (is_hex(runtime, 32) && number).then(|| name.to_owned())
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

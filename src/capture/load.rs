//! Opens, sets up and loads the BPF object.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use libbpf_rs::skel::{OpenSkel as _, Skel as _, SkelBuilder as _};
use libbpf_rs::{MapCore as _, MapFlags};

use super::bpf::{HttpsniffSkel, HttpsniffSkelBuilder, OpenHttpsniffSkel};
use super::kernel::Kernel;
use super::{Plaintext, Settings, containers};

/// The smallest ring that makes sense: a few of the largest records.
const RING_MIN: u32 = 1 << 20;
/// The initial pid namespace has a fixed inode (include/linux/proc_ns.h).
const INIT_PID_NS: u64 = 0xEFFF_FFFC;

/// Loads the programs that `plaintext` and the settings ask for.
pub(super) fn load(
    settings: &Settings,
    kernel: Kernel,
    plaintext: Plaintext,
) -> Result<HttpsniffSkel<'static>> {
    // One object per run, which the skeleton borrows for as long as it lives.
    let storage = Box::leak(Box::new(MaybeUninit::uninit()));
    let mut open = HttpsniffSkelBuilder::default()
        .open(storage)
        .context("cannot open the BPF object")?;
    set_up(&mut open, settings, kernel)?;
    choose(&mut open, settings, kernel, plaintext);
    let skel = open
        .load()
        .context("the kernel refused the BPF programs (see `httpsniff --check`)")?;
    wire_emitters(&skel)?;
    Ok(skel)
}

fn set_up(open: &mut OpenHttpsniffSkel<'_>, settings: &Settings, kernel: Kernel) -> Result<()> {
    let ring = settings.ring_bytes.max(RING_MIN).next_power_of_two();
    open.maps
        .events
        .set_max_entries(ring)
        .context("cannot set the size of the ring buffer")?;
    // Tables that nothing is put into: their memory would be cleared for nothing.
    for (table, wanted) in [
        (&mut open.maps.flows, settings.tls_flows),
        (
            &mut open.maps.watched_cgroups,
            settings.containers.is_some(),
        ),
        (&mut open.maps.calls, kernel.kprobes),
    ] {
        if !wanted {
            table
                .set_max_entries(1)
                .context("cannot set the size of a table")?;
        }
    }
    let Some(rodata) = open.maps.rodata_data.as_deref_mut() else {
        return Ok(());
    };
    rodata.own_pid = std::process::id();
    rodata.filter_pids = settings.selects_pids();
    rodata.filter_uids = !settings.uids.is_empty();
    rodata.want_tcp = !settings.no_tcp;
    rodata.want_tls = !settings.no_tls;
    rodata.want_flows = settings.tls_flows;
    rodata.recvmsg_flags_arg = kernel.recvmsg_flags_arg;
    rodata.wakeup_bytes = u64::from(ring / 8).min(1 << 20);
    let namespace =
        std::fs::metadata("/proc/self/ns/pid").context("cannot look at /proc/self/ns/pid")?;
    if namespace.ino() != INIT_PID_NS {
        rodata.pidns_dev = namespace.dev();
        rodata.pidns_ino = namespace.ino();
    }
    if let Some(selection) = &settings.containers {
        containers::set_up(open, selection)?;
    }
    Ok(())
}

/// Programs that are not used are not loaded: an old kernel may not know
/// what they call.
fn choose(
    open: &mut OpenHttpsniffSkel<'_>,
    settings: &Settings,
    kernel: Kernel,
    plaintext: Plaintext,
) {
    let socket = plaintext == Plaintext::Socket;
    let kprobe = plaintext == Plaintext::Kprobe;
    let single = !settings.no_tls && !kernel.uprobe_multi;
    let multi = !settings.no_tls && kernel.uprobe_multi;
    let progs = &mut open.progs;
    for (program, wanted) in [
        (&mut progs.flow_count, settings.tls_flows),
        (&mut progs.socket_emitter, socket),
        (&mut progs.sock_send, socket),
        (&mut progs.sock_recv, socket),
        (&mut progs.kprobe_emitter, kprobe),
        (&mut progs.tcp_sendmsg_enter, kprobe),
        (&mut progs.tcp_sendpage_enter, kprobe),
        (&mut progs.tcp_sendmsg_locked_enter, kprobe),
        (&mut progs.tcp_push_enter, kprobe),
        (&mut progs.tcp_sendmsg_exit, kprobe && !kernel.tcp_push),
        (&mut progs.tcp_recvmsg_enter, kprobe),
        (&mut progs.tcp_cleanup_rbuf_enter, kprobe),
        (
            &mut progs.tcp_recvmsg_exit,
            kprobe && !kernel.tcp_cleanup_rbuf,
        ),
        (&mut progs.tcp_splice_read_enter, kprobe),
        (&mut progs.tls_emitter, single),
        (&mut progs.tls_single_enter, single && kernel.cookies),
        (&mut progs.tls_single_exit, single && kernel.cookies),
        (&mut progs.rustls_single_enter, single && kernel.cookies),
        (&mut progs.rustls_single_exit, single && kernel.cookies),
        (&mut progs.rustls_multi_enter, multi),
        (&mut progs.rustls_multi_exit, multi),
        (&mut progs.tls_multi_emitter, multi),
        (&mut progs.tls_multi_enter, multi),
        (&mut progs.tls_multi_exit, multi),
        (&mut progs.cgroup_made, settings.containers.is_some()),
        (&mut progs.cgroup_gone, settings.containers.is_some()),
    ] {
        program.set_autoload(wanted);
    }
}

/// The object once more, with the two TLS programs for places of one kind and
/// all else shared with `main`: for kernels without cookies.
pub(super) fn load_for_cookie(
    main: &HttpsniffSkel<'static>,
    settings: &Settings,
    kernel: Kernel,
    cookie: u64,
    exit: bool,
    rustls: bool,
) -> Result<HttpsniffSkel<'static>> {
    let storage = Box::leak(Box::new(MaybeUninit::uninit()));
    let mut open = HttpsniffSkelBuilder::default()
        .open(storage)
        .context("cannot open the BPF object")?;
    set_up(&mut open, settings, kernel)?;
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        rodata.fixed_cookie = cookie;
    }
    for mut program in open.open_object_mut().progs_mut() {
        let wanted = match (rustls, exit) {
            (false, false) => "tls_single_enter",
            (false, true) => "tls_single_exit",
            (true, false) => "rustls_single_enter",
            (true, true) => "rustls_single_exit",
        };
        let wanted = program.name() == wanted;
        program.set_autoload(wanted);
    }
    let shared: Vec<_> = main.object().maps().collect();
    for mut map in open.open_object_mut().maps_mut() {
        if map.name().to_string_lossy().ends_with(".rodata") {
            continue;
        }
        if let Some(same) = shared.iter().find(|other| other.name() == map.name()) {
            map.reuse_fd(same.as_fd())
                .context("cannot share a map of the BPF object")?;
        }
    }
    open.load()
        .context("the kernel refused the BPF programs (see `httpsniff --check`)")
}

/// Puts each emitter into the array through which its hooks reach it.
fn wire_emitters(skel: &HttpsniffSkel<'_>) -> Result<()> {
    let maps = &skel.maps;
    let progs = &skel.progs;
    for (map, program) in [
        (&maps.socket_emitters, &progs.socket_emitter),
        (&maps.kprobe_emitters, &progs.kprobe_emitter),
        (&maps.tls_emitters, &progs.tls_emitter),
        (&maps.tls_multi_emitters, &progs.tls_multi_emitter),
    ] {
        if !program.autoload() {
            continue;
        }
        let fd = program.as_fd().as_raw_fd();
        map.update(&0u32.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY)
            .context("cannot link the BPF programs")?;
    }
    Ok(())
}

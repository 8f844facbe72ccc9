//! What the command line means: every value checked, every contradiction
//! found, the outputs decided. What follows can rely on it.

mod parse;
mod who;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{BackendName, Cli, Color, Form};
use crate::command;
use crate::container::Selection;
use crate::filter::{Filter, parse_port};
use crate::glob::Glob;
use crate::output::file::Place;
use crate::redact::Redact;
use crate::tls::named::{Named, NamedError};

/// Exit status of wrong usage.
const USAGE: u8 = 2;
/// Default of `--max-body` in bytes.
const MAX_BODY: u64 = 1 << 20;
/// Default of `--buffer` in bytes.
const RING_BYTES: u32 = 64 << 20;

/// Why a run cannot begin or go on: one sentence for the user, and the exit
/// status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The sentence, without the program's name.
    pub message: String,
    /// Exit status.
    pub status: u8,
}

impl Failure {
    /// Wrong usage: exit status 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: USAGE,
        }
    }

    /// Something went wrong: exit status 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status: 1,
        }
    }
}

/// What the options depend on beside the command line.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// stdin is a terminal.
    pub stdin_terminal: bool,
    /// stdout is a terminal.
    pub stdout_terminal: bool,
    /// stderr is a terminal.
    pub stderr_terminal: bool,
    /// `NO_COLOR` is set, or `TERM` is dumb.
    pub plain: bool,
    /// `PATH`.
    pub path: OsString,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        use std::io::IsTerminal;
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        Self {
            stdin_terminal: std::io::stdin().is_terminal(),
            stdout_terminal: std::io::stdout().is_terminal(),
            stderr_terminal: std::io::stderr().is_terminal(),
            plain: is_set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|t| t == "dumb"),
            path: std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
        }
    }
}

/// A run, validated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the bytes come from.
    pub source: Source,
    /// Which exchanges are wanted.
    pub filter: Filter,
    /// What to mask.
    pub redact: Option<Redact>,
    /// Bytes kept of each body.
    pub max_body: u64,
    /// TLS connections that are not read are shown.
    pub tls_flows: bool,
    /// Stop after so many exchanges.
    pub count: Option<u64>,
    /// Text, JSON or HAR, if any is shown.
    pub shown: Option<Shown>,
    /// Where the pcapng goes, if there is one.
    pub pcapng: Option<Place>,
    /// Where the HAR of `-w FILE.har` goes, if there is one.
    pub har: Option<Place>,
    /// Remarks for stderr.
    pub notes: Vec<String>,
}

/// Where the bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The kernel.
    Live(Live),
    /// A capture file; `-` is stdin.
    File(PathBuf),
}

/// What only a live run has.
#[derive(Clone, Debug)]
pub struct Live {
    /// How plaintext sockets are read.
    pub backend: BackendName,
    /// Not at all.
    pub no_tcp: bool,
    /// TLS libraries are left alone.
    pub no_tls: bool,
    /// The ends of their functions are watched without return probes.
    pub no_uretprobes: bool,
    /// Files to attach to.
    pub libraries: Vec<Named>,
    /// Processes to watch; empty: all, or COMMAND's.
    pub pids: Vec<u32>,
    /// And their descendants.
    pub follow: bool,
    /// Users to watch; empty: all.
    pub uids: Vec<u32>,
    /// Containers and units to watch; `None`: all.
    pub containers: Option<Box<Selection>>,
    /// Size of the ring buffer in bytes.
    pub ring_bytes: u32,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// Created once capturing has begun.
    pub ready_file: Option<PathBuf>,
    /// Only say what this machine allows.
    pub check: bool,
    /// COMMAND, if there is one.
    pub command: Option<CommandLine>,
}

/// COMMAND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Program and arguments.
    pub words: Vec<OsString>,
    /// The file that the program's name means.
    pub path: PathBuf,
}

/// Text or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub form: Form,
    /// Where.
    pub place: Place,
    /// 0, 1 (headers), 2 (bodies).
    pub detail: u8,
    /// With colour.
    pub color: bool,
    /// Times in UTC.
    pub utc: bool,
    /// Requests too, as soon as they are there.
    pub partial: bool,
    /// All processes are of one container.
    pub one_container: bool,
}

impl Options {
    /// Works out what `cli` means.
    pub fn new(cli: Cli, around: &Surroundings) -> Result<Self, Failure> {
        let place = |path: &Option<PathBuf>| path.as_deref().map(Place::of);
        let (written, output_file) = (place(&cli.write), place(&cli.output_file));
        let with_command = !cli.command.is_empty();

        contradictions(&cli, around)?;
        let shown = shown(&cli, &written, output_file, around)?;
        let is_har = cli.write.as_deref().is_some_and(is_har);
        if let (Some(shown), Some(written)) = (&shown, &written)
            && shown.place == *written
        {
            return Err(Failure::usage(format!(
                "{} cannot take both {} and {}: send one elsewhere with -O FILE or -w FILE",
                written.name(),
                form_name(shown.form),
                if is_har { "har" } else { "pcapng" },
            )));
        }
        let (har, pcapng) = if is_har {
            (written, None)
        } else {
            (None, written)
        };
        if pcapng == Some(Place::Stdout) && with_command {
            return Err(Failure::usage(
                "-w - is refused with a command, whose stdout it is: name a file or a FIFO",
            ));
        }
        if pcapng == Some(Place::Stdout) && around.stdout_terminal
            || pcapng == Some(Place::Stderr) && around.stderr_terminal
        {
            return Err(Failure::usage(
                "a pcapng is not for a terminal: name a file, or pipe it: -w - | wireshark -k -i -",
            ));
        }

        let mut notes = Vec::new();
        let filter = filter(&cli)?;
        let redact = redact(&cli.redact);
        let max_body = match &cli.max_body {
            Some(text) => parse::size("--max-body", text)?,
            None => MAX_BODY,
        };
        let count = cli
            .count
            .as_deref()
            .map(|t| parse::count("--count", t))
            .transpose()?;
        let tls_flows = cli.tls_flows;
        let source = match cli.read {
            Some(path) => Source::File(path),
            None => Source::Live(live(cli, around, &mut notes)?),
        };
        Ok(Self {
            source,
            filter,
            redact,
            max_body,
            tls_flows,
            count,
            shown,
            pcapng,
            har,
            notes,
        })
    }
}

const fn form_name(form: Form) -> &'static str {
    match form {
        Form::Text => "text",
        Form::Json => "json",
        Form::Har => "har",
    }
}

/// Whether `-w` means a HAR.
fn is_har(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("har"))
}

/// Options that exclude each other.
fn contradictions(cli: &Cli, around: &Surroundings) -> Result<(), Failure> {
    let with_command = !cli.command.is_empty();
    if let Some(read) = &cli.read {
        let live = [
            (with_command, "a command"),
            (cli.follow, "--follow"),
            (cli.duration.is_some(), "--duration"),
            (cli.backend.is_some(), "--backend"),
            (cli.no_tcp, "--no-tcp"),
            (cli.no_tls, "--no-tls"),
            (cli.no_uretprobes, "--no-uretprobes"),
            (!cli.lib.is_empty(), "--lib"),
            (cli.buffer.is_some(), "--buffer"),
            (cli.check, "--check"),
            (cli.ready_file.is_some(), "--ready-file"),
        ];
        if let Some((_, name)) = live.iter().find(|(given, _)| *given) {
            return Err(Failure::usage(format!(
                "{name} is for live capturing: it cannot be used with -r"
            )));
        }
        if read == Path::new("-") && around.stdin_terminal {
            return Err(Failure::usage(
                "-r - reads stdin, which is a terminal: name a file, or pipe a capture in",
            ));
        }
        // Files that exist are compared by inode when they are open.
        if cli.write.as_ref() == Some(read) && Place::of(read) != Place::Stdout {
            return Err(same_file(read));
        }
    }
    if with_command && !cli.pid.is_empty() {
        return Err(Failure::usage(
            "--pid and a command exclude each other: the command is watched by itself",
        ));
    }
    if cli.follow && cli.pid.is_empty() && !with_command {
        return Err(Failure::usage(
            "--follow needs --pid: without it every process is watched already",
        ));
    }
    if with_command && !cli.container.is_empty() {
        return Err(Failure::usage(
            "--container and a command exclude each other: the command would run outside of it",
        ));
    }
    if cli.no_tcp && cli.no_tls {
        return Err(Failure::usage(
            "--no-tcp and --no-tls together leave nothing to watch: leave one out",
        ));
    }
    Ok(())
}

/// The sentence for a capture that would be read and written at once.
#[must_use]
pub fn same_file(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} would be read and written at the same time: name another file to write",
        path.display()
    ))
}

/// What is shown, and where.
fn shown(
    cli: &Cli,
    written: &Option<Place>,
    output_file: Option<Place>,
    around: &Surroundings,
) -> Result<Option<Shown>, Failure> {
    let form = cli.output.unwrap_or(Form::Text);
    if form == Form::Har && cli.partial {
        return Err(Failure::usage(
            "--partial is for text and json: a HAR holds whole exchanges",
        ));
    }
    let asked = cli.output.is_some() || output_file.is_some() || cli.verbose > 0 || cli.partial;
    if written.is_some() && !asked && (*written == Some(Place::Stdout) || !around.stdout_terminal) {
        return Ok(None);
    }
    let place = match (output_file, cli.command.is_empty(), form) {
        (Some(place), _, _) => place,
        (None, true, _) => Place::Stdout,
        // As strace does: stdout is the command's.
        (None, false, Form::Text) => Place::Stderr,
        (None, false, Form::Json | Form::Har) => {
            return Err(Failure::usage(format!(
                "{} with a command needs -O FILE, for stdout is the command's (-O - if stdout is really meant)",
                form_name(form),
            )));
        }
    };
    let terminal = match place {
        Place::Stdout => around.stdout_terminal,
        Place::Stderr => around.stderr_terminal,
        Place::Descriptor(_) | Place::Path(_) => false,
    };
    let color = match cli.color.unwrap_or(Color::Auto) {
        Color::Auto => terminal && !around.plain,
        Color::Always => true,
        Color::Never => false,
    };
    Ok(Some(Shown {
        form,
        place,
        detail: cli.verbose.min(2),
        color,
        utc: cli.utc,
        partial: cli.partial,
        one_container: cli.container.len() == 1,
    }))
}

fn live(cli: Cli, around: &Surroundings, notes: &mut Vec<String>) -> Result<Live, Failure> {
    let ring_bytes = match &cli.buffer {
        Some(text) => ring_bytes(text)?,
        None => RING_BYTES,
    };
    let duration = cli
        .duration
        .as_deref()
        .map(|t| parse::duration("--duration", t))
        .transpose()?;
    let uids = who::users(&cli.uid)?;
    let containers = who::containers(&cli.container, notes)?;
    let pids = who::running(&who::pids(&cli.pid)?, notes)?;
    let libraries = cli
        .lib
        .iter()
        .map(|text| {
            Named::parse(text).map_err(|error| match error {
                NamedError::NoFile(_) => Failure::failed(format!("--lib {error}")),
                NamedError::Wrong(_) => Failure::usage(format!("--lib {error}")),
            })
        })
        .collect::<Result<_, _>>()?;
    let command = match cli.command.first() {
        Some(program) => Some(CommandLine {
            path: resolve(program, &around.path)?,
            words: cli.command,
        }),
        None => None,
    };
    Ok(Live {
        backend: cli.backend.unwrap_or(BackendName::Auto),
        no_tcp: cli.no_tcp,
        no_tls: cli.no_tls,
        no_uretprobes: cli.no_uretprobes,
        libraries,
        pids,
        follow: cli.follow || command.is_some(),
        uids,
        containers: containers.map(Box::new),
        ring_bytes,
        duration,
        ready_file: cli.ready_file,
        check: cli.check,
        command,
    })
}

fn resolve(program: &OsStr, path: &OsStr) -> Result<PathBuf, Failure> {
    command::resolve(program, path).map_err(|error| Failure {
        message: error.message,
        status: error.status,
    })
}

/// A ring buffer is mapped memory that no swap takes: neither useless nor all
/// of it.
fn ring_bytes(text: &str) -> Result<u32, Failure> {
    let bytes = parse::size("--buffer", text)?;
    match u32::try_from(bytes) {
        Ok(bytes) if (256 << 10..=1 << 30).contains(&bytes) => Ok(bytes),
        _ => Err(Failure::usage(format!(
            "--buffer {text} is out of range: from 256k to 1G"
        ))),
    }
}

fn redact(values: &[String]) -> Option<Redact> {
    if values.is_empty() {
        return None;
    }
    let names: Vec<String> = values
        .iter()
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .filter(|n| !n.is_empty())
        .map(str::to_owned)
        .collect();
    Some(Redact::new(&names))
}

/// What is wanted. Live, the kernel side decides who is watched: a pid here
/// would drop the descendants that `--follow` asks for.
fn filter(cli: &Cli) -> Result<Filter, Failure> {
    let comms = cli
        .comm
        .iter()
        .map(|text| Glob::new(text).map_err(|error| parse::wrong_pattern("--comm", text, &error)));
    let ports = parse::items("--port", &cli.port)?;
    let ports = ports
        .into_iter()
        .map(|text| parse_port(text).map_err(|error| parse::wrong_pattern("--port", text, &error)));
    Ok(Filter {
        pids: if cli.read.is_some() {
            who::pids(&cli.pid)?
        } else {
            Vec::new()
        },
        uids: who::users(&cli.uid)?,
        comms: comms.collect::<Result<_, _>>()?,
        exes: parse::patterns("--exe", &cli.exe, false)?,
        hosts: parse::patterns("--host", &cli.host, false)?,
        methods: parse::patterns("--method", &cli.method, true)?,
        paths: parse::patterns("--path", &cli.path, false)?,
        statuses: parse::patterns("--status", &cli.status, true)?,
        ports: ports.collect::<Result<_, _>>()?,
        containers: if cli.read.is_some() {
            who::containers_of_file(&cli.container)?
        } else {
            Vec::new()
        },
    })
}

#[cfg(test)]
mod tests;

//! What may be typed: the options as clap sees them, nothing checked beyond
//! their form. What they mean is worked out in [`crate::options`].
//!
//! clap's own errors are turned into the one sentence that every usage error
//! of httpsniff is, with the likely cure.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are the text of --help, where [::1] is an address"
)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Parser, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  sudo httpsniff                                what the whole machine sends and receives
  sudo httpsniff -p 4242 -f -v                  a process and its descendants, with headers
  sudo httpsniff -- curl -s https://example.com a command, from its first byte on
  sudo httpsniff --comm nginx --status 5xx      failures of one server
  sudo httpsniff -H 'api.*' -m POST -vv         bodies of what is posted to some hosts
  sudo httpsniff -w out.pcapng                  for Wireshark, decrypted, process in a comment
  sudo httpsniff --port 8443 -w - | wireshark -k -i -
  sudo httpsniff -o json | jq -r .request.url   one JSON object per line
  sudo httpsniff -w out.har                     for the network panel of a browser
  httpsniff -r out.pcapng --path '/v1/*' -vv    read a capture again; needs no root
  sudo httpsniff --check                        what this machine allows

GLOB knows * (anything) and ? (one character); all else is literal. The same
option given again means \"or\", different options mean \"and\".
SIZE is in bytes, or with k, M, G (1024, 1024², 1024³): 64k, 20M, 1MiB.
A time is 500ms, 10s, 5m or 1h; without a unit it is in seconds.

Exit status: 0 done, 1 failed, 2 wrong usage; with COMMAND that of the command
(128+N if a signal ended it, 127 not found, 126 not executable).";

/// What was typed.
#[derive(Debug, Default, Parser)]
#[command(
    name = "httpsniff",
    version,
    about = "Shows the HTTP that a process sends and receives, in clear and inside TLS",
    long_about = "Shows the HTTP that a Linux process sends and receives, in clear and inside TLS, \
                  as it happens, by eBPF: no proxy, no certificate, no restart of the target.\n\n\
                  Without a selector it shows the whole machine. What it shows holds passwords \
                  and tokens: see --redact.",
    override_usage = "httpsniff [OPTIONS] [-- COMMAND [ARG…]]\n       httpsniff [OPTIONS] -r FILE",
    after_help = "--help says more, with examples.",
    after_long_help = EXAMPLES,
    disable_help_flag = true,
    disable_version_flag = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Watch these processes (repeat, or a,b,c)
    ///
    /// In the pid namespace of the caller. A thread's id means its process.
    /// When all of them have ended, httpsniff ends too.
    #[arg(short, long, value_name = "PID", help_heading = "Who")]
    pub pid: Vec<String>,

    /// And their descendants, those that exist already too
    #[arg(short, long, help_heading = "Who")]
    pub follow: bool,

    /// Name of the process or of the thread (as in ps -o comm)
    #[arg(long, value_name = "GLOB", help_heading = "Who")]
    pub comm: Vec<String>,

    /// Executable: its name, or its path if GLOB has a slash
    #[arg(long, value_name = "GLOB", help_heading = "Who")]
    pub exe: Vec<String>,

    /// Processes of this user, by name or number
    #[arg(long, value_name = "USER", help_heading = "Who")]
    pub uid: Vec<String>,

    /// Container (id or name) or systemd unit, with all that is in it
    ///
    /// Docker's, Podman's, containerd's (Kubernetes, nerdctl), CRI-O's and
    /// LXC's, by id, the beginning of an id, name, or POD/NAME; or any cgroup
    /// by name or path: nginx.service, user-1000.slice. One that does not run
    /// is watched when it starts, and whenever it starts again.
    #[arg(long, value_name = "ID or NAME", help_heading = "Who")]
    pub container: Vec<String>,

    /// Host of the request: its authority, Host or :authority
    ///
    /// Case, a trailing dot and the port do not matter, but the port does if
    /// GLOB has one: 'api.*', '*.example.com:8443', '[::1]'.
    #[arg(short = 'H', long, value_name = "GLOB", help_heading = "What")]
    pub host: Vec<String>,

    /// Method of the request
    #[arg(short, long, value_name = "M", help_heading = "What")]
    pub method: Vec<String>,

    /// Path of the request, its query left out unless GLOB has a \?
    #[arg(long, value_name = "GLOB", help_heading = "What")]
    pub path: Vec<String>,

    /// Status of the response: 404, 5xx or 400-499
    ///
    /// Whether an exchange is wanted is known when its response begins:
    /// nothing of it is shown before that.
    #[arg(long, value_name = "STATUS", help_heading = "What")]
    pub status: Vec<String>,

    /// TCP port of either end
    #[arg(long, value_name = "N", help_heading = "What")]
    pub port: Vec<String>,

    /// Write a pcapng for Wireshark to FILE (- is stdout), or a HAR to FILE.har
    ///
    /// With FILE, text is shown too when stdout is a terminal, or with -o.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub write: Option<PathBuf>,

    /// Form of what is shown [default: text]
    #[arg(
        short,
        long,
        value_name = "FORM",
        help_heading = "Output",
        hide_default_value = true
    )]
    pub output: Option<Form>,

    /// Show it in FILE instead of stdout (- is stdout)
    ///
    /// With COMMAND stdout is the command's: text then goes to stderr, and
    /// json and har need this option.
    #[arg(short = 'O', long, value_name = "FILE", help_heading = "Output")]
    pub output_file: Option<PathBuf>,

    /// Text with headers; -vv with bodies
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// Colour in text [default: auto]
    ///
    /// auto: on a terminal, unless NO_COLOR is set or TERM is dumb.
    #[arg(
        long,
        value_name = "WHEN",
        help_heading = "Output",
        hide_default_value = true
    )]
    pub color: Option<Color>,

    /// Times in UTC, not in local time
    #[arg(long, help_heading = "Output")]
    pub utc: bool,

    /// Show a request as soon as its header is there
    ///
    /// In JSON a line of kind "request"; the exchange still comes at its end.
    /// Not in HAR.
    #[arg(long, help_heading = "Output")]
    pub partial: bool,

    /// Show TLS connections that cannot be read: server name, bytes, why
    ///
    /// A line each when they end. In JSON of kind "tls"; not in pcapng and
    /// HAR, and not among the exchanges that --count counts.
    #[arg(long, help_heading = "Output")]
    pub tls_flows: bool,

    /// Mask secrets in every output, and what has these names
    ///
    /// Authorization, cookies, API keys and the like, query parameters such
    /// as token= and password=, and what follows -u, --user and -H in command
    /// lines become asterisks of equal length. NAMEs are further header
    /// fields or query parameters.
    #[arg(
        long,
        value_name = "NAME,…",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        action = ArgAction::Append,
        help_heading = "Output"
    )]
    pub redact: Vec<String>,

    /// Bytes kept of each body; the rest is counted [default: 1MiB]
    ///
    /// Never cuts a pcapng.
    #[arg(long, value_name = "SIZE", help_heading = "Output")]
    pub max_body: Option<String>,

    /// Stop after N exchanges
    #[arg(short, long, value_name = "N", help_heading = "Stop")]
    pub count: Option<String>,

    /// Stop after this time: 500ms, 10s, 5m, 1h
    #[arg(long, value_name = "TIME", help_heading = "Stop")]
    pub duration: Option<String>,

    /// Read a pcapng or pcap instead of the kernel (- is stdin)
    #[arg(short, long, value_name = "FILE", help_heading = "Capture")]
    pub read: Option<PathBuf>,

    /// How plaintext sockets are read [default: auto]
    ///
    /// auto takes the first that the kernel allows and says which.
    #[arg(
        long,
        value_name = "WHICH",
        help_heading = "Capture",
        hide_default_value = true
    )]
    pub backend: Option<BackendName>,

    /// Leave plaintext sockets alone
    #[arg(long, help_heading = "Capture")]
    pub no_tcp: bool,

    /// Leave TLS libraries alone
    #[arg(long, help_heading = "Capture")]
    pub no_tls: bool,

    /// Watch where functions of TLS libraries end by plain uprobes on their last instructions,
    /// not by return probes (chosen by itself where the kernel's return probes would kill
    /// programs that confine themselves by seccomp)
    #[arg(long, help_heading = "Capture")]
    pub no_uretprobes: bool,

    /// A TLS library or program to attach to, beside those that are found
    ///
    /// For a program that keeps no symbols, add where its functions are:
    /// `--lib FILE@SSL_read=0x41e10,SSL_write=0x41f30`. Addresses are those
    /// that nm or objdump print for such a program before it is stripped
    /// (Ghidra adds 0x100000 to those of a position-independent one).
    #[arg(long, value_name = "FILE", help_heading = "Capture")]
    pub lib: Vec<OsString>,

    /// Size of the buffer between kernel and httpsniff [default: 64MiB]
    ///
    /// More of it bridges longer bursts before something is lost.
    #[arg(long, value_name = "SIZE", help_heading = "Capture")]
    pub buffer: Option<String>,

    /// Say what this machine allows and which TLS libraries would be attached, and stop
    #[arg(long, help_heading = "Capture")]
    pub check: bool,

    /// Create FILE once capturing has begun (for scripts)
    #[arg(long, value_name = "FILE", help_heading = "Capture")]
    pub ready_file: Option<PathBuf>,

    /// Run this command and watch it and its descendants
    ///
    /// It runs as the user who called sudo and starts once capturing has
    /// begun. Ctrl-C reaches it too and its end is waited for; a second
    /// Ctrl-C ends httpsniff alone.
    #[arg(last = true, value_name = "COMMAND", num_args = 0.., help_heading = "Who")]
    pub command: Vec<OsString>,

    /// Help; --help says more than -h
    #[arg(short, long, action = ArgAction::Help, help_heading = "Help")]
    pub help: Option<bool>,

    /// Version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Help")]
    pub version: Option<bool>,
}

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One line per exchange, for people
    Text,
    /// One JSON object per line
    Json,
    /// HTTP Archive 1.2, for the network panels of browsers
    Har,
}

/// `--color`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// `--backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// The first that the kernel allows
    Auto,
    /// kprobes on the kernel's TCP functions
    Kprobe,
    /// Tracepoints of the socket layer (kernel 6.3 and later)
    Socket,
}

/// Why there is no [`Cli`].
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// `--help` or `--version`: this goes to stdout.
    Print(String),
    /// Wrong usage: the sentence.
    Usage(String),
}

/// Reads the arguments, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Stop> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // `-- $UNSET` asks for a command, not for the whole machine.
    if arguments.last().is_some_and(|a| a == "--") {
        return Err(Stop::Usage(
            "no command after --: put one there, or leave -- out".to_owned(),
        ));
    }
    Cli::try_parse_from(&arguments).map_err(|error| match error.kind() {
        // `.ansi()` only styles on a terminal's request; plain text is right
        // for pagers and files too.
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Stop::Print(error.render().to_string())
        }
        _ => Stop::Usage(sentence(&error, &arguments)),
    })
}

/// clap's error in one sentence with the likely cure.
fn sentence(error: &clap::Error, arguments: &[OsString]) -> String {
    let argument = context(error, ContextKind::InvalidArg);
    // clap names an option as `--output <FORM>`: people typed `--output`.
    let option = argument
        .split(['<', '[', '='])
        .next()
        .unwrap_or_default()
        .trim();
    let value = context(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if !option.starts_with('-') => stray(option, arguments),
        ErrorKind::UnknownArgument => {
            let near = context(error, ContextKind::SuggestedArg);
            if near.is_empty() {
                format!("there is no option {option}: see httpsniff --help")
            } else {
                format!("there is no option {option}: did you mean {near}?")
            }
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("{option} needs a value: see httpsniff --help")
        }
        ErrorKind::InvalidValue => {
            let valid = context(error, ContextKind::ValidValue);
            format!("{option} does not know “{value}”: it takes {valid}")
        }
        ErrorKind::ArgumentConflict => format!("{option} may be given only once"),
        ErrorKind::TooManyValues if value.is_empty() => {
            format!("{option} takes no value")
        }
        ErrorKind::TooManyValues => format!("{option} takes no value: leave out “{value}”"),
        ErrorKind::NoEquals => format!("{option} takes its value after an equals sign"),
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

/// A word that belongs to no option: most likely a command without `--`, or a
/// second pid.
fn stray(word: &str, arguments: &[OsString]) -> String {
    let position = arguments.iter().position(|a| a == word).unwrap_or(0);
    let before: Vec<&str> = arguments
        .get(1..position)
        .unwrap_or_default()
        .iter()
        .filter_map(|a| a.to_str())
        .collect();
    let is_number = |a: &str| !a.is_empty() && a.bytes().all(|b| b.is_ascii_digit() || b == b',');
    if is_number(word)
        && let Some(pids) = pids_before(&before)
    {
        return format!("one -p takes one word: several processes are written -p {pids},{word}");
    }
    let mut shown = vec!["httpsniff"];
    shown.extend(before);
    shown.push("--");
    shown.extend(
        arguments
            .get(position..)
            .unwrap_or_default()
            .iter()
            .filter_map(|a| a.to_str()),
    );
    format!(
        "“{word}” belongs to no option: put -- before the command: {}",
        shown.join(" ")
    )
}

/// The pids of the `-p` that the words end with.
fn pids_before<'a>(before: &[&'a str]) -> Option<&'a str> {
    let last = *before.last()?;
    if let Some(pids) = last.strip_prefix("--pid=") {
        return Some(pids);
    }
    let option = before.len().checked_sub(2).and_then(|i| before.get(i));
    if option.is_some_and(|o| {
        *o == "--pid" || o.starts_with('-') && !o.starts_with("--") && o.ends_with('p')
    }) {
        return Some(last);
    }
    last.strip_prefix("-p").filter(|p| !p.is_empty())
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(s)) => s.clone(),
        Some(ContextValue::Strings(list)) => list.join(", "),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_dashes_ask_for_a_command() {
        assert!(usage(&["--"]).starts_with("no command after --"));
        assert!(usage(&["-v", "--"]).starts_with("no command after --"));
    }

    fn usage(arguments: &[&str]) -> String {
        let all = ["httpsniff"].iter().chain(arguments).map(OsString::from);
        match parse(all) {
            Err(Stop::Usage(text)) => text,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn command_without_dashes_is_told_so() {
        assert_eq!(
            usage(&["-v", "curl", "-s", "http://x/"]),
            "“curl” belongs to no option: put -- before the command: \
             httpsniff -v -- curl -s http://x/"
        );
    }

    #[test]
    fn pids_in_two_words_are_told_the_comma() {
        for form in [
            &["-p", "1", "2"][..],
            &["--pid", "1", "2"],
            &["--pid=1", "2"],
            &["-fp", "1", "2"],
            &["-p1", "2"],
        ] {
            assert!(usage(form).contains("-p 1,2"), "{form:?}: {}", usage(form));
        }
    }

    #[test]
    fn every_form_error_is_one_line() {
        for (form, part) in [
            (&["--hots", "x"][..], "did you mean --host"),
            (&["--xyzzy"], "no option --xyzzy"),
            (&["-w"], "--write needs a value"),
            (&["-o", "yaml"], "it takes text, json, har"),
            (&["--color", "blue"], "auto, always, never"),
            (&["--backend", "magic"], "auto, kprobe, socket"),
            (&["-w", "a", "-w", "b"], "only once"),
            (&["--follow=yes"], "takes no value"),
            (&["-f", "-f"], "only once"),
        ] {
            let text = usage(form);
            assert!(text.contains(part), "{form:?}: {text}");
            assert!(!text.contains('\n'), "{form:?}: {text}");
        }
    }

    #[test]
    fn redact_takes_names_only_after_an_equals_sign() {
        let cli = parse(["httpsniff", "--redact", "--redact=a,b", "--", "x"].map(OsString::from));
        let cli = cli.unwrap();
        assert_eq!(cli.redact, ["", "a,b"]);
        assert_eq!(cli.command, ["x"]);
    }
}

//! `-r`: the packets of a file instead of the kernel's records.

use std::path::Path;

use super::outputs::Opened;
use super::signals::Stops;
use super::{config, end, warn_of_secrets};
use crate::caller::Caller;
use crate::engine::Engine;
use crate::event::Timestamp;
use crate::options::{Failure, Options};
use crate::output::file::open_input;

/// Reads the capture at `path` (`-` is stdin) to its end.
pub(super) fn run(options: &Options, path: &Path) -> Result<u8, Failure> {
    let caller = Caller::of_sudo();
    let _input = open_input(path, caller.as_ref()).map_err(Failure::failed)?;
    let opened = Opened::open(options, Some(&_input), caller.as_ref())?;
    warn_of_secrets(options);
    let (sinks, accounts) = opened.begin(caller.as_ref())?;
    let mut engine = Engine::new(config(options), sinks);
    let _stops =
        Stops::watch().map_err(|e| Failure::failed(format!("cannot catch signals: {e}")))?;
    Ok(end(&mut engine, &accounts, Timestamp::default()))
}

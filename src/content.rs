//! What is in a body: content codings undone, media types, charsets and the
//! formats that outputs show by their parts. Pure functions and state machines
//! over bytes, like [`crate::http`]; no length that a body names is believed.

pub mod charset;
pub mod coding;
pub mod media;
mod params;

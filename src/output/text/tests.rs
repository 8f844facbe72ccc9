//! What a person sees.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::output::escape;
use crate::output::samples::{self, Shared};
use crate::process::Process;

fn utc() -> Options {
    Options {
        utc: true,
        ..Options::default()
    }
}

fn text(options: Options, exchanges: &[Exchange]) -> String {
    let shared = Shared::default();
    let mut sink = Text::new(Box::new(shared.clone()), options);
    for exchange in exchanges {
        sink.exchange(exchange).unwrap();
    }
    sink.finish(Timestamp(0)).unwrap();
    shared.take_text()
}

#[test]
fn all_kinds_of_exchange_give_the_golden_text() {
    for (name, verbosity, width) in [
        ("lines.txt", 0, None),
        ("lines-80.txt", 0, Some(80)),
        ("lines-140.txt", 0, Some(140)),
        ("headers.txt", 1, None),
        ("bodies.txt", 2, None),
    ] {
        let options = Options {
            verbosity,
            width,
            ..utc()
        };
        let text = text(options, &samples::all());
        samples::compare_golden(name, text.as_bytes());
    }
}

#[test]
fn zz_show() {
    for width in [80, 140] {
        for verbosity in [0, 2] {
            let options = Options {
                verbosity,
                width: Some(width),
                color: true,
                ..utc()
            };
            let mut all = samples::all();
            all.extend(samples::all());
            print!("{}", text(options, &all));
        }
    }
}

//! The program: what was typed, what it means, the run.

fn main() {}

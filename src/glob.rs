//! Patterns with `*` and `?`; everything else is literal.

//! Process facts read from `/proc` by hand (to be written).

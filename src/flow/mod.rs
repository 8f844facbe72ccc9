//! Connections as ordered streams of bytes: what came out of order is put in
//! order, what came twice is dropped, what did not come is declared a gap.

mod origin;
mod stream;

pub use origin::{Origin, OwnedOrigin};
pub use stream::{HELD_LIMIT, Item, Piece, Stream};

//! Claims about what comes out of the engine for what goes in.

mod flows;
mod gaps;
mod h2;
mod http1;
mod late;
mod order;
mod support;
mod websocket;
mod wire;

//! Whole page loads.

mod paused;
mod sockets;

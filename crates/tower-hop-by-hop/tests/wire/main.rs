//! The layers between a real hyper server and a real hyper client, seen from both sockets.

mod http1;
mod http2;
mod interim;
mod proxy;
mod upgrade;

//! A reverse proxy with every connection policy on.

fn main() {}

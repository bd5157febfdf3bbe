//! Every vector runs through the pure functions, and those that describe a whole message through the
//! layers.

#[path = "vectors/cases.rs"]
mod cases;
#[path = "vectors/layer.rs"]
mod layer;
#[path = "vectors/pure.rs"]
mod pure;

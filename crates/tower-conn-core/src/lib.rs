//! Shared vocabulary of the tower-conn crates.

//! File operations that the standard library does not have.

pub mod atomic_file;
pub mod beside;
pub mod private_file;
pub mod repository;
pub mod resolve;

//! Small files that are replaced as a whole.

pub mod atomic_file;

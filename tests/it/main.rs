//! Tests from outside, one module a subject.

mod dashboard;

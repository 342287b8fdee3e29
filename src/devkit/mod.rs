//! devkit
pub mod demo;

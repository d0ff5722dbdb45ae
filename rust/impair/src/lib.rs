//! A bad line between two UDP ends on real time, for tests with real browsers and servers.

pub mod command;
pub mod line;
pub mod relay;

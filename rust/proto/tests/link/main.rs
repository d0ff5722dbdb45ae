//! The two ends of a link on a virtual line that loses, delays and reorders, with a NAT in it and attackers beside it.

mod attacks;
mod carried;
mod faults;
mod life;
mod ports;
mod ways;
mod world;

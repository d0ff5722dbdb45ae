//! Delay, loss, queue and rate of a line as a sans-IO object on virtual time.

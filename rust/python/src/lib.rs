//! Python face of the packet engine.

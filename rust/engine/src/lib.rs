//! The packet engine: threads, sockets and shards around the protocol code.

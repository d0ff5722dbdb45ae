"""The one asyncio face of the Rust packet engine: commands in, events out."""

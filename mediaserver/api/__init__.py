"""HTTP and WebSocket resources: one file per resource, nothing here decides about calls."""

"""mediaserver: SIP and WebRTC gateway, edge relay and selective forwarding core in one daemon."""

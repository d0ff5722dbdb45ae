"""Legs, calls and how they meet: the only place where sip, webrtc, core and media are joined."""

"""Sockets: UDP, TCP and TLS carrying SIP messages; nothing here knows what they mean."""

"""Rooms, participants and tracks: who forwards what to whom, decided in Python and carried out by the engine."""

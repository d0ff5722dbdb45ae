"""Figures: each is a command, a machine and a commit. `make bench` runs them all; see README.md beside this file."""

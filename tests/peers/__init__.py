"""Real peers for interoperability tests: each file starts one kind of peer that nobody here wrote.

Every peer is an asynchronous context manager: it starts a real process on free loopback ports (or inside a network
namespace), waits until the process is ready, captures its log and ends the whole process group on the way out.
"""

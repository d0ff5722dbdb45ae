"""Tests of the media server, by layer: values and tables below, real peers above."""

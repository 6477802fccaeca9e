"""Runs: training one into a folder, reading it back, and using it."""

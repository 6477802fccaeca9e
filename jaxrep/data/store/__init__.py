"""Folders of standardised rows: made of tables of any length, and read while training."""

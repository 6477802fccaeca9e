"""Folders of rows as numbers and codes: made of tables of any length, and read while training."""

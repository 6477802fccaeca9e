"""Benchmarks of jaxrep against PyTorch: `python -m bench`."""

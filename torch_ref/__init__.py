"""The PyTorch twin of jaxrep: the same losses, networks, methods and training steps.

Written to be read beside `jaxrep`, file by file. Imports neither jax nor jaxrep.
"""

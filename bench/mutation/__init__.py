"""Which changed operators and numbers the tests notice: `python -m bench.mutation`."""

"""The commands of `python -m benchmarks`: each module adds its arguments and runs them."""

"""What Synthon costs and how well it does, measured: `python -m benchmarks.<name>`."""

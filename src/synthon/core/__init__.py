"""The kernel: values, protocols, steps, programs, tracing, running."""

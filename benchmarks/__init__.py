"""Quality, speed and memory, measured; each a program, such as ``python -m benchmarks.speed``."""

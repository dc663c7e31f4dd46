"""The whole region as local processes: what `make run`, the tests, the faults and the benchmarks use."""

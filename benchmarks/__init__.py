"""Benchmarks that compare Valetkey with other authorization servers, all measured in one run."""

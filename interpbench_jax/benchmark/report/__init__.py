"""Reports: a store of results as a page, plots and tables."""

from interpbench_jax.benchmark.report.write import write_report

__all__ = ["write_report"]

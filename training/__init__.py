"""The workbench: corpora, index, splits, cached features, networks, runs and reports."""

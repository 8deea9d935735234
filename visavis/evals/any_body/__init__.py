"""The measurements of "any body, any file": each prints one table, with the number of samples and 95 % intervals.

    python -m visavis.evals.any_body NAME --data DIR --out FILE.json

Every NAME is a module of this package with `measure(data: Path | None, limit: int | None, seed: int) -> Table`, where
`data` is a folder with real recordings that the project does not ship; `DATA` is its default.
"""

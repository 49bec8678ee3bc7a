"""The benchmark: every figure beside its other side, both measured in one run on one machine.

`python3 manage.py bench` starts both sides itself; docs/operating/performance.md says how to read it.
"""

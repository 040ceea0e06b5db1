"""Grading a class: collect, run in a sandbox, judge outside it, keep the marks with nbgrader. See docs/teaching.md."""

"""Custom resources: kinds that a CustomResourceDefinition adds while the server runs.

`registry` keeps the table of kinds in step with the definitions, `definitions` checks and
completes them, `resource` is what one of them means for its objects. A structural schema is a
plain dict and three functions go through it: `structural` (prune, default), `validating`.
"""

"""A user's own reward functions, in a process of their own.

The side of the run is `function`, `process` and `connection`, the other one `guard`,
`worker` and `module`; `wire` is what they say to each other.
"""

"""The leaderboard of a dataset, or of several: systems, ranked only where they can be told apart.

A system is what runs have in common that can change a result: agent, models, configuration, code, and the
playbook that they began with. Its runs are pooled: a conversation counts once, by the mean of its sessions
in all of them.

Differences are paired by conversation, with the tests of `comparison`, and their p-values are adjusted by
Holm's method over all pairs of the board. A system's rank is 1 plus the number of systems that are
significantly better: systems that cannot be told apart from the same ones share a rank.
"""

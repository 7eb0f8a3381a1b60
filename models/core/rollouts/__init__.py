"""Rules of a rollout, all pure: from journal lines to a verdict.

``units`` (what one request says) -> ``fold`` (counts) -> ``betting`` (evidence) -> ``decide``;
``enforce`` says whether the plan is what really happens.
"""

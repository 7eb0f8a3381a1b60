"""Products are nouns: one folder per model product, plus the contracts and the maths they share.

Knows no orchestrator, no tracking server and no serving framework (import-linter checks it).
"""

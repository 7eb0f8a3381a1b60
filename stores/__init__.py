"""Where things are kept and started: files, ledger, tracking, bentos, processes.

Plain Python that does I/O for the stages. Knows no Dagster and takes no decision.
"""

"""Stages are verbs: they fetch, call a pure function, keep the result and report it to Dagster."""

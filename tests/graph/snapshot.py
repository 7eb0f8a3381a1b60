"""The asset graph as text, shown as a diff by a pull request; `make graph` accepts it."""

from __future__ import annotations

import sys

import dagster as dg


def render(definitions: dg.Definitions) -> str:
    """Every asset with deps, owner, pool and checks; then jobs, schedules and sensors."""
    graph = definitions.resolve_asset_graph()
    lines = []
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        kind = "asset" if node.is_materializable else "EXTERNAL"
        owner, pools = ",".join(node.owners) or "-", ",".join(sorted(node.pools or ())) or "-"
        name = key.to_user_string()
        lines.append(f"{kind} {name}  owner={owner}  group={node.group_name}  pools={pools}")
        lines += [f"    <- {parent.to_user_string()}" for parent in sorted(node.parent_keys)]
        for check in sorted(graph.get_check_keys_for_assets({key}), key=lambda c: c.name):
            blocking = graph.get_check_spec(check).blocking
            lines.append(f"    check {check.name}{' (blocking)' if blocking else ''}")
    repository = definitions.get_repository_def()
    for job in sorted(repository.get_all_jobs(), key=lambda j: j.name):
        if not job.name.startswith("__"):
            lines.append(f"job {job.name}")
    for schedule in sorted(repository.schedule_defs, key=lambda s: s.name):
        lines.append(f"schedule {schedule.name}  {schedule.cron_schedule}")
    for sensor in sorted(repository.sensor_defs, key=lambda s: s.name):
        lines.append(f"sensor {sensor.name}  every {sensor.minimum_interval_seconds} s")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from orchestration.definitions import defs

    sys.stdout.write(render(defs()))

"""Requests that schemathesis makes from a service's own document, and what was answered.

It runs as a process of its own: it patches and caches much of the interpreter it lives in. Valid
requests are made as well as broken ones; what makes a row valid besides its form, a tenant that the
model knows, is written into the copy of the document it reads. Asserts nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

#: Of schemathesis's checks, those that are true of a service whatever is sent.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@dataclass
class Found:
    """What came of it.

    Attributes:
        statuses: Answers by operation and status.
        failures: One line for every check that failed, and for what schemathesis could not do.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """Requests that were answered."""
        return self.statuses.total()

    @property
    def broken(self) -> int:
        """Answers 5xx, those that say "not now" as well."""
        return sum(count for (_, status), count in self.statuses.items() if status >= 500)

    def by_status(self) -> dict[int, int]:
        """Answers of all operations by status."""
        found: Counter[int] = Counter()
        for (_, status), count in self.statuses.items():
            found[status] += count
        return dict(sorted(found.items()))

    def __iadd__(self, other: Found) -> Found:
        self.statuses.update(other.statuses)
        self.failures += other.failures
        return self


def document_of(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """A service's own document."""
    answer = httpx.get(f"{url}/docs.json", headers=dict(headers), timeout=60)
    answer.raise_for_status()
    document: dict[str, Any] = answer.json()
    return document


def with_tenants(document: dict[str, Any], tenants: Sequence[str]) -> dict[str, Any]:
    """A document that knows which tenants there are."""
    for owner in _with_tenant(document):
        owner["tenant"] = {"type": "string", "enum": list(tenants)}
    return document


def fuzz(
    url: str,
    folder: Path,
    *,
    tenants: Sequence[str],
    examples: int,
    seed: int,
    headers: Mapping[str, str] | None = None,
    phases: str = "examples,coverage,fuzzing",
    only: str = "",
) -> Found:
    """Ask a service whatever its document allows, and much that it does not.

    Args:
        url: Of the service, without a path.
        folder: Gets the document and the report.
        tenants: That its models know.
        examples: Most requests per operation of the fuzzing phase.
        seed: Of what is drawn.
        headers: Sent with every request, e.g. a key.
        phases: Of schemathesis.
        only: Regular expression of the paths; empty for all.
    """
    sent = dict(headers or {})
    folder.mkdir(parents=True, exist_ok=True)
    read_from, report = folder / "openapi.json", folder / f"report-{seed}.ndjson"
    told = with_tenants(document_of(url, sent), tenants)
    read_from.write_text(json.dumps(told))
    line = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(read_from), "--url", url,
        "--checks", ",".join(CHECKS), "--phases", phases, "--max-examples", str(examples),
        "--seed", str(seed), "--continue-on-failure", "--no-shrink", "--no-color",
        "--generation-database", "none", "--suppress-health-check", "all",
        "--request-timeout", "60", "--report", "ndjson", "--report-ndjson-path", str(report),
        *(("--include-path-regex", only) if only else ()),
        *(part for name, value in sent.items() for part in ("--header", f"{name}: {value}")),
    ]  # fmt: skip
    ran = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    if not report.exists():
        raise RuntimeError(f"schemathesis did not run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return read(report)


def read(report: Path) -> Found:
    """What a report of schemathesis says; a case may have had several answers, e.g. retries."""
    found = Found()
    for line in report.read_text().splitlines():
        ((kind, event),) = json.loads(line).items()
        if kind == "ScenarioFinished":
            _scenario(event["recorder"], found)
        elif "Error" in kind:
            found.failures.append(f"{kind}: {str(event)[:500]}")
    return found


def _scenario(told: dict[str, Any], found: Found) -> None:
    for case, exchange in told.get("interactions", {}).items():
        answer, request = exchange.get("response"), exchange["request"]
        asked = f"{request['method']} {request['uri'][:200]}"
        if not answer:
            found.failures.append(f"{told['label']}: no answer to {asked}")
            continue
        found.statuses[told["label"], answer["status_code"]] += 1
        for check in told.get("checks", {}).get(case, ()):
            if check["status"] != "success":
                why = json.dumps(check.get("failure_info", check))[:600]
                found.failures.append(f"{check['name']}: {asked} -> {answer['status_code']} {why}")


def _with_tenant(part: Any) -> Iterator[dict[str, Any]]:
    """The properties of every schema that has a tenant."""
    if isinstance(part, dict):
        properties = part.get("properties")
        if isinstance(properties, dict) and "tenant" in properties:
            yield properties
        for inner in part.values():
            yield from _with_tenant(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _with_tenant(inner)

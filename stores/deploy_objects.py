"""One object of Kubernetes, with the labels by which all of ours find each other."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]
GROUP = "app.kubernetes.io/name"


def named(version: str, kind: str, name: str, spec: Manifest) -> Manifest:
    """An object with its name and labels.

    Args:
        version: Of its kind in the API.
        kind: Of the object.
        name: Also its label.
        spec: Its content.
    """
    labels = {GROUP: name, "app.kubernetes.io/part-of": "assay"}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }

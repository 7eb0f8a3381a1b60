"""The folder for containers is what the command writes, and the tools that read it take it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from models.contracts.product import ModelProduct
from models.contracts.results import Release
from models.contracts.routing import RoutingTable
from models.registry import products
from stores.deploy_compose import compose
from stores.deploy_files import deploy_files, write_deploy
from stores.deploy_k8s import SIZES
from stores.deploy_names import BENTOS, NOT_RELEASED, host
from stores.home import Home
from stores.ledger import Ledger
from stores.templates import FOLDER, SERVICE_DOCKERFILE

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "deploy"
PROFILES = ("core", "platform", "watch", "edge")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("deploy")
    write_deploy(folder, products(), {products()[0].key: "v20260101_000000"})
    return folder


def tool(name: str) -> str:
    """Its path: an installed command, or one that came with a package beside Python."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.exists() else None)
    if found is None:
        pytest.skip(f"{name} is not installed: deploy/ is NOT checked by it")
    return found


def said(*line: str, cwd: Path, **environment: str) -> str:
    """What a command says when it is content; the test fails when it is not."""
    done = subprocess.run(
        line, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_committed_folder_is_what_the_command_writes():
    expected = deploy_files(products(), {})
    there = {
        path.relative_to(COMMITTED).as_posix() for path in COMMITTED.rglob("*") if path.is_file()
    }
    assert there == set(expected), "run `assay deploy deploy`"
    for name, text in expected.items():
        assert (COMMITTED / name).read_text() == text, f"{name}: run `assay deploy deploy`"


def test_every_product_has_a_container_with_its_sizes():
    services = compose(products(), {})["services"]
    for product in products():
        limits = services[host(product)]["deploy"]["resources"]["limits"]
        assert float(limits["cpus"]) == product.serving.cores
        assert limits["memory"] == f"{product.serving.memory_mb}M"


def test_a_product_with_a_gpu_asks_for_it_everywhere():
    first = products()[0]
    wanted: ModelProduct = first.model_copy(
        update={"serving": first.serving.model_copy(update={"gpu": 2})}
    )
    made = deploy_files([wanted], {})
    service = yaml.safe_load(made["compose.yaml"])["services"][host(wanted)]
    device = service["deploy"]["resources"]["reservations"]["devices"][0]
    assert (device["count"], device["capabilities"]) == (2, ["gpu"])
    deployment = next(yaml.safe_load_all(made[f"k8s/base/{host(wanted)}.yaml"]))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_a_release_is_named_in_the_tag_and_in_the_table(written):
    first, second = products()[:2]
    table = RoutingTable.model_validate_json((written / "gateway/table.json").read_text())
    assert set(table.products) == {first.key}
    assert table.products[first.key].champion == "v20260101_000000"
    assert table.products[first.key].members["v20260101_000000"].url == f"http://{host(first)}:3000"
    alone = RoutingTable.model_validate_json((written / "gateway/single.json").read_text())
    (member,) = alone.products[first.key].members.values()
    assert member.artifact == f"{BENTOS}/models/{first.slug}/v20260101_000000/artifact"
    assert f"BENTOML_HOME={BENTOS} " in SERVICE_DOCKERFILE.read_text()
    services = yaml.safe_load((written / "compose.yaml").read_text())["services"]
    assert services[host(first)]["image"].endswith("_TAG:-v20260101_000000}")
    assert services[host(second)]["image"].endswith(f"_TAG:-{NOT_RELEASED}}}")
    tags = yaml.safe_load((written / "k8s/base/kustomization.yaml").read_text())["images"]
    assert f"assay/{host(first)}" in [
        one["name"] for one in tags if one["newTag"] == "v20260101_000000"
    ]


def test_the_command_names_the_releases_of_the_home(tmp_path, monkeypatch):
    from orchestration.cli import app

    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    first, second = products()[:2]
    Ledger(Home(tmp_path / "home").ledger(first)).append("release", Release(
        product=first.key, version="v20260102_000000", candidate_id="c", snapshot_id="s",
        evaluation_id="e", trial="t", mlflow_version="1", artifact="a",
    ))  # fmt: skip
    done = CliRunner().invoke(app, ["deploy", str(tmp_path / "out"), "--released"])
    assert done.exit_code == 0, done.output
    assert f"{first.key}: v20260102_000000" in done.output
    assert f"{second.key}: no release yet" in done.output
    assert ":-v20260102_000000}" in (tmp_path / "out/compose.yaml").read_text()
    assert (tmp_path / "home/keys/service-token").exists(), "containers are given it"


def test_only_the_edge_listens_to_other_machines():
    for name, service in compose(products(), {})["services"].items():
        for port in service.get("ports", ()):
            assert name == "nginx" or port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_no_container_keeps_powers_and_ours_run_as_a_number():
    for name, service in compose(products(), {})["services"].items():
        if name != "postgres":  # it gives its folder to its own user at the first start
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
        if service["image"].startswith("assay/"):
            assert re.fullmatch(r"\$\{ASSAY_UID:-\d+\}:\$\{ASSAY_GID:-\d+\}", service["user"]), name


def test_no_secret_stands_in_a_file():
    text = "\n".join(deploy_files(products(), {}).values())
    assert "PRIVATE KEY" not in text
    assert "signing.pem" not in text, "only the public key leaves the home"
    for password in re.findall(r"PASSWORD: (.*)", text):
        assert re.fullmatch(r"\$\{\w+_PASSWORD:-\}", password)


@pytest.mark.parametrize("path", [SERVICE_DOCKERFILE, FOLDER / "platform.Dockerfile"],
                         ids=lambda path: path.name)  # fmt: skip
def test_hadolint_finds_nothing(path):
    said(tool("hadolint"), "--no-color", str(path), cwd=ROOT)


def test_an_image_has_two_stages_a_number_for_a_user_and_a_health_check():
    for path in (SERVICE_DOCKERFILE, FOLDER / "platform.Dockerfile"):
        text = path.read_text()
        *_, last = re.split(r"^FROM ", text, flags=re.MULTILINE)
        assert len(re.findall(r"^FROM ", text, re.MULTILINE)) > 1
        assert re.search(r"^USER \d+:\d+$", last, re.MULTILINE)
        assert re.search(r"^HEALTHCHECK ", last, re.MULTILINE)
        assert re.search(r"^STOPSIGNAL SIGTERM$", last, re.MULTILINE)
        assert "build-essential" not in text
        assert "pip install" not in last


@pytest.mark.parametrize("file", ["compose.yaml", "single.compose.yaml"])
def test_compose_takes_it(written, file):
    # without profiles: version 1 of the tool checks nothing of a service that is not chosen
    chosen = [word for profile in PROFILES for word in ("--profile", profile)]
    line = [tool("docker-compose"), "-f", file, *chosen, "config"]
    read = yaml.safe_load(said(*line, cwd=written, POSTGRES_PASSWORD="x", GRAFANA_PASSWORD="x"))
    assert set(read["services"]) == set(yaml.safe_load((written / file).read_text())["services"])


def test_compose_refuses_a_key_it_does_not_know(written, tmp_path):
    """The checker checks: a misspelt key of a service does not pass it."""
    line = [tool("docker-compose"), "-f", "compose.yaml", "config", "-q"]
    wrong = yaml.safe_load((written / "compose.yaml").read_text())
    wrong["services"]["router"]["comand"] = ["x"]
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(wrong))
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "comand" in done.stderr


@pytest.fixture(scope="module")
def kustomized(written) -> dict[str, list[dict]]:
    kubectl = tool("kubectl")
    return {
        size: list(yaml.safe_load_all(said(
            kubectl, "kustomize", f"k8s/overlays/{size}", cwd=written
        )))
        for size in SIZES
    }  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_kubernetes_takes_every_object(kustomized, size):
    if find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed: deploy/k8s is NOT checked by it")
    import kubernetes_validate

    for one in kustomized[size]:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    assert len(kustomized[size]) > 4 * len(products())


def test_kubernetes_refuses_a_key_it_does_not_know(kustomized):
    if find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed")
    import kubernetes_validate

    wrong = next(one for one in kustomized["minimum"] if one["kind"] == "Deployment")
    wrong = wrong | {"spec": wrong["spec"] | {"replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_an_overlay_changes_sizes_and_numbers_only(kustomized):
    def sizes(size):
        found = {}
        for one in kustomized[size]:
            name = one["metadata"]["name"]
            if one["kind"] == "HorizontalPodAutoscaler":
                found[name, "pods"] = (one["spec"]["minReplicas"], one["spec"]["maxReplicas"])
            if one["kind"] == "Deployment" and name != "redis":
                container = one["spec"]["template"]["spec"]["containers"][0]
                assert container["image"], "a patch replaced the container"
                found[name, "memory"] = container["resources"]["limits"]["memory"]
                found[name, "cores"] = container["resources"]["requests"]["cpu"]
        return found

    first = products()[0]
    for size, wanted in SIZES.items():
        told, name = sizes(size), host(first)
        assert told[name, "pods"] == (wanted.least, wanted.most)
        assert told[name, "memory"] == f"{round(first.serving.memory_mb * wanted.memory)}Mi"
        assert told[name, "cores"] == f"{round(first.serving.cores * wanted.cores * 1000)}m"


def test_kubernetes_tags_and_mounts_what_there_is(kustomized):
    """Every claim, secret, configuration and selector that a pod names exists."""
    objects = kustomized["recommended"]
    names = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for one in (each for each in objects if each["kind"] == "Deployment"):
        pod = one["spec"]["template"]
        assert ("Service", one["metadata"]["name"]) in names
        assert one["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        for container in pod["spec"]["containers"]:
            assert ":" in container["image"]
            assert {mount["name"] for mount in container.get("volumeMounts", ())} == volumes
        for volume in pod["spec"].get("volumes", ()):
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
            if table := volume.get("configMap"):
                assert ("ConfigMap", table["name"]) in names


def test_nginx_takes_it(written, tmp_path):
    nginx, openssl = tool("nginx"), tool("openssl")
    said(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=x",
         "-keyout", "tls.key", "-out", "tls.crt", cwd=tmp_path)  # fmt: skip
    text = (written / "nginx/nginx.conf").read_text()
    # names of the containers' network and paths in the container, as they are here
    for there, here in (("/tmp/", f"{tmp_path}/"), ("/etc/nginx/tls", str(tmp_path)),
                        ("router:3100", "127.0.0.1:3100")):  # fmt: skip
        assert there in text
        text = text.replace(there, here)
    (tmp_path / "nginx.conf").write_text(text)
    told = said(nginx, "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf"), cwd=tmp_path)
    assert "test is successful" in told
    assert "[warn]" not in told


def test_dagster_has_a_database_in_containers_and_the_image_what_it_needs():
    """Tried with PostgreSQL 15: `instance` makes its tables, runs an asset, reads its events."""
    made = deploy_files(products(), {})
    config = yaml.safe_load(made["dagster/dagster.yaml"])
    assert config["storage"] == {"postgres": {"postgres_url": {"env": "ASSAY_DAGSTER_URL"}}}
    assert config["concurrency"]["runs"]["max_concurrent_runs"] == 3, "and all else as on one host"
    services = yaml.safe_load(made["compose.yaml"])["services"]
    for name in ("dagster-webserver", "dagster-daemon", "admin"):
        assert services[name]["environment"]["ASSAY_DAGSTER_URL"].endswith("@postgres:5432/dagster")
        assert "postgres" in services[name]["depends_on"]
        mounted = dict(volume.split(":")[:2] for volume in services[name]["volumes"])
        assert mounted["./dagster/dagster.yaml"] == "/var/lib/assay/dagster/dagster.yaml"
    assert "CREATE DATABASE dagster;" in made["postgres/databases.sql"]
    # a library of Dagster's is of one version of it: 1.13.27 is 0.29.27
    _, minor, patch = version("dagster").split(".")
    assert f"dagster-postgres==0.{int(minor) + 16}.{patch}" in made["docker/platform.Dockerfile"]

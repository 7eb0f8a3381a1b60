"""The code version follows imports: it moves with what is reached and only with that."""

import pytest

from assets.code_version import _reached, code_version


@pytest.fixture
def project(tmp_path):
    files = {
        "models/__init__.py": "",
        "models/a.py": "from models import b\nimport json\n",
        "models/b.py": "def f():\n    from models.sub.c import x\n    return x\n",
        "models/sub/__init__.py": "",
        "models/sub/c.py": "x = 1\n",
        "models/other.py": "y = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def version(root, salt=""):
    code_version.cache_clear()
    _reached.cache_clear()
    return code_version("models.a", salt=salt, root=root)


@pytest.mark.parametrize("name", ["models/a.py", "models/b.py", "models/sub/c.py"])
def test_a_reached_file_changes_it(project, name):
    before = version(project)
    with (project / name).open("a") as stream:
        stream.write("z = 2\n")
    assert version(project) != before


def test_an_unreached_file_does_not(project):
    before = version(project)
    (project / "models/other.py").write_text("y = 2\n")
    assert version(project) == before


def test_the_salt_changes_it(project):
    assert version(project, "one") != version(project, "two")

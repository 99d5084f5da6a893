"""What a process of a setup imports, and what it does not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cluster.process import NoPandas

_PROGRAM = """
import json, sys
import cluster.node.main
from cluster.process import NoPandas
imported = "pandas" in sys.modules or "uvicorn" in sys.modules
sys.meta_path.insert(0, NoPandas())
import pyarrow
pyarrow.array([1])
print(json.dumps([imported, "pandas" in sys.modules]))
"""


def test_pandas_is_not_there_and_all_else_is():
    finder = NoPandas()
    with pytest.raises(ModuleNotFoundError) as caught:
        finder.find_spec("pandas", None)
    assert caught.value.name == "pandas"
    assert finder.find_spec("pyarrow", None) is None
    assert finder.find_spec("pandas_like", None) is None


def test_a_node_imports_neither_pandas_nor_what_its_http_thread_needs():
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [False, False]

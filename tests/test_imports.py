"""Who may import what (ARCHITECTURE.md), and imports on systems that are not Linux."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A package imports from those before it. Scripts, tests and benchmarks import from all.
PACKAGES = (
    "configs", "architectures", "dataset_classes", "sparsification", "conformal", "training",
    "evaluation", "prediction", "visualization", "live",
)  # fmt: skip


def modules() -> list[Path]:
    """Python files of the packages and the scripts, relative to the root."""
    found = [*ROOT.glob("*.py"), *(f for package in PACKAGES for f in (ROOT / package).rglob("*.py"))]
    return [file.relative_to(ROOT) for file in found]


def imported(file: Path) -> set[str]:
    """First names of what a file imports when it runs, not only for type checkers."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[0] for name in names}


def test_a_package_imports_from_those_before_it_only():
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks"} == set(PACKAGES), "give a new package its place"
    for file in modules():
        package = file.parts[0]
        if package in PACKAGES:
            later = set(PACKAGES[PACKAGES.index(package) + 1 :])
            scripts = {script.stem for script in ROOT.glob("*.py")}
            assert not imported(file) & (later | scripts | {"benchmarks"}), file


AS_ON_WINDOWS = """
import importlib, os, signal, sys
for name in {packages}:  # they look at the system themselves
    importlib.import_module(name)
for name in ("sysconf", "getloadavg", "fork", "statvfs", "chown", "getuid", "mkfifo"):
    delattr(os, name)
for name in ("SIGALRM", "SIGPIPE", "SIGKILL", "alarm"):
    delattr(signal, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
sys.platform = "win32"
for name in {modules}:
    importlib.import_module(name)
"""


def test_everything_can_be_imported_where_the_system_has_less_than_linux():
    ours = [".".join(file.with_suffix("").parts) for file in modules()]
    ours = [name.removesuffix(".__init__") for name in ours if not name.endswith("__main__")]
    names = {name for file in modules() for name in imported(file)}
    others = names - set(PACKAGES) - {name.split(".")[0] for name in ours}
    packages = sorted(name for name in others if find_spec(name))  # extras may be missing
    program = AS_ON_WINDOWS.format(packages=[*packages, "torchvision.models"], modules=ours)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

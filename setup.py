"""The one compiled extension; everything else about the package stands in pyproject.toml.

ROUTER_ANNOTATE=1 writes the HTML page of C calls beside the source, ROUTER_SANITIZE=1 builds with the
address sanitizer.
"""

import os
import platform
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

compile_args = ["-O3"]
if platform.machine() in ("x86_64", "AMD64"):
    compile_args.append("-mpopcnt")  # the trie counts bits; every such processor made since 2009 does it in one step
link_args: list[str] = []
if os.environ.get("ROUTER_SANITIZE"):
    compile_args = ["-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer"]
    link_args = ["-fsanitize=address"]

core = Extension(
    "router._core",
    ["router/_core.pyx"],
    depends=glob("router/core/*.pxi"),
    extra_compile_args=compile_args,
    extra_link_args=link_args,
)

setup(
    ext_modules=cythonize(
        [core],
        annotate=bool(os.environ.get("ROUTER_ANNOTATE")),
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True},
    )
)

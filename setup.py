"""The one compiled extension; everything else about the package stands in pyproject.toml.

ROUTER_ANNOTATE=1 writes the HTML page of C calls beside the source, ROUTER_SANITIZE=1 builds with the
address sanitizer.
"""

import os
import platform
import subprocess
import sys
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

compile_args = ["-O3"]
if platform.machine() in ("x86_64", "AMD64"):
    compile_args.append("-mpopcnt")  # the trie counts bits; every such processor made since 2009 does it in one step
if sys.platform == "linux":
    compile_args.append("-fno-plt")  # calls into Python go straight there: 3 % of a short text
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


class BuildExtension(build_ext):
    """Builds the extension with the numbering plans in it, and compiles the phrases of all languages.

    Both take too long at a start.
    """

    def run(self) -> None:
        numbering = os.path.join(self.build_temp, "numbering")
        # -P: beside the script lie modules that are called like some of the standard library.
        command = [sys.executable, "-P", os.path.join("router", "numbering.py"), numbering]
        subprocess.run(command, check=True)  # noqa: S603
        for extension in self.extensions:
            extension.include_dirs.append(numbering)
            extension.depends.append(os.path.join(numbering, "numbering.h"))
        super().run()
        built = "." if self.inplace or self.editable_mode else self.build_lib
        folder = os.path.join(built, "router", "language", "phrases")
        environment = {**os.environ, "PYTHONPATH": os.path.abspath(built)}
        # -P: the package that was built, not the sources in the folder that this runs in.
        command = [sys.executable, "-P", "-m", "router.language.automata", folder]
        subprocess.run(command, check=True, env=environment)  # noqa: S603


setup(
    cmdclass={"build_ext": BuildExtension},
    ext_modules=cythonize(
        [core],
        annotate=bool(os.environ.get("ROUTER_ANNOTATE")),
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True},
    ),
)

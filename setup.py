"""Builds the two compiled parts of the package: pywsgid._native through cffi, mod_wsgid.so through
apxs.

The module is compiled in a copy of its sources, because apxs drops objects beside what it compiles
and knows nothing of headers: whatever is newer than the last result, all of it is compiled again
(it takes seconds).

`pip install .` puts mod_wsgid.so into the package, where the module finds its daemon. The Makefile
calls `setup.py build_module` with its own --output and --python. All else about the package is in
pyproject.toml.
"""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from glob import glob

from setuptools import Command, setup
from setuptools.command.build import build

ROOT = os.path.dirname(os.path.abspath(__file__))
NATIVE = os.path.join("pywsgid", "native", "build.py")
# The first source names the module for apxs.
PATTERNS = ("mod_wsgid.c", "apxs/**/*.c", "apxs/**/*.h", "apxs/**/*.def", "apxs/**/*.html")
COMPILE = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra"]
# Nothing but the module record may be seen from outside. The quotes are for the shell that apxs
# hands its command to.
LINK = ["-Wl,-export-symbols-regex", "-Wl,'^wsgid?_module$'"]
SANITIZE = "-fsanitize=address,undefined"


def sources():
    """Every file that the module is made from, relative to the root; mod_wsgid.c first."""
    return [
        os.path.relpath(path, ROOT)
        for pattern in PATTERNS
        for path in sorted(glob(os.path.join(ROOT, pattern), recursive=True))
    ]


def version():
    """The one place where the version is: pywsgid/__init__.py."""
    with open(os.path.join(ROOT, "pywsgid", "__init__.py"), encoding="utf-8") as package:
        return re.search(r'^__version__ = "([^"]+)"', package.read(), re.M).group(1)


def find_tool(variable, *names):
    """What the variable names, or the first of the names on PATH or where distributions keep it;
    None if there is none.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin", "/usr/local/bin"])
    if os.environ.get(variable):
        names = [os.environ[variable].split()[0]]
    return next((tool for tool in (shutil.which(name, path=path) for name in names) if tool), None)


def find_apxs():
    return find_tool("APXS", "apxs", "apxs2")


def has_python_headers():
    return os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))


# What the build needs: its name, whether it is there, its packages in the order of INSTALLERS.
NEEDS = (
    (
        "a C compiler",
        lambda: find_tool("CC", "cc", "gcc"),
        "gcc libc6-dev",
        "gcc redhat-rpm-config",
        "gcc",
    ),
    ("Python's headers", has_python_headers, "python3-dev", "python3-devel", "python"),
    ("apxs", find_apxs, "apache2-dev", "httpd-devel", "apache"),
)
INSTALLERS = (
    ("Debian, Ubuntu", "apt-get install"),
    ("Fedora, RHEL", "dnf install"),
    ("Arch", "pacman -S"),
)


def missing():
    """One line that names all that the build lacks on this machine, and the packages that have it;
    None if it lacks nothing.
    """
    lacking = [need for need in NEEDS if not need[1]()]
    if not lacking:
        return None
    packages = [" ".join(need[2 + column] for need in lacking) for column in range(len(INSTALLERS))]
    advice = "; ".join(
        "%s: sudo %s %s" % (*installer, names) for installer, names in zip(INSTALLERS, packages)
    )
    return (
        "mod_wsgid cannot be built, because this machine lacks %s. %s (CC and APXS name others)"
        % (", ".join(need[0] for need in lacking), advice)
    )


def query(apxs, name):
    """What apxs knows under a name: INCLUDEDIR, CC ..."""
    return subprocess.check_output([apxs, "-q", name], text=True).strip()


def c_string(text):
    """A literal of C, a line for each line."""
    lines = (line.replace("\\", "\\\\").replace('"', '\\"') for line in text.splitlines())
    return " \\\n".join('    "%s\\n"' % line for line in lines)


def content_hash(page, element):
    """What Content-Security-Policy calls the one <style> or <script> of a page."""
    (content,) = re.findall("<%s>(.*?)</%s>" % (element, element), page, re.S)
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def page_header(path):
    """apxs/status/status.html as a header of C; its comments are for those who change it."""
    with open(path, encoding="utf-8") as file:
        top, bottom = file.read().split("<!-- figures -->\n")
    page = re.sub("<!--.*?-->\n", "", top, flags=re.S) + bottom
    return "".join(
        [
            "#define STATUS_PAGE_TOP \\\n%s\n" % c_string(page[: -len(bottom)]),
            "#define STATUS_PAGE_BOTTOM \\\n%s\n" % c_string(bottom),
            '#define STATUS_PAGE_STYLE_HASH "%s"\n' % content_hash(page, "style"),
            '#define STATUS_PAGE_SCRIPT_HASH "%s"\n' % content_hash(page, "script"),
        ]
    )


def newest(paths):
    return max(os.stat(path).st_mtime_ns for path in paths)


def without_commands(text):
    """What the compiler said: apxs and libtool print pages of commands around it."""
    return "".join(
        line for line in text.splitlines(True) if not re.match(r"libtool: |\S*libtool ", line)
    )


class BuildModule(Command):
    """Compiles mod_wsgid.so with apxs."""

    description = "build the httpd module with apxs"
    user_options = [
        ("build-lib=", None, "where build collects the package"),
        ("build-temp=", None, "where objects go"),
        ("output=", None, "the file to make (default: mod_wsgid.so in the package)"),
        (
            "python=",
            None,
            "the interpreter of groups that name none (default: the one that runs this)",
        ),
        ("strict", None, "let warnings be errors"),
        ("analyze", None, "run gcc's analyzer as well"),
        (
            "sanitize",
            None,
            "with AddressSanitizer and UBSan; httpd must then be started with both preloaded",
        ),
    ]
    boolean_options = ["strict", "analyze", "sanitize"]

    def initialize_options(self):
        self.build_lib = self.build_temp = self.output = self.python = None
        self.strict = self.analyze = self.sanitize = self.editable_mode = False

    def finalize_options(self):
        self.set_undefined_options(
            "build", ("build_lib", "build_lib"), ("build_temp", "build_temp")
        )
        package = (
            os.path.join(ROOT, "pywsgid")
            if self.editable_mode
            else os.path.join(self.build_lib, "pywsgid")
        )
        self.output = os.path.abspath(self.output or os.path.join(package, "mod_wsgid.so"))
        self.python = self.python or sys.executable
        # Each output has its own copy: the interpreter's path and the warnings are compiled in.
        self.work = self.output + ".d"
        if not self.output.startswith(
            os.path.join(ROOT, "build") + os.sep
        ) or self.output.startswith(os.path.abspath(self.build_lib) + os.sep):
            self.work = os.path.abspath(os.path.join(self.build_temp, "module"))

    def run(self):
        if self.is_current():
            return
        shutil.rmtree(self.work, ignore_errors=True)
        self.copy_sources()
        self.compile()
        self.install()

    def is_current(self):
        """Whether the result is newer than all it was made from, and was made for this
        interpreter."""
        try:
            with open(self.settings_file(), encoding="utf-8") as file:
                if file.read() != self.settings():
                    return False
            made_from = [os.path.join(ROOT, path) for path in sources()] + [
                os.path.abspath(__file__)
            ]
            return os.stat(self.output).st_mtime_ns > newest(made_from)
        except OSError:
            return False

    def settings_file(self):
        return os.path.join(self.work, "built_with.h")

    def settings(self):
        """A header of our own saves the path of the interpreter from two layers of shell
        quoting."""
        path = self.python.replace("\\", "\\\\").replace('"', '\\"')
        return '#define WSGID_PYTHON "%s"\n' % path

    def copy_sources(self):
        for path in sources():
            copy = os.path.join(self.work, path)
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy(os.path.join(ROOT, path), copy)
        page = os.path.join(self.work, "apxs", "status", "status")
        with open(page + "_page.h", "w", encoding="utf-8") as file:
            file.write(page_header(page + ".html"))
        with open(self.settings_file(), "w", encoding="utf-8") as file:
            file.write(self.settings())

    def flags(self, apxs):
        # As a system directory, so that our warnings are about our code and not about httpd's
        # headers.
        flags = [*COMPILE, "-isystem " + query(apxs, "INCLUDEDIR"), "-include built_with.h"]
        if self.strict:
            flags.append("-Werror")
        if self.analyze:
            # Descriptors that dup2 puts at a fixed number, or that a caller closes, are leaks to
            # gcc 13 and later.
            flags += ["-fanalyzer", "-Wno-analyzer-fd-leak"]
        if self.sanitize:
            flags.append(SANITIZE + " -fno-omit-frame-pointer")
        return ["-Wc," + flag for flag in flags]

    def compile(self):
        apxs = find_apxs()
        files = [path for path in sources() if path.endswith(".c")]
        link = [*LINK, "-Wl," + SANITIZE] if self.sanitize else LINK
        command = [apxs, "-c", "-I.", "-Iapxs", *self.flags(apxs), *link, *files]
        done = subprocess.run(
            command, cwd=self.work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode or "warning:" in done.stdout:
            print(without_commands(done.stdout), file=sys.stderr)
        if done.returncode:
            raise SystemExit("setup.py: apxs could not build the module")

    def install(self):
        """Puts the result in place in one step: a running httpd keeps the file that it has
        mapped."""
        os.makedirs(os.path.dirname(self.output), exist_ok=True)
        fresh = self.output + ".new"
        shutil.copy(os.path.join(self.work, ".libs", "mod_wsgid.so"), fresh)
        os.chmod(fresh, 0o644)
        os.replace(fresh, self.output)

    # What setuptools asks of a part of build.
    def get_source_files(self):
        return sources()

    def get_outputs(self):
        return [self.output]

    def get_output_mapping(self):
        return {}


class Preflight(Command):
    """Fails at once if the build cannot succeed; otherwise each step would fail in turn."""

    description = "check that this machine has what the build needs"
    user_options = []
    editable_mode = False

    def initialize_options(self):
        pass

    def finalize_options(self):
        pass

    def run(self):
        if problem := missing():
            raise SystemExit("setup.py: " + problem)

    # What setuptools asks of a part of build.
    def get_source_files(self):
        return []

    def get_outputs(self):
        return []

    def get_output_mapping(self):
        return {}


class Compiler(Command):
    """Prints which compiler apxs calls, and its version: "x86_64-linux-gnu-gcc 12.2.0"."""

    description = "print the compiler of the httpd module and its version"
    user_options = []

    def initialize_options(self):
        pass

    def finalize_options(self):
        pass

    def run(self):
        compiler = query(find_apxs(), "CC")
        command = [*compiler.split(), "-dumpfullversion", "-dumpversion"]
        print(compiler, subprocess.check_output(command, text=True).strip())


class Build(build):
    sub_commands = [("preflight", None), *build.sub_commands, ("build_module", None)]


def options():
    """One wheel for all interpreters from 3.10 on; a free-threaded one has no limited API."""
    return (
        {}
        if sysconfig.get_config_var("Py_GIL_DISABLED")
        else {"bdist_wheel": {"py_limited_api": "cp310"}}
    )


setup(
    version=version(),
    cmdclass={
        "build": Build,
        "build_module": BuildModule,
        "compiler": Compiler,
        "preflight": Preflight,
    },
    cffi_modules=[NATIVE + ":ffi"] if os.path.exists(os.path.join(ROOT, NATIVE)) else [],
    options=options(),
)

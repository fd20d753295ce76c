#!/usr/bin/env python3
"""Proves that layers.py finds each kind of offence, and none in a tree that obeys."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
GOOD = {
    "include/meson.build": "files('attest/error.h', 'attest/stream.h')",
    "include/attest/error.h": "#include <string>\n",
    "include/attest/stream.h": '#include "attest/error.h"\n#include <boost/asio/awaitable.hpp>\n',
    "lib/base/fd.h": '#include "attest/error.h"\n',
    "lib/async/loop.h": "",
    "lib/async/child.cc": '#include "lib/base/fd.h"\n#include <boost/process/v2/process.hpp>\n',
    "backends/microvm/api.h": "",
    "backends/qemu/qemu.h": '#include "backends/microvm/api.h"\n',
    "lib/entry/builtin.cc": '#include "backends/qemu/qemu.h"\n',
    "examples/two/test.cc": "#include <attest/error.h>\n",
    "guest/agent/run.cc": '#include "guest/agent/loop.h"\n#include "lib/proto/agent_codec.h"\n',
}


class Layers(unittest.TestCase):
    def check(self, path="lib/base/fd.h", text=""):
        with tempfile.TemporaryDirectory() as temp:
            root = pathlib.Path(temp)
            files = {**GOOD, path: text, "tests/layers.txt": (HERE / "layers.txt").read_text()}
            for name, content in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(content)
            done = subprocess.run([sys.executable, HERE / "layers.py", root], capture_output=True, text=True)
            self.assertEqual(done.stderr, "")
            self.assertEqual(done.returncode, 1 if done.stdout.strip() else 0)
            return done.stdout.strip()

    def test_a_tree_that_obeys_passes(self):
        self.assertEqual(self.check(), "")

    def test_each_offence_is_found(self):
        for path, text, said in [
            ("lib/base/fd.h", '#include "lib/async/loop.h"\n', "'base' may not include 'async'"),
            ("lib/async/loop.h", '#include "backends/qemu/qemu.h"\n', "may not include 'backends'"),
            ("backends/ssh/ssh.cc", '#include "backends/qemu/qemu.h"\n', "may not include 'backends'"),
            ("examples/two/test.cc", '#include "lib/base/fd.h"\n', "may not include 'base'"),
            ("guest/agent/run.cc", '#include "lib/base/fd.h"\n', "'agent' may not include 'base'"),
            ("guest/agent/run.cc", '#include "lib/proto/qmp.h"\n', "'agent' may not include 'proto'"),
            ("lib/guest/guest.h", '#include "guest/agent/loop.h"\n', "'guest' may not include 'agent'"),
            ("lib/async/loop.h", "#  include <boost/process/v2/process.hpp>\n", "lib/async/child.cc only"),
            ("lib/base/fd.h", "#include <nlohmann/json.hpp>\n", "only"),
            ("include/attest/error.h", "#include <fmt/core.h>\n", "not fmt/core.h"),
            ("include/attest/error.h", "#include <boost/asio/awaitable.hpp>\n", "not boost/asio"),
            ("include/attest/error.h", '#include "lib/base/fd.h"\n', "not lib/base/fd.h"),
            ("lib/base/fd.h", '#include "loop.h"\n', "is no path from the project's root"),
            ("include/attest/new.h", "", "not in include/meson.build"),
            ("lib/utils/x.h", "", "'utils' is not in tests/layers.txt"),
            ("lib/base/fd.h", "\n" * 401, "401 lines, at most 400"),
        ]:
            with self.subTest(text or path):
                self.assertIn(said, self.check(path, text))


unittest.main()

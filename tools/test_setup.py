"""Tests of the set-up scripts: offline, in temporary folders, in about a second."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cache  # noqa: E402
import registry  # noqa: E402
import rocksdb  # noqa: E402
import run  # noqa: E402
import setup  # noqa: E402
import toolchain  # noqa: E402
from console import SetupError  # noqa: E402


class InTemporaryCache(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.cache = cache.Cache(self.folder / "cache")
        held = self.cache.held()
        held.__enter__()
        self.addCleanup(held.__exit__, None, None, None)
        quiet = contextlib.redirect_stdout(io.StringIO())
        self.said = quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)

    def leftovers(self) -> List[str]:
        return [path.name for path in self.cache.root.glob(cache.PARTIAL + "*")]

    def wheel(
        self, members: Optional[Dict[str, str]] = None, name: str = "thing-1.0-py3-none-any.whl"
    ) -> Tuple[Path, registry.Wheel]:
        path = self.folder / name
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in (members or {"thing/lib.so": "library"}).items():
                archive.writestr(member, text)
        pinned = registry.Wheel("thing", "1.0", name, cache.sha256_of(path), path.stat().st_size)
        return path, pinned


def delivers(path: Path) -> registry.Fetcher:
    return lambda wheel, folder: (folder / wheel.file).write_bytes(path.read_bytes()) and None


def fails(message: str) -> registry.Fetcher:
    def fetcher(wheel: registry.Wheel, folder: Path) -> None:
        (folder / wheel.file).write_bytes(b"half of it")
        raise SetupError(message)

    return fetcher


class Fetching(InTemporaryCache):
    def test_a_wheel_with_the_pinned_hash_is_accepted(self) -> None:
        path, wheel = self.wheel()
        found = registry.fetch(wheel, self.cache.root, [("pip", delivers(path))])
        self.assertEqual(found.read_bytes(), path.read_bytes())

    def test_a_wrong_hash_is_refused_and_the_file_removed(self) -> None:
        path, wheel = self.wheel()
        path.write_bytes(path.read_bytes() + b"x")
        with self.assertRaisesRegex(SetupError, "has sha256 .* is pinned"):
            registry.fetch(wheel, self.cache.root, [("pip", delivers(path))])
        self.assertFalse((self.cache.root / wheel.file).exists())

    def test_the_next_way_is_tried_and_all_troubles_are_named(self) -> None:
        path, wheel = self.wheel()
        ways = [("pip", fails("no network")), ("index", delivers(path))]
        self.assertTrue(registry.fetch(wheel, self.cache.root, ways).is_file())
        with self.assertRaisesRegex(SetupError, "pip: no network; index: no route"):
            registry.fetch(
                wheel, self.cache.root, [("pip", fails("no network")), ("index", fails("no route"))]
            )

    def test_pip_is_asked_for_the_wheel_s_python_and_platform(self) -> None:
        wheel = registry.Wheel(
            "onnxruntime", "1.0", "onnxruntime-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", "", 1
        )
        command = " ".join(registry.pip_command(wheel, Path("/x")))
        self.assertIn("--platform manylinux_2_28_x86_64 --python-version 3.11", command)
        self.assertIn("--no-deps", command)

    def test_pip_is_asked_for_no_platform_where_any_will_do(self) -> None:
        _, wheel = self.wheel()
        self.assertNotIn("--platform", registry.pip_command(wheel, Path("/x")))

    def test_the_index_is_read_as_json_and_as_html(self) -> None:
        for accept_json in (True, False):
            with self.subTest(json=accept_json), self.index(accept_json) as (url, path, wheel):
                with mock.patch.dict(os.environ, {"PIP_INDEX_URL": url, "no_proxy": "127.0.0.1"}):
                    found = registry.fetch(wheel, self.cache.root, [("index", registry.fetch_from_index)])
                self.assertEqual(found.read_bytes(), path.read_bytes())

    def test_an_index_without_the_file_says_so(self) -> None:
        with self.index(True) as (url, _, wheel):
            other = registry.Wheel("thing", "2.0", "thing-2.0-py3-none-any.whl", wheel.sha256, 1)
            with mock.patch.dict(os.environ, {"PIP_INDEX_URL": url, "no_proxy": "127.0.0.1"}):
                with self.assertRaisesRegex(SetupError, "does not offer thing-2.0"):
                    registry.fetch(other, self.cache.root, [("index", registry.fetch_from_index)])

    def test_an_unreachable_index_says_what_to_do_and_no_password(self) -> None:
        _, wheel = self.wheel()
        settings = {"PIP_INDEX_URL": "http://user:secret@127.0.0.1:9/simple", "no_proxy": "127.0.0.1"}
        with mock.patch.dict(os.environ, settings):
            with self.assertRaisesRegex(
                SetupError, "cannot reach the package index.*PIP_INDEX_URL"
            ) as raised:
                registry.fetch(wheel, self.cache.root, [("index", registry.fetch_from_index)])
        self.assertNotIn("secret", str(raised.exception))

    def test_settings_come_from_the_environment_then_from_pip_s_files(self) -> None:
        file = self.folder / "pip.conf"
        file.write_text("[global]\nindex-url = https://mirror.example/simple\ncert = /some/ca.pem\n")
        environment = {"HOME": str(self.folder), "PIP_CONFIG_FILE": str(file)}
        self.assertEqual(
            registry.index_settings(environment),
            registry.IndexSettings("https://mirror.example/simple", "/some/ca.pem"),
        )
        environment["PIP_INDEX_URL"] = "https://other.example/simple"
        self.assertEqual(registry.index_settings(environment).url, "https://other.example/simple")

    @contextlib.contextmanager
    def index(self, speaks_json: bool) -> Iterator[Tuple[str, Path, registry.Wheel]]:
        path, wheel = self.wheel()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/simple/thing/":
                    body = json.dumps({"files": [{"url": f"../../files/{wheel.file}"}]}).encode()
                    kind = registry.JSON_PAGE
                    if not speaks_json:
                        body = f'<a href="../../files/{wheel.file}#sha256=0">thing</a>'.encode()
                        kind = "text/html"
                else:
                    body, kind = path.read_bytes(), "application/octet-stream"
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple", path, wheel
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Installing(InTemporaryCache):
    def install(
        self, members: Optional[Dict[str, str]] = None, take: Optional[Dict[str, str]] = None
    ) -> Path:
        path, wheel = self.wheel(members)
        target = self.cache.path("thing")
        with mock.patch.object(registry, "default_fetchers", lambda _: [("pip", delivers(path))]):
            setup.install_wheel(self.cache, "thing", wheel, take or {"thing/": ""}, target)
        return target

    def test_a_folder_of_the_wheel_is_put_in_place_whole(self) -> None:
        target = self.install({"thing/lib.so": "library", "thing/deep/x": "x", "other": "no"})
        self.assertEqual(
            sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()), ["deep/x", "lib.so"]
        )
        self.assertEqual(self.leftovers(), [])

    def test_an_older_folder_is_replaced_whole(self) -> None:
        self.install({"thing/old": "old"})
        target = self.install({"thing/new": "new"})
        self.assertEqual([path.name for path in target.iterdir()], ["new"])

    def test_an_interrupted_extraction_leaves_nothing_half_made(self) -> None:
        target = self.install({"thing/lib.so": "first"})
        members = {"thing/a": "a", "thing/b": "b"}
        done: List[str] = []

        def interrupted(archive: zipfile.ZipFile, name: str, path: Path) -> None:
            if done:
                raise KeyboardInterrupt
            done.append(name)
            path.write_text("half")

        with mock.patch.object(cache, "_extract_member", interrupted):
            with self.assertRaises(KeyboardInterrupt):
                self.install(members)
        self.assertEqual((target / "lib.so").read_text(), "first")
        self.assertEqual([path.name for path in target.iterdir()], ["lib.so"])
        self.assertEqual(self.leftovers(), [])

    def test_what_a_killed_run_left_is_removed_by_the_next(self) -> None:
        other = cache.Cache(self.folder / "other")
        (other.root / f"{cache.PARTIAL}dead" / "files").mkdir(parents=True)
        with other.held():
            self.assertEqual(list(other.root.glob(cache.PARTIAL + "*")), [])

    def test_a_member_that_is_not_there_is_named(self) -> None:
        with self.assertRaisesRegex(SetupError, "has no thing/absent"):
            self.install(take={"thing/absent": "absent"})

    def test_a_path_out_of_the_folder_is_refused(self) -> None:
        with self.assertRaisesRegex(SetupError, "leads out of"):
            self.install({"thing/../../../evil": "x"})

    def test_a_full_disk_is_told_before_anything_is_fetched(self) -> None:
        with self.assertRaisesRegex(SetupError, "free some space, or set GLEANER_CACHE"):
            cache.require_space(self.folder, 1 << 60, "unpacking")

    def test_the_second_source_serves_where_the_first_fails(self) -> None:
        path, wheel = self.wheel()
        pin = {"file": wheel.file, "sha256": wheel.sha256, "bytes": wheel.bytes}
        sources = [
            {
                "package": "broken",
                "version": "1.0",
                "wheels": {"any": {**pin, "sha256": "0" * 64}},
                "take": {"thing/": ""},
            },
            {"package": "thing", "version": "1.0", "wheels": {"any": pin}, "take": {"thing/": ""}},
        ]
        asset = {"purpose": "testing", "folder": "thing", "sources": sources}
        with mock.patch.object(registry, "default_fetchers", lambda _: [("pip", delivers(path))]):
            setup.ensure_asset(self.cache, "thing", asset, "x86_64", False)
        # And is then recognised, with nothing to fetch from.
        with mock.patch.object(registry, "default_fetchers", lambda _: []):
            setup.ensure_asset(self.cache, "thing", asset, "x86_64", False)
        self.assertIn("is in place", self.said.getvalue())


class Stamps(InTemporaryCache):
    def setUp(self) -> None:
        super().setUp()
        self.file = self.cache.path("thing", "file")
        self.file.parent.mkdir(parents=True)
        self.file.write_text("content")
        self.cache.write_stamp("thing", {"version": 1}, [self.file.parent])

    def test_an_unchanged_file_is_fresh(self) -> None:
        self.assertTrue(self.cache.is_fresh("thing", {"version": 1}))

    def test_another_key_is_not(self) -> None:
        self.assertFalse(self.cache.is_fresh("thing", {"version": 2}))

    def test_a_missing_file_is_not(self) -> None:
        self.file.unlink()
        self.assertFalse(self.cache.is_fresh("thing", {"version": 1}))

    def test_a_damaged_stamp_is_not(self) -> None:
        for text in ("", "{}", "[]", '{"files": {}}', '{"files": 3, "key": {}}'):
            (self.cache.stamps / "thing.json").write_text(text)
            self.assertFalse(self.cache.is_fresh("thing", {"version": 1}))

    def test_the_same_content_with_another_time_is_fresh(self) -> None:
        os.utime(self.file, (1, 1))
        self.assertTrue(self.cache.is_fresh("thing", {"version": 1}))

    def test_changed_content_of_the_same_size_is_not(self) -> None:
        times = self.file.stat()
        self.file.write_text("CONTENT")
        self.assertFalse(self.cache.is_fresh("thing", {"version": 1}))
        os.utime(self.file, ns=(times.st_atime_ns, times.st_mtime_ns))
        self.assertFalse(self.cache.is_fresh("thing", {"version": 1}, verify=True))


class Folders(unittest.TestCase):
    def test_the_cache_folder_by_precedence(self) -> None:
        everything = {"GLEANER_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}
        self.assertEqual(cache.cache_folder(everything), Path("/a"))
        del everything["GLEANER_CACHE"]
        self.assertEqual(cache.cache_folder(everything), Path("/b/gleaner"))
        del everything["XDG_CACHE_HOME"]
        self.assertEqual(cache.cache_folder(everything), Path("/c/.cache/gleaner"))
        with self.assertRaisesRegex(SetupError, "set GLEANER_CACHE"):
            cache.cache_folder({})

    def test_a_cache_folder_that_cannot_be_made_says_what_to_do(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            with self.assertRaisesRegex(SetupError, "set GLEANER_CACHE to a folder"):
                with cache.Cache(Path(file.name) / "gleaner").held():
                    self.fail("held a folder inside a file")


class Toolchain(unittest.TestCase):
    CARGO = 'name = "x"\nrust-version = "1.92"\n'

    def test_a_missing_compiler_says_how_to_get_one(self) -> None:
        with self.assertRaisesRegex(SetupError, r"no C\+\+ compiler found: apt-get install g\+\+"):
            toolchain.cxx_compiler({}, which=lambda _: None)

    def test_a_named_compiler_is_used_or_refused(self) -> None:
        self.assertEqual(
            toolchain.cxx_compiler({"CXX": "clang++ -stdlib=libc++"}, which=lambda n: n),
            "clang++ -stdlib=libc++",
        )
        with self.assertRaisesRegex(SetupError, "CXX names nothing"):
            toolchain.cxx_compiler({"CXX": "nothing"}, which=lambda _: None)

    def test_missing_and_old_rust_say_how_to_get_one(self) -> None:
        with self.assertRaisesRegex(SetupError, "cargo not found: install Rust 1.92"):
            toolchain.rust_versions(self.CARGO, which=lambda _: None)
        with mock.patch.object(toolchain, "_output", lambda _: "rustc 1.63.0"):
            with self.assertRaisesRegex(SetupError, "rustc 1.63.0 is older than 1.92"):
                toolchain.rust_versions(self.CARGO, which=lambda name: name)
        with mock.patch.object(toolchain, "_output", lambda _: "rustc 1.100.1-nightly (x 2026-01-01)"):
            self.assertEqual(toolchain.rust_versions(self.CARGO, which=lambda name: name), "1.100.1")

    def test_old_python_and_other_machines_are_refused(self) -> None:
        with self.assertRaisesRegex(SetupError, "older than 3.9"):
            toolchain.check_python((3, 8))
        self.assertEqual(toolchain.architecture("AMD64", "Linux"), "x86_64")
        for machine, system in (("riscv64", "Linux"), ("arm64", "Darwin")):
            with self.assertRaisesRegex(SetupError, "no pinned binaries"):
                toolchain.architecture(machine, system)

    def test_what_only_training_needs_is_no_part_of_set_up(self) -> None:
        libraries, training = (setup.assets_of(step) for step in ("libraries", "training"))
        self.assertIn(setup.BASE, libraries)
        self.assertTrue(training)
        self.assertFalse(set(libraries) & set(training))
        self.assertEqual(set(setup.load_assets()), {*libraries, *training})
        self.assertEqual(setup.parse_arguments(["training"]).step, "training")

    def test_every_asset_is_pinned_for_both_architectures(self) -> None:
        for name, asset in setup.load_assets().items():
            for source in asset["sources"]:
                for architecture in ("x86_64", "aarch64"):
                    wheel = setup.wheel_of(source, architecture)
                    self.assertRegex(wheel.sha256, "^[0-9a-f]{64}$", name)
                    self.assertIn(f"-{wheel.version}-", wheel.file)
                    self.assertTrue(wheel.platform == "any" or wheel.platform.endswith(architecture))


class RocksDB(InTemporaryCache):
    LOCK = '[[package]]\nname = "librocksdb-sys"\nversion = "0.19.0+11.8.1"\n'
    MANIFEST = (
        'rocksdb = { version = "=0.25.0", default-features = false, features = ["lz4", "bindgen-runtime"] }\n'
    )

    def project(self) -> Path:
        (self.folder / "Cargo.lock").write_text(self.LOCK)
        (self.folder / "Cargo.toml").write_text(self.MANIFEST)
        return self.folder

    def build(self, _project: Path, workplace: Path, environment: Dict[str, str], _version: str) -> None:
        self.environments.append(environment)
        out = workplace / "release/build/librocksdb-sys-1/out"
        out.mkdir(parents=True)
        (out / rocksdb.LIBRARY).write_text("archive")

    def ensure(self) -> Path:
        with mock.patch.object(rocksdb, "_compile", self.build):
            return rocksdb.ensure(
                self.cache, self.project(), "x86_64", {"ROCKSDB_LIB_DIR": "x", "MAKEFLAGS": "j"}, False
            )

    def setUp(self) -> None:
        super().setUp()
        self.environments: List[Dict[str, str]] = []

    def test_it_is_built_once_and_its_workplace_removed(self) -> None:
        folder = self.ensure()
        self.assertEqual((folder / rocksdb.LIBRARY).read_text(), "archive")
        self.assertFalse(self.cache.path("rocksdb-build").exists())
        self.ensure()
        self.assertEqual(len(self.environments), 1)
        self.assertEqual(self.environments[0], {"CXXFLAGS": "-msse4.2 -mpclmul"})

    def test_another_version_or_feature_builds_it_again(self) -> None:
        self.ensure()
        self.LOCK = self.LOCK.replace("0.19.0", "0.20.0")
        self.ensure()
        self.MANIFEST = self.MANIFEST.replace('"lz4"', '"zstd"')
        self.ensure()
        self.assertEqual(len(self.environments), 3)

    def test_the_order_of_features_does_not(self) -> None:
        self.ensure()
        self.MANIFEST = self.MANIFEST.replace('"lz4", "bindgen-runtime"', '"bindgen-runtime", "lz4"')
        self.ensure()
        self.assertEqual(len(self.environments), 1)

    def test_a_library_of_the_caller_s_is_used_or_refused(self) -> None:
        own = self.cache.path("rocksdb", "lib")
        self.assertIsNone(rocksdb.given({}, own))
        self.assertIsNone(rocksdb.given({"ROCKSDB_LIB_DIR": str(own)}, own))
        with self.assertRaisesRegex(SetupError, "has no librocksdb.a"):
            rocksdb.given({"ROCKSDB_LIB_DIR": str(self.folder), "ROCKSDB_STATIC": "1"}, own)
        (self.folder / "librocksdb.so").touch()
        self.assertEqual(rocksdb.given({"ROCKSDB_LIB_DIR": str(self.folder)}, own), self.folder)


class Environment(InTemporaryCache):
    def test_given_libraries_are_used_or_refused(self) -> None:
        own = self.cache.path("onnxruntime", "libonnxruntime.so.1")
        self.assertIsNone(setup.given_path("onnxruntime", own, {"ORT_DYLIB_PATH": str(own)}))
        with self.assertRaisesRegex(SetupError, "ORT_DYLIB_PATH is /absent"):
            setup.given_path("onnxruntime", own, {"ORT_DYLIB_PATH": "/absent"})
        with self.assertRaisesRegex(SetupError, "LIBCLANG_PATH is"):
            setup.given_path(
                "libclang", self.cache.path("libclang", "libclang.so"), {"LIBCLANG_PATH": str(self.folder)}
            )
        (self.folder / "libclang-14.so.1").touch()
        given = setup.given_path(
            "libclang", self.cache.path("libclang", "libclang.so"), {"LIBCLANG_PATH": str(self.folder)}
        )
        self.assertEqual(given, str(self.folder))

    def test_env_sh_survives_a_shell_and_is_rewritten_only_on_change(self) -> None:
        awkward = {"LIBCLANG_PATH": "/it's here/$HOME", "BINDGEN_EXTRA_CLANG_ARGS": "-isystem /a b"}
        setup.write_environment(self.cache, awkward)
        file = self.cache.path("env.sh")
        before = file.stat().st_mtime_ns
        setup.write_environment(self.cache, awkward)
        self.assertEqual(file.stat().st_mtime_ns, before)
        script = f'. {shlex.quote(str(file))}; printf "%s|%s" "$LIBCLANG_PATH" "$BINDGEN_EXTRA_CLANG_ARGS"'
        out = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True).stdout.decode()
        self.assertEqual(out, "/it's here/$HOME|-isystem /a b")

    def test_the_launcher_brings_libraries_and_lets_the_caller_s_win(self) -> None:
        program = self.folder / "it's here"
        program.write_text('#!/bin/sh\nprintf "%s|%s|%s" "$ORT_DYLIB_PATH" "$GLEANER_CACHE" "$*"\n')
        program.chmod(0o755)
        path = self.folder / "bin" / "gleaner"
        setup.write_launcher(path, setup.launcher(program, self.cache, {"ORT_DYLIB_PATH": "/fetched.so"}))

        def out(environment: Dict[str, str]) -> str:
            done = subprocess.run(
                [str(path), "a", "b c"], env=environment, stdout=subprocess.PIPE, check=True
            )
            return done.stdout.decode()

        self.assertEqual(out({}), f"/fetched.so|{self.cache.root}|a b c")
        self.assertEqual(out({"ORT_DYLIB_PATH": "/own.so", "GLEANER_CACHE": "/own"}), "/own.so|/own|a b c")
        with self.assertRaisesRegex(SetupError, "env.sh"):
            setup.launcher(program, self.cache, {})


class Models(InTemporaryCache):
    def program(self, script: str) -> Path:
        path = self.folder / "gleaner"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        return path

    def setUp(self) -> None:
        super().setUp()
        layers = self.folder / "layers"
        layers.mkdir()
        (layers / "trained.toml").write_text("files = {}\n")
        self.models = [setup.Model("made", None), setup.Model("trained", layers)]

    # Options before the folder to put the model in, which comes last.
    GOOD = 'for last; do :; done; mkdir "$last/$5"; echo "$@" > "$last/$5/model.toml"\n'

    def test_it_is_made_once(self) -> None:
        for model in self.models:
            target = setup.ensure_model(self.cache, model, self.program(self.GOOD), False)
            written = (target / "model.toml").read_text()
            self.assertEqual("--base" in written, model.layers is not None)
            setup.ensure_model(self.cache, model, self.program("exit 9"), False)
            with mock.patch.object(setup, "MODEL_RECIPE", "another"):
                with self.assertRaisesRegex(SetupError, "ended with status 9"):
                    setup.ensure_model(self.cache, model, self.program("exit 9"), False)

    def test_other_layers_are_another_model(self) -> None:
        trained = self.models[1]
        setup.ensure_model(self.cache, trained, self.program(self.GOOD), False)
        (trained.layers / "trained.toml").write_text("files = {a = 'b'}\n")
        with self.assertRaisesRegex(SetupError, "ended with status 9"):
            setup.ensure_model(self.cache, trained, self.program("exit 9"), False)

    def test_a_failed_making_leaves_nothing(self) -> None:
        with self.assertRaises(SetupError):
            setup.ensure_model(self.cache, self.models[0], self.program(self.GOOD + "exit 1\n"), False)
        self.assertFalse(self.cache.path("models", "made").exists())
        self.assertEqual(self.leftovers(), [])

    def test_without_a_binary_it_says_what_to_build(self) -> None:
        with self.assertRaisesRegex(SetupError, "make build"):
            setup.ensure_model(self.cache, self.models[0], self.folder / "absent", False)

    def test_what_is_provided_is_there(self) -> None:
        for model in setup.MODELS:
            self.assertIsInstance(setup.model_key(model), dict)


class Running(unittest.TestCase):
    def test_the_address_comes_from_environment_file_or_default(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.assertEqual(run.configured_address({}, folder), run.DEFAULT_LISTEN)
            (folder / "config.toml").write_text(
                '[data]\nlisten = "no"\n[server]\n# listen = "x"\nlisten = "0.0.0.0:80" # y\n[log]\n'
            )
            self.assertEqual(run.configured_address({}, folder), "0.0.0.0:80")
            self.assertEqual(
                run.configured_address({"GLEANER__SERVER__LISTEN": "1.2.3.4:5"}, folder), "1.2.3.4:5"
            )

    def test_a_taken_port_says_so(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with self.assertRaisesRegex(SetupError, f"cannot listen on {address}"):
                run.require_free(address)

    def test_addresses_become_urls(self) -> None:
        self.assertEqual(run.base_url("0.0.0.0:7700"), "http://127.0.0.1:7700")
        self.assertEqual(run.base_url("[::1]:7700"), "http://[::1]:7700")
        with self.assertRaisesRegex(SetupError, "address:port"):
            run.split_address("7700")

    def test_an_answer_reads_well(self) -> None:
        answer = {
            "hits": [{"id": "tides", "score": 0.9, "document": {"title": "Tides", "body": "word " * 100}}],
            "total": {"value": 320},
            "timings": {"total_ms": 3.21},
            "degraded": [{"lost": "dense", "reason": "no model"}],
        }
        text = run.in_words("why tides?", answer)
        for part in (
            "why tides?",
            "1. Tides  (0.900)",
            "320 documents searched in 3.2 ms",
            "without dense: no model",
        ):
            self.assertIn(part, text)
        self.assertTrue(all(len(line) <= 80 for line in text.splitlines()))

    def test_the_first_run_loads_and_the_second_only_serves(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            program = folder / "gleaner"
            program.write_text(f"#!{sys.executable}\n{STAND_IN}")
            program.chmod(0o755)
            settings = {
                "GLEANER_DATA": str(folder / "data"),
                "JOURNAL": str(folder / "journal"),
                "GLEANER__SERVER__LISTEN": "127.0.0.1:0",
            }
            for _ in range(2):
                done = subprocess.run(
                    [sys.executable, str(Path(run.__file__)), "--once", "--program", str(program)],
                    env={**os.environ, **settings},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    universal_newlines=True,
                    timeout=60,
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("1. Tides  (0.900)", done.stdout)
            journal = (folder / "journal").read_text().split()
            self.assertEqual(journal, ["list", "create", "ingest", "serve", "list", "serve"])


# Speaks the part of the program's command line and API that run.py uses.
STAND_IN = """
import http.server, json, os, sys
words = [word for word in sys.argv[1:] if word != "--json"]
command = words[1] if words[0] == "index" else words[0]
made = os.path.join(os.environ["GLEANER_DATA"], "made")
with open(os.environ["JOURNAL"], "a") as journal:
    journal.write(command + "\\n")
if command == "list":
    print(json.dumps([{"name": "articles"}] if os.path.exists(made) else []))
elif command == "create":
    open(made, "w").close()
elif command == "serve":
    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, body):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())
        def do_GET(self):
            self.answer({})
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/indexes/articles/search" and asked["query"] and asked["k"]
            self.answer({"hits": [{"id": "a", "score": 0.9, "document": {"title": "Tides", "body": "x"}}]})
        def log_message(self, *_):
            pass
    host, port = words[words.index("--listen") + 1].split(":")
    http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


if __name__ == "__main__":
    unittest.main()

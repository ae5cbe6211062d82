#!/usr/bin/env python3
"""Schemas imported from real servers: what `make test-databases` runs.

    databases.py --binary B

Starts PostgreSQL and MariaDB (Debian's packages postgresql and mariadb-server) in temporary
folders, without rights beyond those of a plain user, loads tests/databases/*.sql, imports with B
and compares with what is expected. Says so where a server is not installed, and skips it.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

from console import SetupError, say  # noqa: E402

SCHEMAS = Path(__file__).resolve().parent.parent / "tests" / "databases"
#: Longest that a server may take to start, in seconds.
STARTING = 60.0
#: In every URL, and nowhere else.
PASSWORD = "s3cr-et-pass"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def find(names: List[str]) -> Optional[str]:
    """The first of these programs that is there."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/sbin"])
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    return None


def as_user(user: str) -> Dict[str, object]:
    """Arguments that make a process one of a plain user: no server runs as root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(user)

    def drop() -> None:
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)

    return {"preexec_fn": drop}


def run(command: List[str], **more: object) -> str:
    done = subprocess.run(
        command, stdin=more.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, universal_newlines=True, timeout=120, **more,
    )
    if done.returncode != 0:
        raise SetupError(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def wait_for(ready: Callable[[], bool], server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + STARTING
    while not ready():
        if server.poll() is not None or time.monotonic() > deadline:
            raise SetupError(f"the server does not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)


def succeeds(command: List[str]) -> bool:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).returncode == 0


def owned_folder(user: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="gleaner-databases-"))
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    return folder


def postgres(check: Callable[[str], None]) -> bool:
    initdb, program, psql = find(["initdb"]), find(["postgres"]), find(["psql"])
    if not (initdb and program and psql):
        say("postgres", "skipped: PostgreSQL is not installed (apt-get install postgresql)")
        return False
    folder, port = owned_folder("postgres"), free_port()
    data, log = folder / "data", folder / "log"
    user = as_user("postgres")
    try:
        run([initdb, "-D", str(data), "-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"],
            cwd=str(folder), **user)
        # The reader has to show a password.
        (data / "pg_hba.conf").write_text("host all owner 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        with open(log, "wb") as out:
            server = subprocess.Popen(
                [program, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder),
                 "-c", "fsync=off"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=str(folder), **user,
            )
        try:
            client = [psql, "-h", "127.0.0.1", "-p", str(port), "-U", "owner", "-v", "ON_ERROR_STOP=1", "-q"]
            wait_for(lambda: succeeds([*client, "-d", "postgres", "-c", "SELECT 1"]), server, log)
            run([*client, "-d", "postgres", "-c", "CREATE DATABASE shop"])
            run([*client, "-d", "shop", "-f", str(SCHEMAS / "postgres.sql")])
            check(f"postgres://reader:{PASSWORD}@127.0.0.1:{port}/shop")
        finally:
            server.terminate()
            server.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True


def mariadb(check: Callable[[str], None]) -> bool:
    install = find(["mariadb-install-db", "mysql_install_db"])
    program, client = find(["mariadbd", "mysqld"]), find(["mariadb", "mysql"])
    if not (install and program and client):
        say("mariadb", "skipped: MariaDB is not installed (apt-get install mariadb-server)")
        return False
    folder, port = owned_folder("mysql"), free_port()
    data, log, sock = folder / "data", folder / "log", folder / "s"
    user = as_user("mysql")
    try:
        run([install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
             "--skip-test-db"], cwd=str(folder), **user)
        with open(log, "wb") as out:
            server = subprocess.Popen(
                [program, "--no-defaults", f"--datadir={data}", f"--socket={sock}", f"--port={port}",
                 "--bind-address=127.0.0.1", "--skip-name-resolve", f"--pid-file={folder / 'pid'}"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=str(folder), **user,
            )
        try:
            root = [client, "--no-defaults", "-u", "root", f"--socket={sock}", "--default-character-set=utf8mb4"]
            wait_for(lambda: succeeds([*root, "-e", "SELECT 1"]), server, log)
            with open(SCHEMAS / "mariadb.sql", "rb") as text:
                run(root, stdin=text)
            check(f"mysql://reader:{PASSWORD}@127.0.0.1:{port}/shop")
        finally:
            server.terminate()
            server.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True


class Importer:
    """The binary with a data folder of its own."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder = binary, folder

    def run(self, *arguments: str, url: str = "", fails: bool = False) -> str:
        environment = {**os.environ, "GLEANER_DATA": str(self.folder), "GLEANER_TEST_URL": url}
        command = [str(self.binary), "--log", "trace", *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True, env=environment, timeout=120,
        )
        if (done.returncode != 0) != fails:
            raise SetupError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        # Not even in the most talkative log.
        if PASSWORD in done.stdout or PASSWORD in done.stderr:
            raise SetupError(f"{' '.join(command)} shows the password")
        return done.stderr if fails else done.stdout


def facts(schema: dict) -> dict:
    """What is compared: everything but what differs from one version of a server to the next."""
    tables = {}
    for table in schema["tables"]:
        columns = {}
        for column in table["columns"]:
            said = [column["data_type"]]
            said += ["not null"] if not column["nullable"] else []
            said += [name for name in ("generated", "masked") if column.get(name)]
            said += [f"comment: {column['description']}"] if "description" in column else []
            said += [f"values: {', '.join(column['values'])}"] if "values" in column else []
            columns[column["name"]] = "; ".join(said)
        tables[table["name"]] = {
            "view": table.get("view", False),
            "comment": table.get("description"),
            "key": table.get("primary_key", []),
            "columns": columns,
            "samples": sorted(map(str, table.get("samples", []))),
        }
    keys = sorted(
        f"{k['table']}({', '.join(k['columns'])}) -> {k['to_table']}({', '.join(k['to_columns'])}) {k['origin']}"
        for k in schema.get("foreign_keys", [])
    )
    return {"comment": schema.get("description"), "tables": tables, "keys": keys}


def compare(kind: str, found: dict, write: bool) -> None:
    path = SCHEMAS / f"{kind}.expected.json"
    text = json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    if write:
        path.write_text(text, encoding="utf-8")
        return
    expected = path.read_text(encoding="utf-8")
    if text != expected:
        import difflib

        lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), "expected", "found", lineterm="")
        raise SetupError(f"{kind}: another schema than was loaded\n" + "\n".join(lines))


def check_with(importer: Importer, kind: str, write: bool) -> Callable[[str], None]:
    def check(url: str) -> None:
        arguments = ["schema", "import", kind, "--url-env", "GLEANER_TEST_URL", "--json"]
        imported = json.loads(importer.run(*arguments, url=url))
        if PASSWORD in "".join(p.read_text() for p in importer.folder.rglob("*.json")):
            raise SetupError("the password is stored")
        compare(kind, facts(json.loads(importer.run("schema", "show", kind, "--json"))), write)
        again = json.loads(importer.run(*arguments, url=url))
        changes = again["changes"]
        if any(changes["tables"].values()) or any(changes["columns"].values()) or changes["foreign_keys"]:
            raise SetupError(f"{kind}: importing again finds changes where there are none: {changes}")
        wrong = url.replace(":s3cr-et-pass@", ":s3cr-et-pass-wrong@")
        importer.run("schema", "import", "other", "--url-env", "GLEANER_TEST_URL", url=wrong, fails=True)
        say(kind, f"{imported['tables']} tables, {imported['columns']} columns, as expected")

    return check


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="write what is expected anew")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="gleaner-databases-") as folder:
        importer = Importer(options.binary.resolve(), Path(folder))
        for kind, server in (("postgres", postgres), ("mariadb", mariadb)):
            server(check_with(importer, kind, options.write))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetupError as error:
        print(f"databases: {error}", file=sys.stderr)
        sys.exit(1)

#!/usr/bin/env python3
"""Checks a source tree against tests/layers.txt: layers.py ROOT. Prints each offence, exits 1."""
import fnmatch
import re
import sys
from pathlib import Path


def rules(text):
    layers, shared, files, only, public, lines = {}, {}, {}, {}, {}, 400
    for line in text.splitlines():
        if not (line := line.split("#")[0].strip()):
            continue
        key, values = line.split(":", 1)
        kind, _, name = key.partition(" ")
        if kind == "lines":
            lines = int(values)
        else:
            kinds = {"layer": layers, "shared": shared, "files": files, "only": only, "public": public}
            kinds[kind][name] = values.split()
    return layers, shared, files, only, public, lines


def layer_of(path):  # its name, and the folder whose files may always include each other
    if path.startswith("guest/agent/"):  # runs in guests; lib/guest is about them
        return "agent", "guest/agent"
    top, *rest = path.split("/")
    return (rest[0], rest[0]) if top == "lib" else (top, "/".join([top, *rest[:1]]))


def offences(root):
    layers, shared, files, only, public, most = rules((root / "tests/layers.txt").read_text())
    tops, installed = ("include", "lib", "backends", "examples", "guest"), root / "include/meson.build"
    for path in sorted(p for t in tops for p in (root / t).rglob("*") if p.suffix in (".h", ".cc")):
        name, text = path.relative_to(root).as_posix(), path.read_text()
        if (count := text.count("\n")) > most:
            yield f"{name}: {count} lines, at most {most}: split it by topic"
        layer, home = layer_of(name)
        if layer == "include" and f"'attest/{path.name}'" not in installed.read_text():
            yield f"{name}: not in include/meson.build, so it would not be installed"
        elif layer != "include" and layer not in layers:
            yield f"{name}: the folder '{layer}' is not in tests/layers.txt"
            continue
        for kind, target in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', text, re.M):
            for prefix, owners in only.items():
                if target.startswith(prefix) and not any(fnmatch.fnmatch(name, o) for o in owners):
                    yield f"{name}: <{target}> belongs in {' '.join(owners)} only"
            if layer == "include":
                allowed = ("attest/", *public.get(path.name, []))
                if not target.startswith(allowed) and not re.fullmatch(r"[a-z_]+", target):
                    yield f"{name}: public headers include standard ones and attest's, not {target}"
            elif kind == '"' and not target.startswith("attest/"):
                to, folder = layer_of(target)
                if target in files.get(layer, []):
                    continue
                if not target.startswith(("lib/", "backends/", "guest/agent/")):
                    yield f"{name}: '{target}' is no path from the project's root"
                elif folder != home and to not in layers[layer] and folder not in shared.get(layer, []):
                    yield f"{name}: '{layer}' may not include '{to}' ({target})"

found = list(offences(Path(sys.argv[1])))
print(*found, sep="\n")
sys.exit(bool(found))

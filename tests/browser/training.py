"""A training whose run the pages show: `python training.py PROJECT NAME SEED FOLDER`. It prints the run's id."""

import struct
import sys
import zlib
from pathlib import Path

import runstone

SIDE = 32


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(shade: int) -> bytes:
    """A square of one colour, as PNG."""
    rows = (b"\0" + bytes((shade, 90, 160)) * SIDE) * SIDE
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main(project: str, name: str, seed: int, folder: Path) -> None:
    files: dict[str, bytes] = {
        "notes.txt": b"<b>bold</b> <script>document.title = 'taken'</script>\n",
        "report.html": b"<!doctype html><script>document.title = 'taken'</script><h1>Report</h1>",
        "plots/cm.png": picture(40 * seed),
        "plots/logo.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title = 'taken'</script></svg>",
        "data/head.csv": b'id,text\n1,"one, two"\n2,three\n',
        "metrics.json": b'{"big":9007199254740993,"one":1.0}',
        "data/long.log": b"a line of many\n" * 30_000,
        "data/blob.dat": bytes(range(256)),
    }
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "weights.pt").write_bytes(name.encode() * 10_000)
    params = {
        "lr": 0.1 * seed,
        "depth": 4,
        "optimizer": {"name": "adamw"},
        "<i>odd</i>": "<img src=x onerror=alert(1)>",
    }
    with runstone.start_run(project=project, experiment="pages", name=name, params=params, group="pair") as run:
        for step in range(50):
            run.log({"loss": 1 / (step + seed), "accuracy": 1 - 1 / (step + seed + 1)}, step=step)
        run.set_tags({"team": "vision", "note": "tuned by hand"})
        run.log_input("churn", digest=f"sha256:{'ab' * 32}", context="training")
        run.log_model(model, "model")
        for path, data in files.items():
            (folder / Path(path).name).write_bytes(data)
            run.log_artifact(folder / Path(path).name, path)
    print(run.id)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))

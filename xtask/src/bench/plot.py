"""Draws the numbers of a benchmark: results.json and a directory in, a PNG for each part and kind out.

Each row of the tables is a chart, each way a bar: the median, with the least and the greatest round.
"""

import json
import math
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

COLUMNS = 4
# sluice's ways in one colour, the bare relays in another, other proxies in a third.
OWN, FLOOR, OTHER, MISSED = "#1f6fb4", "#8a8a8a", "#d99a3d", "#b3261e"
OTHERS = ("haproxy", "nginx", "envoy")
FLOORS = ("relay", "redirect")


def colour(way):
    if way.startswith(OTHERS):
        return OTHER
    return FLOOR if way.startswith(FLOORS) else OWN


def number(value):
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def chart(axes, row, ways):
    """One row: bars from top to bottom in the order of the table's columns."""
    cells = [row["ways"].get(way) for way in ways]
    greatest = max(cell["high"] for cell in cells if cell)
    for at, (way, cell) in enumerate(zip(ways, cells)):
        if cell is None:
            continue
        median = cell["median"]
        reach = [[max(0, median - cell["low"])], [max(0, cell["high"] - median)]]
        axes.barh(at, median, color=colour(way), height=0.72, xerr=reach,
                  error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#222222"})
        axes.text(max(cell["high"], median) + greatest * 0.03, at, number(median), va="center", fontsize=8,
                  color=MISSED if cell["missed"] else "#222222")
    is_ratio = row["kind"] != "cost"
    if is_ratio:
        axes.axvline(1, color="#222222", linewidth=0.8, linestyle="--")
    title = row["name"] + (f"\ndirect: {row['direct']}" if row["direct"] else "")
    axes.set_title(title, fontsize=9)
    axes.set_yticks(range(len(ways)), ways, fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylim(len(ways) - 0.4, -0.6)
    axes.set_xlim(0, max(greatest, 1.0 if is_ratio else 0) * 1.22 or 1)
    axes.spines[["top", "right"]].set_visible(False)


def figure(part, kind, machine, file):
    rows = [row for row in part["rows"] if row["kind"] == kind and row["ways"]]
    if not rows:
        return
    columns = min(COLUMNS, len(rows))
    lines = math.ceil(len(rows) / columns)
    # Only ways that are in one of these rows.
    ways = [way for way in part["ways"] if any(way in row["ways"] for row in rows)]
    height = lines * (0.9 + 0.21 * len(ways)) + 0.9
    drawn, axes = pyplot.subplots(lines, columns, figsize=(3.4 * columns, height), squeeze=False,
                                  layout="constrained")
    flat = [one for line in axes for one in line]
    for one, row in zip(flat, rows):
        chart(one, row, ways)
    for one in flat[len(rows):]:
        one.axis("off")
    better = rows[0]["better"]
    what = "what it takes" if kind == "cost" else f"{kind}, ratio to direct"
    drawn.suptitle(f"{part['name']}: {what}; {better} is better\nmedian, least and greatest of "
                   f"{part['setting']['rounds']} rounds; red: misses its target\n{machine}", fontsize=9)
    drawn.savefig(file, dpi=110)
    pyplot.close(drawn)


def main():
    results, directory = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    told = json.loads(results.read_text(encoding="utf-8"))
    where = told["machine"]
    machine = f"{where['processors']} × {where['processor']}, Linux {where['kernel']}"
    for part in told["parts"]:
        for kind, name in part["plots"].items():
            figure(part, kind, machine, directory / name)


if __name__ == "__main__":
    main()

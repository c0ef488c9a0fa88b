import json
import runpy
from pathlib import Path

fresh, source = runpy.run_path("read_table.py")["read_table"]()  # from the file again, not from memory
saved = json.loads(Path("findings.json").read_text(encoding="utf-8"))


def again(one):
    """The finding's value by another way than the one that found it."""
    kind, names, data = one["kind"], one["columns"], fresh
    if kind == "group_difference":
        rows = data[names].dropna()
        sizes = rows.groupby(names[1])[names[0]].transform("size")
        rows = rows[sizes >= one["min_group"]]
        inside = rows[names[0]] - rows.groupby(names[1])[names[0]].transform("mean")
        whole = rows[names[0]] - rows[names[0]].mean()
        return 1 - (inside**2).sum() / (whole**2).sum()
    if kind in ("correlation", "reversal"):
        return data[names[0]].corr(data[names[1]])
    if kind == "trend":
        time = data[names[1]]
        if not pd.api.types.is_numeric_dtype(time):
            time = (time - time.min()) / pd.Timedelta(days=1)
        return data[names[0]].corr(time)
    if kind == "association":
        rows = data[names].dropna()
        one_n, two_n = (rows[name].value_counts() for name in names)
        both = rows.groupby(names, observed=True).size()
        terms = sum(count**2 / (one_n[a] * two_n[b]) for (a, b), count in both.items())
        return ((terms - 1) / (min(len(one_n), len(two_n)) - 1)) ** 0.5
    if kind == "outliers":
        reach = 1.5 * (one["q3"] - one["q1"])
        return data[names[0]].lt(one["q1"] - reach).sum() + data[names[0]].gt(one["q3"] + reach).sum()
    if kind == "share":
        return (data[names[0]] == one["group"]).sum()
    if kind == "busiest":
        time = data[names[0]]
        if not pd.api.types.is_numeric_dtype(time):
            return time.between(pd.Timestamp(one["start"]), pd.Timestamp(one["end"])).sum()
        return (time == int(one["group"])).sum()
    simple = {
        "distribution": lambda: data[names[0]].median(),
        "missing": lambda: data[names[0]].isna().sum(),
        "complete": lambda: len(data.dropna()),
        "duplicates": lambda: len(data) - len(data.drop_duplicates()),
        "distinct": lambda: len(set(data[names[0]].dropna())),
        "size": lambda: len(data.columns),
    }
    return simple[kind]()


def blank(picture):
    """A picture that is one colour, or too small to see."""
    import matplotlib.image

    pixels = matplotlib.image.imread(picture)[..., :3]
    return min(pixels.shape[:2]) < 200 or float(pixels.std()) < 0.01


holds = saved["findings"]
if saved["rows"]:
    import pandas as pd

    holds = [one for one in holds if abs(float(again(one)) - one["value"]) <= 1e-6 * max(1.0, abs(one["value"]))]
    assert Path("insights.png").stat().st_size > 5000, "the picture is missing"
    assert not blank("insights.png"), "the picture is blank"
total = len(saved["findings"])
table = saved["table"]
if saved["rows"]:
    size = f"{saved['rows']:,} row{'s' * (saved['rows'] != 1)}"
    size += f" and {saved['columns']:,} column{'s' * (saved['columns'] != 1)}"
    head = f"{table} has {size}. {len(holds)} of {total} findings were confirmed by a second calculation from the file:"
    tail = "The picture is insights.png; every number stands in findings.json with what it was computed from."
else:
    head = f"{table} has no rows to analyse" if table else "There was no table to analyse"
    head += ", so this is what can be said without one:"
    tail = "Give a table with --file to see it analysed."
tail += " This was a dry run: prepared steps, computed on the spot, and no model was asked."
lines = [f"{number}. {one['title']}\n   {one['sentence']}" for number, one in enumerate(holds, 1)]
answer = "\n\n".join([head, *lines, tail])
notes = "".join(f"- {note}\n" for note in saved["notes"])
markdown = "# Findings\n\n" + head + "\n\n"
markdown += "\n".join(f"## {number}. {one['title']}\n\n{one['sentence']}\n" for number, one in enumerate(holds, 1))
markdown += ("\n![The findings as plots](insights.png)\n" if saved["rows"] else "") + f"\n{tail}\n"
markdown += f"\n## While reading the table\n\n{notes}" if notes else ""
print(
    f"{len(holds)} of {total} findings give the same number again; the picture is there and not blank"
    if table
    else head
)
checked = {"confirmed": len(holds), "of": total, "picture": "insights.png" if saved["rows"] else "findings.json"}
print(json.dumps({**checked, "answer": answer, "markdown": markdown}, ensure_ascii=False))

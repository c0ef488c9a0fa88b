import json
import logging
import runpy
import warnings
from pathlib import Path

if "frame" not in globals():  # a new interpreter, after the session was taken up again
    frame, about = runpy.run_path("read_table.py")["read_table"]()
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C"]  # safe for the colour-blind
DRAWN = 4000  # points of a scatter plot; more would only be ink


def short(value, most=26):
    if isinstance(value, float) and value == int(value):
        value = int(value)
    text = " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def levels_of(name, most=6):
    return list(frame[name].value_counts().index[:most])


def scatter(axes, one, two, group=None):
    some = frame.dropna(subset=[one, two])
    note = ""
    if len(some) > DRAWN:
        note = f" ({DRAWN:,} of {len(some):,} rows drawn)"
        some = some.sample(DRAWN, random_state=0)
    look = {"s": 18, "alpha": 0.6, "linewidths": 0}
    if group is None:
        axes.scatter(some[two], some[one], color=COLOURS[0], **look)
    else:
        for colour, level in zip(COLOURS, levels_of(group), strict=False):
            part = some[some[group] == level]
            axes.scatter(part[two], part[one], color=colour, label=short(level, 18), **look)
        axes.legend(title=short(group, 20), fontsize=8, title_fontsize=8, frameon=False)
    axes.set(xlabel=short(two), ylabel=short(one), title=f"{short(one, 22)} against {short(two, 22)}{note}")


def boxes(axes, name, group):
    parts = [(level, frame.loc[frame[group] == level, name].dropna()) for level in levels_of(group, 8)]
    parts = sorted(((level, part) for level, part in parts if len(part)), key=lambda pair: pair[1].median())
    drawn = axes.boxplot([part for _, part in parts], patch_artist=True, widths=0.6, flierprops={"markersize": 3})
    for number, box in enumerate(drawn["boxes"]):
        box.set(facecolor=COLOURS[number % len(COLOURS)], alpha=0.55, edgecolor="#333333")
    for median in drawn["medians"]:
        median.set(color="#222222", linewidth=1.6)
    names = [f"{short(level, 14)}\nn = {len(part):,}" for level, part in parts]
    axes.set_xticks(range(1, len(parts) + 1), names, fontsize=8, rotation=0 if len(parts) <= 5 else 35)
    axes.set(xlabel=short(group), ylabel=short(name), title=f"{short(name, 22)} by {short(group, 22)}")


def line(axes, name, time):
    step, word = steps_of(time)
    by = frame[name].groupby(step).agg(["mean", "sem"]).dropna(subset=["mean"]).sort_index()
    places = range(len(by))
    axes.plot(places, by["mean"], color=COLOURS[0], marker="o", markersize=4)
    margin = 1.96 * by["sem"].fillna(0)
    axes.fill_between(places, by["mean"] - margin, by["mean"] + margin, color=COLOURS[0], alpha=0.15, linewidth=0)
    every = max(1, -(-len(by) // 8))
    axes.set_xticks(list(places)[::every], list(by.index)[::every], fontsize=8, rotation=0 if len(by) <= 6 else 30)
    axes.set(xlabel=short(time), ylabel=f"mean of {short(name)}, 95 % band", title=f"{short(name, 22)} per {word}")


def steps_of(time):
    if pd.api.types.is_numeric_dtype(frame[time]):
        return frame[time].map(lambda year: str(int(year)), na_action="ignore"), "year"
    step, word = coarsest(frame[time])
    cut = frame[time].dt.to_period(step)
    if step in "WDh":  # the day or hour that it begins with; a week's own name is too long for an axis
        return cut.dt.start_time.dt.strftime("%Y-%m-%d %H h" if step == "h" else "%Y-%m-%d"), word
    return cut.astype(str).where(frame[time].notna(), None), word


def coarsest(time):
    for step, word in (("Y", "year"), ("Q", "quarter"), ("M", "month"), ("W", "week"), ("D", "day")):
        if time.dt.to_period(step).nunique() >= 6:
            return step, word
    return "h", "hour"


def stacks(axes, one, two):
    table = pd.crosstab(frame[two], frame[one], normalize="index").loc[levels_of(two, 8)]
    kept = [level for level in levels_of(one) if level in table.columns]
    left = np.zeros(len(table))
    rest = [(short(level, 18), table[level].to_numpy()) for level in kept]
    if len(table.columns) > len(kept):
        rest.append(("others", table.drop(columns=kept).sum(axis=1).to_numpy()))
    for colour, (label, share) in zip(COLOURS, rest, strict=False):
        axes.barh(range(len(table)), 100 * share, left=100 * left, color=colour, alpha=0.8, label=label, height=0.65)
        left += share
    axes.set_yticks(range(len(table)), [short(level, 16) for level in table.index], fontsize=8)
    axes.invert_yaxis()
    axes.set_ylim(axes.get_ylim()[0], axes.get_ylim()[1] - 0.35 * len(table))
    axes.legend(fontsize=8, ncols=3, frameon=False, loc="upper left")
    axes.set(xlabel="% of rows", ylabel=short(two), title=f"{short(one, 22)} within {short(two, 22)}")


def bars(axes, name):
    counts = frame[name].value_counts().iloc[:10]
    axes.barh(range(len(counts)), counts.to_numpy(), color=COLOURS[4], height=thickness(len(counts)))
    axes.set_yticks(range(len(counts)), [short(level, 20) for level in counts.index], fontsize=8)
    axes.invert_yaxis()
    axes.bar_label(axes.containers[0], fmt="{:,.0f}", fontsize=8, padding=3)
    axes.margins(x=0.12)
    more = f" (10 of {frame[name].nunique():,} values)" if frame[name].nunique() > 10 else ""
    axes.set(xlabel="rows", ylabel=short(name), title=f"Rows per {short(name, 22)}{more}")


def histogram(axes, name):
    present = frame[name].dropna().astype(float)
    axes.hist(present, bins=min(40, max(8, int(len(present) ** 0.5))), color=COLOURS[0], alpha=0.75, edgecolor="white")
    axes.axvline(present.median(), color=COLOURS[5], linewidth=1.6, label="median")
    axes.legend(fontsize=8, frameon=False)
    axes.set(xlabel=short(name), ylabel="rows", title=f"Distribution of {short(name, 22)}")


def counts_over(axes, time):
    step, word = steps_of(time)
    counts = step.value_counts().sort_index()
    axes.bar(range(len(counts)), counts.to_numpy(), color=COLOURS[4])
    every = max(1, -(-len(counts) // 8))
    places = list(range(len(counts)))[::every]
    axes.set_xticks(places, list(counts.index)[::every], fontsize=8, rotation=0 if len(counts) <= 6 else 30)
    axes.set(xlabel=short(time), ylabel="rows", title=f"Rows per {word}")


def cumulative(axes, name):
    present = frame[name].dropna().astype(float).sort_values()
    axes.step(present, 100 * np.arange(1, len(present) + 1) / len(present), color=COLOURS[2], where="post")
    axes.set(xlabel=short(name), ylabel="% of rows up to here", title=f"{short(name, 22)}, cumulative")


def gaps(axes):
    empty = 100 * frame.isna().mean().sort_values(ascending=False).iloc[:10]
    height = thickness(len(empty))
    axes.barh(range(len(empty)), 100 - empty, color=COLOURS[4], height=height, alpha=0.6, label="filled")
    axes.barh(range(len(empty)), empty, left=100 - empty, color=COLOURS[5], height=height, alpha=0.85, label="empty")
    axes.set_yticks(range(len(empty)), [short(name, 20) for name in empty.index], fontsize=8)
    axes.set_ylim(1.15 * len(empty) - 0.2, -0.6)  # the first on top, and room for the legend below the last
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="lower left")
    axes.set(xlabel="% of rows", title="Filled and empty cells")


def thickness(bars):
    """Few bars should not look like walls."""
    return min(0.65, 0.15 + 0.15 * bars)


def panels():
    """What to draw: first what the findings speak of, then what else the table offers. Each at most once."""
    use, wanted = about["roles"], []
    findings = json.loads(Path("findings.json").read_text(encoding="utf-8"))["findings"]
    grouped = {one["columns"][0]: one["columns"][1] for one in findings if one["kind"] == "group_difference"}
    for one in findings:
        if one["kind"] == "reversal":
            grouped |= dict.fromkeys(one["columns"][:2], one["columns"][2])
    for one in findings:
        kind, names = one["kind"], one["columns"]
        if kind in ("correlation", "reversal"):
            colour_by = names[2] if kind == "reversal" else grouped.get(names[0]) or grouped.get(names[1])
            wanted.append((scatter, *names[:2], colour_by))
        draw = {"group_difference": boxes, "trend": line, "association": stacks, "share": bars}.get(kind)
        draw = draw or {"busiest": counts_over, "outliers": histogram, "distribution": histogram}.get(kind)
        wanted += [(draw, *names)] if draw else [(gaps,)] if kind == "missing" else []
    wanted += [(histogram, name) for name in use["numeric"][:2]] + [(bars, name) for name in use["groups"][:2]]
    wanted += [(counts_over, name) for name in use["time"][:1]] + [(bars, name) for name in use["text"][:1]]
    wanted += [(cumulative, name) for name in use["numeric"][:1] if len(frame.columns) == 1]
    wanted += [(gaps,)] if frame.isna().any(axis=None) or not wanted else []
    once = []
    for one in wanted:
        if one not in once and sum(one[0] is other[0] for other in once) < 2:
            once.append(one)
    return once[:4]


drawn = {"picture": "findings.json", "panels": "no picture: there is nothing to draw"}
if frame is not None and len(frame):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # fonts without every script are no news here
    look = {"text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11}
    look |= {"axes.titleweight": "bold", "axes.grid": True, "grid.alpha": 0.25, "axes.axisbelow": True, "font.size": 9}
    todo = panels()
    with plt.rc_context(look), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows, columns = (1, len(todo)) if len(todo) < 3 else (2, 2)
        figure = plt.figure(figsize=(6.2 * columns, 4.4 * rows), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
        for position, (draw, *names) in enumerate(todo):
            wide = len(todo) == 3 and position == 2
            draw(figure.add_subplot(rows, columns, (3, 4) if wide else position + 1), *names)
        figure.suptitle(f"{short(about['file'], 60)}: {len(frame):,} rows, {len(frame.columns)} columns", fontsize=13)
        figure.savefig("insights.png", dpi=120)
        plt.close(figure)
    names = [f"{draw.__name__}({', '.join(str(name)[:30] for name in names if name)})" for draw, *names in todo]
    drawn = {"picture": "insights.png", "panels": "; ".join(names)}
print(json.dumps(drawn, ensure_ascii=False))

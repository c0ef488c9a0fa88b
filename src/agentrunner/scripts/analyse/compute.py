import json
import runpy
from itertools import combinations
from pathlib import Path

if "frame" not in globals():  # a new interpreter, after the session was taken up again
    frame, about = runpy.run_path("read_table.py")["read_table"]()
WIDEST = 20  # columns of a kind that are compared with one another


def num(x):
    """Four significant digits, more where the number is a large whole one."""
    x = float(x)
    if x == int(x) and abs(x) < 1e15:
        return f"{int(x):,}"
    return f"{x:,.0f}" if 1000 <= abs(x) < 1e15 else f"{x:.4g}"


def pct(part, whole):
    return f"{100 * part / whole:.1f} %"


def many(count, noun):
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def signed(r):
    return f"{r:+.2f}" if abs(r) < 0.995 else f"{r:+.4f}"


def col(name):
    return "`" + (name if len(name) <= 40 else name[:39] + "…").replace("`", "'") + "`"


def val(value):
    if isinstance(value, float) and value == int(value):
        value = int(value)
    text = " ".join(str(value).split())
    return "'" + (text if len(text) <= 40 else text[:39] + "…") + "'"


def plain(value):
    """A group's value as JSON can hold it, and as it can be compared with the column again."""
    return value.item() if hasattr(value, "item") else value


def finding(score, kind, columns, n, value, title, sentence, **more):
    measured = {"kind": kind, "columns": columns, "n": int(n), "value": float(value)}
    return {"score": float(score), "title": title, "sentence": sentence, **measured, **more}


def group_differences(groups, numeric):
    """How much of a number's variance a group explains: eta squared, judged after its correction for chance."""
    for group in groups:
        codes, levels = pd.factorize(frame[group])
        for name in numeric:
            if name == group:
                continue
            y = frame[name].to_numpy(float)
            ok = (codes >= 0) & ~np.isnan(y)
            counts = np.bincount(codes[ok], minlength=len(levels))
            least = 5 if ok.sum() >= 50 else 2
            ok &= counts[codes] >= least
            n, k = int(ok.sum()), int((counts >= least).sum())
            if k < 2 or n <= k + 2:
                continue
            centred = y[ok] - y[ok].mean()
            total = float((centred**2).sum())
            sums = np.bincount(codes[ok], weights=centred, minlength=len(levels))
            between = float((sums[counts >= least] ** 2 / counts[counts >= least]).sum())
            if total <= 0:
                continue
            eta = min(between / total, 1.0)
            score = max(0.0, 1 - (1 - eta) * (n - 1) / (n - k))
            if score < 0.02 or eta / (k - 1) * (n - k) < 4 * (1 - eta):
                continue
            means = np.where(counts >= least, sums / np.maximum(counts, 1) + y[ok].mean(), np.nan)
            ends = [
                (plain(levels[i]), float(means[i]), int(counts[i])) for i in (np.nanargmax(means), np.nanargmin(means))
            ]
            (high, high_mean, high_n), (low, low_mean, low_n) = ends
            yield finding(
                score,
                "group_difference",
                [name, group],
                n,
                eta,
                f"{col(name)} depends on {col(group)}",
                f"The mean of {col(name)} is {num(high_mean)} where {col(group)} is {val(high)} (n = {high_n:,}) and"
                f" {num(low_mean)} where it is {val(low)} (n = {low_n:,}). {col(group)} explains {100 * eta:.0f} % of"
                f" its variance (eta squared {eta:.2f}, n = {n:,}).",
                high={"group": high, "mean": high_mean, "n": high_n},
                low={"group": low, "mean": low_mean, "n": low_n},
                min_group=least,
            )


def pearson(a, b):
    ok = ~(np.isnan(a) | np.isnan(b))
    a, b = a[ok] - a[ok].mean() if ok.any() else a[ok], b[ok] - b[ok].mean() if ok.any() else b[ok]
    spread = np.sqrt((a**2).sum() * (b**2).sum())
    return (float((a * b).sum() / spread) if spread > 0 else 0.0), int(ok.sum())


def correlations(groups, numeric):
    strong = []
    values = {name: frame[name].to_numpy(float) for name in numeric}
    for one, two in combinations(numeric, 2):
        r, n = pearson(values[one], values[two])
        if n >= 6 and abs(r) >= 0.2 and abs(r) * n**0.5 >= 3:
            strong.append((abs(r), r, n, one, two))
    strong.sort(reverse=True)
    for size, r, n, one, two in strong[:12]:
        word = "rises with" if r > 0 else "falls as"
        tail = f"{col(two)}" if r > 0 else f"{col(two)} rises"
        if turned := turned_inside_groups(values[one], values[two], r, groups):
            group, inside = turned
            parts = ", ".join(f"{signed(part['r'])} in {val(part['group'])} (n = {part['n']:,})" for part in inside[:4])
            opposite = "rises with" if r < 0 else "falls against"
            yield finding(
                0.97,
                "reversal",
                [one, two, group],
                n,
                r,
                f"{col(one)} against {col(two)}: the relation turns round within every {col(group)}",
                f"Over all {n:,} rows {col(one)} {word} {tail} (r = {signed(r)}), but within every {col(group)} it"
                f" {opposite} it: r = {parts}. Comparing without {col(group)} misleads.",
                inside=inside,
            )
        rank, _ = pearson(*(frame[[one, two]].dropna()[name].rank().to_numpy() for name in (one, two)))
        yield finding(
            size**2 * (0.6 if size > 0.999 else 1),  # two names for one thing are less of an insight
            "correlation",
            [one, two],
            n,
            r,
            f"{col(one)} {word} {tail}",
            f"Pearson r = {signed(r)}, Spearman rho = {signed(rank)}, over the {n:,} rows that have both"
            + (": the two columns hold practically the same information." if size > 0.999 else "."),
            spearman=rank,
        )


def turned_inside_groups(a, b, r, groups):
    """Simpson's paradox: a group within whose every level the relation has the other sign."""
    for group in groups[:8]:
        codes, levels = pd.factorize(frame[group])
        inside = []
        for code, level in enumerate(levels[:8]):
            within, n = pearson(a[codes == code], b[codes == code])
            if n >= 10:
                inside.append({"group": plain(level), "r": within, "n": n})
        if 2 <= len(inside) == len(levels) and all(part["r"] * r < 0 and abs(part["r"]) >= 0.15 for part in inside):
            return group, inside
    return None


def associations(groups):
    for one, two in combinations(groups, 2):
        table = pd.crosstab(frame[one], frame[two])
        n, least = int(table.to_numpy().sum()), min(table.shape)
        if least < 2 or n < 20:
            continue
        seen = table.to_numpy(float)
        expected = seen.sum(1, keepdims=True) * seen.sum(0, keepdims=True) / n
        chi2, freedom = float(((seen - expected) ** 2 / expected).sum()), (table.shape[0] - 1) * (table.shape[1] - 1)
        v = (chi2 / n / (least - 1)) ** 0.5
        if v < 0.2 or chi2 < 3 * freedom + 10:
            continue
        row, column = np.unravel_index(np.argmax((seen - expected) / expected**0.5), seen.shape)
        both, given = int(seen[row, column]), int(seen[:, column].sum())
        others, elsewhere = int(seen[row].sum()) - both, n - given
        yield finding(
            v**2 * (0.6 if v > 0.999 else 1),
            "association",
            [one, two],
            n,
            v,
            f"{col(one)} and {col(two)} go together",
            f"{col(one)} is {val(table.index[row])} in {both:,} of the {given:,} rows where {col(two)} is"
            f" {val(table.columns[column])} ({pct(both, given)}), and in {others:,} of the other {elsewhere:,}"
            f" ({pct(others, elsewhere)}). Cramér's V = {v:.2f}, n = {n:,}.",
            cell={"one": plain(table.index[row]), "two": plain(table.columns[column]), "both": both, "given": given},
        )


def periods(name):
    """The time column in steps: years as they are, dates in the coarsest step that gives at least six."""
    time = frame[name]
    if pd.api.types.is_numeric_dtype(time):
        return time.map(lambda year: str(int(year)), na_action="ignore"), "year"
    step, word = coarsest(time)
    return time.dt.to_period(step).astype(str).where(time.notna(), None), word


def coarsest(time):
    for step, word in (("Y", "year"), ("Q", "quarter"), ("M", "month"), ("W", "week"), ("D", "day")):
        if time.dt.to_period(step).nunique() >= 6:
            return step, word
    return "h", "hour"


def trends(times, numeric):
    for time in times[:3]:
        step, word = periods(time)
        stamps = frame[time]
        x = stamps.to_numpy(float) if word == "year" and pd.api.types.is_numeric_dtype(stamps) else days(stamps)
        for name in numeric:
            r, n = pearson(x, frame[name].to_numpy(float))
            if n < 8 or abs(r) < 0.15 or abs(r) * n**0.5 < 3:
                continue
            by = frame[name].groupby(step).agg(["mean", "count"])
            by = by[by["count"] > 0].sort_index()
            first, last = by.iloc[0], by.iloc[-1]
            yield finding(
                r**2,
                "trend",
                [name, time],
                n,
                r,
                f"{col(name)} {'rises' if r > 0 else 'falls'} over time",
                f"Its mean per {word} of {col(time)} goes from {num(first['mean'])} in {by.index[0]} (n ="
                f" {int(first['count']):,}) to {num(last['mean'])} in {by.index[-1]} (n = {int(last['count']):,});"
                f" correlation with time over all {n:,} rows: r = {signed(r)}.",
                period=word,
                first={"period": by.index[0], "mean": float(first["mean"]), "n": int(first["count"])},
                last={"period": by.index[-1], "mean": float(last["mean"]), "n": int(last["count"])},
            )
        busy = step.value_counts()
        inside = stamps[step == busy.index[0]]
        yield finding(
            0.04,
            "busiest",
            [time],
            int(step.notna().sum()),
            int(busy.iloc[0]),
            f"{col(time)}: most rows fall in {busy.index[0]}",
            f"{int(busy.iloc[0]):,} of {int(step.notna().sum()):,} dated rows ({pct(busy.iloc[0], busy.sum())}) are of"
            f" the {word} {busy.index[0]}; the column runs from {str(stamps.min())[:10]} to {str(stamps.max())[:10]}.",
            period=word,
            group=busy.index[0],
            start=str(inside.min()),
            end=str(inside.max()),
        )


def days(stamps):
    return ((stamps - stamps.min()).dt.total_seconds() / 86400).to_numpy(float)


def spreads(numeric):
    for name in numeric:
        y = frame[name].dropna().astype(float)
        low, middle, high = y.quantile([0.25, 0.5, 0.75])
        fence = 1.5 * (high - low)
        out = y[(y < low - fence) | (y > high + fence)]
        if len(out) and fence > 0:
            far = out.loc[(out - middle).abs().idxmax()]
            yield finding(
                0.05 + min(0.1, len(out) / len(y)),
                "outliers",
                [name],
                len(y),
                len(out),
                f"{col(name)} has {many(len(out), 'unusual value')}",
                f"{len(out):,} of {len(y):,} values ({pct(len(out), len(y))}) lie more than 1.5 interquartile ranges"
                f" outside the middle half ({num(low)} to {num(high)});"
                f" the farthest is {num(far)}, the median {num(middle)}.",
                q1=float(low),
                q3=float(high),
                farthest=float(far),
            )
        yield finding(
            0.03,
            "distribution",
            [name],
            len(y),
            middle,
            f"{col(name)} lies around {num(middle)}",
            f"Its median is {num(middle)} and its mean {num(y.mean())} over {len(y):,} values; half of them lie between"
            f" {num(low)} and {num(high)}, all between {num(y.min())} and {num(y.max())}.",
            mean=float(y.mean()),
            q1=float(low),
            q3=float(high),
        )


def shares(names):
    for name in names:
        counts = frame[name].value_counts()
        n, top = int(counts.sum()), int(counts.iloc[0])
        if top < 2:
            continue
        yield finding(
            0.04 + 0.3 * max(0.0, top / n - 1 / len(counts)) ** 2,
            "share",
            [name],
            n,
            top,
            f"{col(name)}: {val(counts.index[0])} is the most frequent value",
            f"{top:,} of {n:,} rows with a value ({pct(top, n)}) have it; there are {len(counts):,} different values.",
            group=plain(counts.index[0]),
        )


def whole_table():
    rows, names = len(frame), list(frame)
    empty = frame.isna().sum()
    worst, gaps = empty.idxmax(), int(empty.max())
    complete = int(frame.notna().all(axis=1).sum())
    if gaps:
        yield finding(
            0.02 + 0.5 * gaps / rows,
            "missing",
            [worst],
            rows,
            gaps,
            f"{col(worst)} has the most gaps",
            f"It is missing in {gaps:,} of {rows:,} rows ({pct(gaps, rows)}); {complete:,} rows ({pct(complete, rows)})"
            " have a value in every column.",
            complete=complete,
        )
    else:
        text = f"All cells are filled: {many(rows, 'row')}, {many(len(names), 'column')}."
        yield finding(0.01, "complete", names[:1], rows, rows, "No value is missing", text)
    twice = int(frame.duplicated().sum())
    if twice and len(names) > 1:
        text = f"{twice:,} of {rows:,} rows ({pct(twice, rows)}) repeat an earlier row in all {len(names)} columns."
        yield finding(0.02 + 0.6 * twice / rows, "duplicates", names[:1], rows, twice, "Some rows are repeated", text)
    for name in [n for n in names if n not in about["roles"]["numeric"]][:5] or names[:1]:
        levels, filled = frame[name].nunique(), int(frame[name].notna().sum())
        title = f"{col(name)} has {levels:,} different values" if levels > 1 else f"{col(name)} never changes"
        title = title if filled else f"{col(name)} is empty"
        text = f"{many(filled, 'row')} of {rows:,} have a value there, {levels:,} of them different."
        yield finding(0.006, "distinct", [name], filled, levels, title, text)
    text = f"It holds {many(rows, 'row')} and {many(len(names), 'column')}."
    yield finding(0.005, "size", names[:1], rows, len(names), "The size of the table", text)


def choose(candidates, most=5):
    """The strongest, with less weight for another one of the same kind or about the same columns."""
    chosen = []
    while candidates and len(chosen) < most:

        def weight(one):
            same = sum(one["kind"] == other["kind"] for other in chosen)
            shared = sum(one["columns"][0] in other["columns"] for other in chosen)
            return one["score"] * 0.3**same * 0.85**shared

        best = max(candidates, key=weight)
        if len(chosen) >= 3 and best["score"] < 0.02:
            break
        candidates.remove(best)
        chosen.append(best)
    return chosen


def without_a_table():
    """What can honestly be counted when there is nothing to analyse: the goal and the workspace."""
    goal = Path("agent-notes.md").read_text(encoding="utf-8").partition("Goal: ")[2].rpartition("\nTable: ")[0].strip()
    words = goal.split()
    files = [path for path in Path().rglob("*") if path.is_file() and not any(p.startswith(".") for p in path.parts)]
    size = sum(path.stat().st_size for path in files)
    longest = max(words, key=len, default="")[:60]
    yield finding(
        0,
        "goal",
        [],
        len(words),
        len(words),
        "The goal",
        f"It has {many(len(words), 'word')}, the longest is '{longest}'.",
    )
    text = f"It holds {many(len(files), 'file')} of together {many(size, 'byte')}."
    yield finding(0, "workspace", [], len(files), size, "The workspace", text)
    if frame is not None:
        names = ", ".join(col(name) for name in list(frame)[:12])
        text = (
            f"{about['file']} has {len(frame.columns)} columns ({names}) but no rows, so nothing in it can be compared."
        )
        yield finding(0, "header", list(frame), 0, 0, "A header without rows", text)
    else:
        yield finding(0, "no_table", [], 0, 0, "No table", f"Nothing could be analysed: {about['problem']}.")


if frame is None or frame.empty:
    candidates = list(without_a_table())
    findings = candidates
else:
    import numpy as np
    import pandas as pd

    use = about["roles"]
    numeric, groups = use["numeric"][:WIDEST], use["groups"][:WIDEST]
    sources = [group_differences(groups, numeric), correlations(groups, numeric), associations(groups[:10])]
    sources += [trends(use["time"], numeric), spreads(numeric), shares(groups + use["text"][:WIDEST]), whole_table()]
    candidates = [one for source in sources for one in source]
    candidates.sort(key=lambda one: -one["score"])
    findings = choose(candidates[:])

saved = {
    "table": about["file"] if frame is not None else None,
    "rows": 0 if frame is None else len(frame),
    "columns": 0 if frame is None else len(frame.columns),
    "candidates": len(candidates),
    "notes": about["notes"],
    "findings": findings,
}
Path("findings.json").write_text(json.dumps(saved, ensure_ascii=False, indent=1), encoding="utf-8")
for one in findings:
    print(f"{one['score']:.2f}  {one['kind']}: {one['title']}")
titles = [one["title"] for one in findings]
report = {"found": len(findings), "candidates": len(candidates), "first": titles[0], "titles": "; ".join(titles)}
print(json.dumps(report, ensure_ascii=False))
